"""Open a store again and again while another program writes, and check that what is seen is one whole state.

It ends once it has seen so many states.

usage: python checking_reader.py FOLDER STATES
"""

import sys

import numpy as np

from rank_rerank.storage.embedding_store import EmbeddingStore

WINDOW = 10


def main():
    folder, num_states = sys.argv[1], int(sys.argv[2])
    looks, generations = 0, set()
    store = EmbeddingStore.open(folder, read_only=True)
    while len(generations) < num_states:
        if looks % 2:
            store.refresh()
        else:
            store = EmbeddingStore.open(folder, read_only=True)
        ids = list(store)
        numbers = sorted(int(identifier[1:]) for identifier in ids)
        newest = numbers[-1]
        whole = [list(range(max(0, newest + 1 - size), newest + 1)) for size in (WINDOW, WINDOW + 1)]
        if numbers not in whole:
            raise SystemExit(f"a mixed state: {numbers}")
        for identifier, vectors in zip(ids, store.get(ids), strict=True):
            number = int(identifier[1:])
            if vectors.shape[0] != number % 7 + 1 or not (vectors == np.float32(number % 1000)).all():
                raise SystemExit(f"a torn document: {number}")
        generations.add(store.generation)
        looks += 1
    sys.stdout.write(f"{looks} {len(generations)}\n")


main()
