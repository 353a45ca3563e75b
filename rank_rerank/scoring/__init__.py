"""Token embeddings → scores."""
