"""Write to a store without end, keeping the last ten documents (eleven for a moment); print numbers once they are safe.

usage: python endless_writer.py FOLDER DIM FIRST
"""

import os
import sys

import numpy as np

from rank_rerank.storage.embedding_store import EmbeddingStore

WINDOW = 10


def write_endlessly(folder, dim, number, output):
    """Write documents from a number on; ``output`` is a file descriptor."""
    store = EmbeddingStore.open(folder)
    # what a killed writer was about to delete
    store.delete([identifier for identifier in store if int(identifier[1:]) < number - WINDOW])
    while True:
        vectors = np.full((number % 7 + 1, dim), number % 1000, np.float32)
        old, new = f"d{number - WINDOW}", f"d{number}"
        store.add([new], embeddings=[vectors])
        if old in store:
            store.delete([old])
        if number % 29 == 0:
            store.compact()
        os.write(output, f"{number}\n".encode())
        number += 1


if __name__ == "__main__":
    write_endlessly(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 1)
