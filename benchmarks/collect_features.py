"""What the bundled model says of each query and candidate, and what may be combined, kept in two compressed files.

usage: python benchmarks/collect_features.py PACKED FOLDER [--threads N] [--seconds S] [--queries N] [--depth N]

PACKED is made by pack_candidates.py. The first file, scores.npz, has a row per query and candidate; maxima.npz has what
each query token found in each candidate. First all documents are read whole (512 tokens), query block by query block;
then their beginnings and chunks are read, while there is time. Numbers from -1 to 1 are kept as int16, times 32767.

Columns of scores.npz: "bm25", "grade", "tokens" (of the document, as read), "query_tokens", "unknown",
"query_unknown", "maxsim" (mean over query tokens), "cosine" (of the mean vectors), "reverse" (mean over document tokens
of the best query token), "window_W" and "windows_W" (best and mean of windows of W tokens of the vectors of the whole);
of the second pass: "first_L" (the first L tokens, read alone), "chunk_L", "chunks_L", "all_L" (best, mean, and every
query token's best, over chunks of L tokens, each read alone), "read_L" and "chunk_tokens_L" (tokens read for it). Of a
document of one chunk these are -1 and 0: they are those of the whole.
"""

import argparse
import json
import lzma
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.encoding.chunking import split_text
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.tokenization.tokenizer import Tokenizer

BLOCK_QUERIES = 25
WINDOW_DOCUMENTS = 256
WINDOWS = (32, 64, 96, 128, 192)
LENGTHS = (128, 256)
OVERLAP = 32
WHOLE, PARTS = "whole", "parts"
MAX_QUERY_TOKENS = 48

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """Some queries of a collection with their candidates.

    Attributes:
        collection: number of the collection.
        first: number of the first query.
        queries: as pack_candidates.py writes them.
        documents: texts by number, those that are needed.
        stage: what is to be read: "whole" or "parts".
    """

    collection: int
    first: int
    queries: list[dict[str, Any]]
    documents: dict[int, str]
    stage: str


def main() -> None:
    """Read the candidates, block by block, and keep what was found every half a minute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--queries", type=int, default=1 << 30, help="of each collection")
    parser.add_argument("--depth", type=int, default=100)
    options = parser.parse_args()
    begun = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    packed = json.loads(lzma.decompress(options.packed.read_bytes()))
    blocks = list(make_blocks(packed, options.queries, options.depth))
    encoder(options.threads)  # compiles the kernels once, for all processes
    print(f"{len(blocks)} blocks, {time.monotonic() - begun:.0f} s to begin", flush=True)
    results = Results(options.folder, list(packed))
    saved = time.monotonic()
    for done, (block, columns) in enumerate(work(blocks, options.threads, begun + options.seconds), 1):
        results.take(block, columns)
        if time.monotonic() - saved > 30:
            results.save()
            saved = time.monotonic()
            print(f"{done}/{len(blocks)} blocks, {saved - begun:.0f} s", flush=True)
    results.save()
    print(f"{time.monotonic() - begun:.0f} s", flush=True)


def make_blocks(packed: dict[str, Any], num_queries: int, depth: int) -> Iterator[Block]:
    """Blocks of all collections in turn, first those that read whole documents."""
    for stage in (WHOLE, PARTS):
        for first in range(0, max(len(each["queries"]) for each in packed.values()), BLOCK_QUERIES):
            for number, each in enumerate(packed.values()):
                queries = each["queries"][first : min(first + BLOCK_QUERIES, num_queries)]
                queries = [{**query, "candidates": query["candidates"][:depth]} for query in queries]
                needed = sorted({document for query in queries for document in query["candidates"]})
                if queries:
                    yield Block(number, first, queries, {key: each["documents"][key] for key in needed}, stage)


def work(blocks: list[Block], num_threads: int, deadline: float) -> Iterator[tuple[Block, Columns]]:
    """Read blocks in processes of two threads; those that would begin after the deadline are left out."""
    num_processes = max(1, num_threads // 2)
    if num_processes == 1:
        for block in blocks:
            if time.monotonic() < deadline:
                yield block, read(block, num_threads)
        return
    waiting = iter(blocks)
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        running: dict[Future[Columns], Block] = {}

        def start() -> None:
            block = next(waiting, None)
            if block is not None and time.monotonic() < deadline:
                running[pool.submit(read, block, 2)] = block

        for _ in range(num_processes):
            start()
        while running:
            future = next(as_completed(running))
            block = running.pop(future)
            start()
            yield block, future.result()


class Results:
    """Columns of all blocks, by collection, query and candidate."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, names
        self._found: dict[tuple[int, int], Columns] = {}

    def take(self, block: Block, columns: Columns) -> None:
        """Add what a block gives."""
        self._found.setdefault((block.collection, block.first), {}).update(columns)

    def save(self) -> None:
        """Write both files; a column that a block lacks yet is NaN, or -32768 where it is an int16, there."""
        keys = sorted(self._found)
        names = dict.fromkeys(name for key in keys for name in self._found[key])
        joined: Columns = {"collections": np.array(self._names)}
        for name in names:
            have = [self._found[key].get(name) for key in keys]
            like = next(each for each in have if each is not None)
            rows = [len(self._found[key]["grade"]) for key in keys]
            joined[name] = np.concatenate(
                [each if each is not None else _missing(like, count) for each, count in zip(have, rows, strict=True)]
            )
        maxima = {name: joined.pop(name) for name in ("maxima",)}
        np.savez_compressed(self._folder / "scores.npz", **joined)
        np.savez_compressed(self._folder / "maxima.npz", **maxima)


