"""Search the files of a folder by meaning: BM25 finds passages, late interaction puts them in order."""
