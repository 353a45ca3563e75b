"""Pooling in compiled code. Imported only where documents are pooled."""
