"""Scores → probabilities that a document answers the query."""
