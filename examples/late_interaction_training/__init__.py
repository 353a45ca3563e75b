"""The parts of train_bundled_model.py: texts, batches, the student, the losses, the judge."""
