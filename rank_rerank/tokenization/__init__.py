"""Text → TokenBatch."""
