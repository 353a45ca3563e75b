"""The parts of train.py: texts, batches, the student, the losses, the judge."""
