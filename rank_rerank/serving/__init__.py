"""The HTTP server: one core without a framework, a queue by tokens, a file per dialect, and a page to try it."""