def _missing(like: np.ndarray, count: int) -> np.ndarray:
    value = -32768 if like.dtype == np.int16 else np.nan if like.dtype.kind == "f" else -1
    return np.full((count, *like.shape[1:]), value, like.dtype)


@cache
def encoder(num_threads: int, length: int | None = None) -> TokenEncoder:
    """The bundled model, reading so many tokens."""
    made = TokenEncoder.from_pretrained(num_threads=num_threads) if length is None else encoder(num_threads)
    if length is None:
        return made
    settings = replace(made.checkpoint.settings, document_length=length)
    return replace(made, tokenizer=Tokenizer(made.checkpoint.tokenizer_file, settings))


def read(block: Block, num_threads: int) -> Columns:
    """All columns of a block, rows by query and candidate."""
    model = encoder(num_threads)
    queries = model.encode_queries([query["text"] for query in block.queries])
    lengths = np.diff(queries.offsets)
    pairs = [(number, document) for number, query in enumerate(block.queries) for document in query["candidates"]]
    owners = np.array([number for number, _ in pairs])
    if block.stage == PARTS:
        return read_parts(block, model, queries, pairs, num_threads)
    columns = {
        "collection": np.full(len(pairs), block.collection, np.int8),
        "query": (block.first + owners).astype(np.int16),
        "rank": np.concatenate([np.arange(len(query["candidates"])) for query in block.queries]).astype(np.int16),
        "bm25": _each(block, "bm25", np.float32),
        "grade": _each(block, "grades", np.int8),
        "missed": np.array([query["missed"] for query in block.queries], np.int16)[owners],
        "document": np.array([document for _, document in pairs], np.int32),
        "query_tokens": lengths[owners].astype(np.int16),
        "query_unknown": _fixed(queries.unknown_words[owners]),
    }
    columns.update(read_whole(block, model, queries, pairs))
    return columns


def read_whole(block: Block, model: TokenEncoder, queries: Any, pairs: list[tuple[int, int]]) -> Columns:
    """What comes of documents that are read whole."""
    rows_of = _rows_of(pairs)
    query_means = _unit(np.stack([matrix.mean(axis=0) for matrix in queries]))
    names = ["maxsim", "cosine", "reverse"] + [f"{kind}_{width}" for width in WINDOWS for kind in ("window", "windows")]
    values = {name: np.full(len(pairs), -1.0) for name in names}
    maxima = np.full((len(pairs), MAX_QUERY_TOKENS), -1.0, np.float32)
    tokens, unknown = np.zeros(len(pairs), np.int16), np.zeros(len(pairs))
    for number, vectors, share in _stream(model, block.documents):
        rows = rows_of[number]
        tokens[rows], unknown[rows] = len(vectors), share
        if len(vectors) == 0:
            continue
        mean = _unit(vectors.mean(axis=0)[None])[0]
        for row in rows:
            owner = pairs[row][0]
            similarities = queries[owner] @ vectors.T  # [num_query_tokens, num_tokens]
            best = similarities.max(axis=1)
            maxima[row, : len(best)] = best[:MAX_QUERY_TOKENS]
            values["maxsim"][row] = best.mean()
            values["cosine"][row] = query_means[owner] @ mean
            values["reverse"][row] = similarities.max(axis=0).mean()
            for width in WINDOWS:
                scores = window_scores(similarities, width)
                values[f"window_{width}"][row], values[f"windows_{width}"][row] = scores.max(), scores.mean()
    fixed = {name: _fixed(column) for name, column in values.items()}
    return {**fixed, "tokens": tokens, "unknown": _fixed(unknown), "maxima": _fixed(maxima)}


