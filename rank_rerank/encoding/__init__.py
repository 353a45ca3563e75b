"""Texts → token embeddings."""
