"""The ``rank-rerank`` command."""