def window_scores(similarities: np.ndarray, width: int) -> np.ndarray:
    """The mean best similarity of the query's tokens in windows of so many tokens, each half over the next one."""
    if similarities.shape[1] <= width:
        return similarities.max(axis=1).mean(keepdims=True)
    halves = np.maximum.reduceat(similarities, np.arange(0, similarities.shape[1], width // 2), axis=1)
    return np.maximum(halves[:, 1:], halves[:, :-1]).mean(axis=0)


def read_parts(
    block: Block, model: TokenEncoder, queries: Any, pairs: list[tuple[int, int]], num_threads: int
) -> Columns:
    """What comes of beginnings and chunks that are read alone."""
    rows_of = _rows_of(pairs)
    columns: Columns = {}
    for length in LENGTHS:
        short = encoder(num_threads, length)
        spans = {key: split_text(model.tokenizer, text, length, OVERLAP) for key, text in block.documents.items()}
        spans = {key: parts for key, parts in spans.items() if len(parts) > 1}
        texts = {
            (key, part): block.documents[key][start:end]
            for key, parts in spans.items()
            for part, (start, end) in enumerate(parts)
        }
        found: dict[int, list[tuple[np.ndarray, int]]] = {}
        for (key, _), vectors, _ in _stream(short, texts):
            found.setdefault(key, []).append((vectors, len(vectors)))
        beginnings = dict(_beginnings(short, {key: block.documents[key] for key in spans}))
        names = [f"{kind}_{length}" for kind in ("first", "chunk", "chunks", "all")]
        values = {name: np.full(len(pairs), -1.0) for name in names}
        counts = np.zeros((2, len(pairs)), np.int16)
        for key, rows in rows_of.items():
            if key not in spans:
                continue
            parts = [vectors for vectors, _ in found[key] if len(vectors)]
            beginning = beginnings.get(key, parts[0] if parts else None)
            counts[:, rows] = [[0 if beginning is None else len(beginning)], [sum(map(len, parts))]]
            for row in rows if parts and beginning is not None else []:
                query = queries[pairs[row][0]]
                best = np.stack([(query @ part.T).max(axis=1) for part in parts])  # [num_parts, num_query_tokens]
                values[names[0]][row] = (query @ beginning.T).max(axis=1).mean()
                values[names[1]][row] = best.mean(axis=1).max()
                values[names[2]][row] = best.mean()
                values[names[3]][row] = best.max(axis=0).mean()
        columns.update({name: _fixed(column) for name, column in values.items()})
        columns[f"read_{length}"], columns[f"chunk_tokens_{length}"] = counts
    return columns


def _beginnings(model: TokenEncoder, documents: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
    for key, vectors, _ in _stream(model, documents):
        yield key, vectors


def _stream(model: TokenEncoder, documents: dict[Any, str]) -> Iterator[tuple[Any, np.ndarray, float]]:
    """Each text with its vectors and its share of unknown words."""
    keys = list(documents)
    for first in range(0, len(keys), WINDOW_DOCUMENTS):
        window = keys[first : first + WINDOW_DOCUMENTS]
        embeddings = model.encode_documents([documents[key] for key in window])
        shares = np.zeros(len(window)) if embeddings.unknown_words is None else embeddings.unknown_words
        yield from zip(window, embeddings, shares.tolist(), strict=True)


def _rows_of(pairs: list[tuple[int, int]]) -> dict[int, list[int]]:
    rows: dict[int, list[int]] = {}
    for row, (_, document) in enumerate(pairs):
        rows.setdefault(document, []).append(row)
    return rows


def _each(block: Block, name: str, dtype: Any) -> np.ndarray:
    return np.concatenate([query[name][: len(query["candidates"])] for query in block.queries]).astype(dtype)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _fixed(values: np.ndarray) -> np.ndarray:
    """Numbers from -1 to 1 as int16."""
    return np.round(np.clip(values, -1, 1) * 32767).astype(np.int16)


if __name__ == "__main__":
    main()
