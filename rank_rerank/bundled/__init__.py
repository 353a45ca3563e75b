"""The model that ships inside the wheel: see README.md in this folder for its licence, card and provenance."""
