"""Encode and score random groups of texts: the same bits alone and together, in any order, on any number of threads.

A case is a group and one way of using the processor: the cases of a group follow one another.
"""

import random

import numpy as np
from fuzz_child import Fault
from wild_values import DIM, vectors, words

from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.kernels.processor import VectorPath, usable_vector_paths
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.tokenization.tokenizer import Tokenizer

THREADS = (1, 2, 3, 5)
PATHS = usable_vector_paths()
STORAGES = ("float32", "float16", "int8", "binary")


def open_cases(seed, folder):
    return Determinism(seed)


class Determinism:
    """Tries a group on a path; ``target`` says what is computed, and where."""

    def __init__(self, seed) -> None:
        self._seed, self.target = seed, ""
        self._checkpoint = find_checkpoint()
        self._tokenizer = Tokenizer(bundled_folder() / "tokenizer.json", self._checkpoint.settings)
        self._transformers: dict[str, NumbaTransformer] = {}

    def __call__(self, number: int) -> str:
        group, place = divmod(number, len(PATHS))
        path, rng = PATHS[place], random.Random(f"{self._seed} {group}")
        self._score(rng, path)
        if is_supported(path):
            self._encode(rng, path)
        return "the same bits"

    def _encode(self, rng, path: VectorPath) -> None:
        self.target = f"encoding on {path.name}"
        texts = [words(rng, rng.choice((1, 3, 12, 40, 90))) for _ in range(rng.randint(1, 6))]
        alone = {text: self._bits(path, [text], 1)[0] for text in texts}
        for threads in THREADS:
            shuffled = rng.sample(texts, len(texts))
            for text, bits in zip(shuffled, self._bits(path, shuffled, threads), strict=True):
                self._compare(bits, alone[text])

    def _bits(self, path: VectorPath, texts: list[str], num_threads: int) -> list[bytes]:
        transformer = self._transformers.get(path.name)
        if transformer is None:
            config = read_transformer_config(self._checkpoint.folder)
            transformer = NumbaTransformer.from_onnx(self._checkpoint.model_file, config, path=path)
            self._transformers[path.name] = transformer
        transformer._num_threads = num_threads
        batch = self._tokenizer.tokenize_documents(texts)
        found = transformer.encode(batch)
        return [found[a:b].tobytes() for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]

    def _score(self, rng, path: VectorPath) -> None:
        storage = rng.choice(STORAGES)
        self.target = f"scoring {storage} on {path.name}"
        query = vectors(rng, rng.choice((1, 2, 16, 33)))
        documents = [vectors(rng, rng.choice((0, 1, 5, 33, 130))) for _ in range(rng.randint(1, 9))]
        options = {"kernel": f"numba-{path.name}"}
        alone = [maxsim(query, stored([each], storage), num_threads=1, **options).tobytes() for each in documents]
        for threads in THREADS:
            order = rng.sample(range(len(documents)), len(documents))
            together = stored([documents[index] for index in order], storage)
            scores = maxsim(query, together, num_threads=threads, **options)
            for index, score in zip(order, scores, strict=True):
                self._compare(score.tobytes(), alone[index])

    def _compare(self, found: bytes, expected: bytes) -> None:
        if found != expected:
            raise Fault(self.target, "other bits")


def stored(documents: list[np.ndarray], storage: str) -> PackedDocuments:
    compressed = Compression(storage).compress(TokenEmbeddings.from_list(documents))
    return PackedDocuments(TokenEmbeddings(compressed.vectors, compressed.offsets), token_scales=compressed.scales)


assert DIM % 8 == 0, "signs are packed by eight"
