"""Find a model (bundled, folder, Hub) and read its settings: one file per family on disk."""
