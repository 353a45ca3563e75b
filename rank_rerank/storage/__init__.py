"""TokenEmbeddings on disk: documents are encoded once, then scored where they lie."""
