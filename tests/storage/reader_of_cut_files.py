"""Cut a file of a store that is open, and read all that can be read of it; tell what came of each read.

usage: python reader_of_cut_files.py FOLDER SIZE CHECK_READS LARGE

SIZE is what is left of the file, in bytes; with LARGE it is read as files of gigabytes are.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from rank_rerank.errors import StoreFormatError
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage import mapped_file
from rank_rerank.storage.embedding_store import EmbeddingStore


def main():
    folder, size, check_reads = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
    if sys.argv[4] == "True":
        mapped_file.LARGE_FILE_BYTES = 1
    store = EmbeddingStore.open(folder, check_reads=check_reads)
    ids = sorted(store)
    selected = store.select(ids)
    query = np.ones((2, store.identity.dim), np.float32)
    reads = {
        "ids": lambda: list(store),
        "select": lambda: store.select(ids),
        "contains": lambda: store.contains([*ids, "unknown"]),
        "text": lambda: selected[0],
        "documents": lambda: list(store.documents()),
        "get": lambda: store.get(ids),
        "truncated": selected.truncated,
        "scores": lambda: score_stored(query, selected),
        "scores of the best": lambda: score_stored(query, selected, top_k=1),
        "add": lambda: store.add(["new"], embeddings=[query]),
        "delete": lambda: store.delete(ids[:1]),
        "compact": store.compact,
    }
    for read in ("scores", "documents"):
        reads[read]()  # what was compared with its checksum once is not compared again
    os.truncate(folder / store.snapshot.segments[0].name, size)
    sys.stdout.write(json.dumps({name: outcome(read) for name, read in reads.items()}))


def outcome(read):
    try:
        read()
    except StoreFormatError as error:
        return str(error)
    return "read"


main()
