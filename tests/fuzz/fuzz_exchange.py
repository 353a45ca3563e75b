"""Add documents from Arrow tables, Parquet files and Qdrant's points of any content: all of them, or a typed error.

What was added is what the table held: its ids, and vectors that the store's compression gives back as they were.
"""

import json
import random
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from damage import VALUES, damage_bytes
from fuzz_child import Fault
from pyarrow import parquet
from store_contents import MODEL
from wild_values import CallersError, text, vectors, wild

from rank_rerank import Compression, EmbeddingStore
from rank_rerank.errors import RankRerankError
from rank_rerank.storage import add_arrow, add_from_qdrant, add_parquet, to_arrow, write_parquet

IDS = (
    "a", "b", "c", "", None, 7, "d\x00", "é" * 9, "x" * 5000, 3.5, b"a", True,
)  # fmt: skip
ID_TYPES = ("string", "large_string", "string_view", "binary", "int64", "dictionary", "null", "float64")
TOKEN_FORMS = ("list", "list", "list", "large_list", "fixed", "nested", "ints", "doubles", "strings", "struct", "view")


def open_cases(seed, folder):
    return Exchange(seed, folder)


class Exchange:
    """Tries the table of a number; ``target`` is the way in."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._folder, self.target, self._count = seed, folder / "exchanged", "", 0
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._make()

    def _make(self) -> None:
        self._count += 1
        self._store = EmbeddingStore.create(self._folder / str(self._count), MODEL, Compression("float32"))
        self._held = 0

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        if self._held > 30 or self._store.generation > 100:
            self._make()
        way = rng.choice((self._arrow, self._arrow, self._parquet, self._qdrant, self._back))
        try:
            outcome = way(rng)
        except CallersError:
            outcome = "the caller's error"
        except RankRerankError:
            self._check_unchanged()
            raise
        self._held = len(self._store)
        return outcome

    def _check_unchanged(self) -> None:
        again = EmbeddingStore.open(self._store.folder)
        if len(again) != self._held:
            self._make()
            raise Fault(self.target, "was refused and changed the store")
        again.get(list(again))

    def _arrow(self, rng) -> str:
        self.target = "add_arrow"
        table = draw_table(rng)
        table = wild(rng) if rng.random() < 0.05 else table
        chunked = table.combine_chunks() if isinstance(table, pa.Table) and rng.random() < 0.3 else table
        batch = next(iter(chunked.to_batches()), chunked) if isinstance(chunked, pa.Table) else chunked
        add_arrow(self._store, rng.choice((table, chunked, batch)))
        return self._added()

    def _parquet(self, rng) -> str:
        self.target = "add_parquet"
        path = self._folder / "table.parquet"
        try:
            parquet.write_table(draw_table(rng), path, row_group_size=rng.choice((1, 2, 100)))
        except pa.ArrowException:
            return "no such Parquet"
        if rng.random() < 0.4:
            path.write_bytes(damage_bytes(rng, path.read_bytes()))
        before = len(self._store)
        try:
            add_parquet(self._store, path)
        except RankRerankError:
            self._held = len(self._store)  # row groups before the one that was refused stay
            if self._held < before:
                raise Fault(self.target, "was refused and lost documents") from None
            raise
        return self._added()

    def _qdrant(self, rng) -> str:
        self.target = "add_from_qdrant"
        points = [draw_point(rng, number) for number in range(rng.randint(0, 3))]
        client = SimpleNamespace(scroll=lambda *_, **__: (points, None))
        add_from_qdrant(self._store, client, "papers", rng.choice((None, None, "colbert")))
        return self._added()

    def _back(self, rng) -> str:
        """What is written is read again."""
        self.target = "written and read"
        dtype = rng.choice(("float32", "float16"))
        other = EmbeddingStore.create(self._folder / f"{self._count} copy", MODEL, Compression("float32"))
        if rng.random() < 0.5:
            write_parquet(self._store, self._folder / "copy.parquet", dtype)
            add_parquet(other, self._folder / "copy.parquet")
        else:
            for batch in to_arrow(self._store, dtype):
                add_arrow(other, batch)
        ids = list(self._store)
        same = list(other) == ids and np.allclose(other.get(ids).vectors, self._store.get(ids).vectors, atol=1e-3)
        documents = [(each.id, each.text, dict(each.metadata)) for each in self._store.get_documents(ids)]
        same = same and documents == [(each.id, each.text, dict(each.metadata)) for each in other.get_documents(ids)]
        shutil.rmtree(other.folder)
        if not same:
            raise Fault(self.target, "another content")
        return "read again"

    def _added(self) -> str:
        found = self._store.get(list(self._store))
        if not np.isfinite(found.vectors).all():
            raise Fault(self.target, "added vectors that are not finite")
        return "added"


def draw_table(rng):
    """A table of token embeddings, as it should be or of other types, in chunks or not."""
    count = rng.randint(0, 4)
    numbers = [f"n{rng.getrandbits(40)}" for _ in range(count)]
    ids = [rng.choice(IDS) if rng.random() < 0.1 else name for name in numbers]
    columns = {"id": id_column(rng, ids), "tokens": token_column(rng, count)}
    if rng.random() < 0.5:
        columns["text"] = any_column(rng, [text(rng) if rng.random() < 0.9 else None for _ in range(count)])
    if rng.random() < 0.5:
        columns["metadata"] = any_column(rng, [json.dumps(rng.choice(VALUES)) for _ in range(count)])
    if rng.random() < 0.2:
        columns.pop(rng.choice(list(columns)))
    if rng.random() < 0.3:
        columns = {name: chunked(column) for name, column in columns.items()}
    return pa.table({name: column for name, column in columns.items() if len(column) == count})


def chunked(column):
    halves = [column.slice(0, len(column) // 2), column.slice(len(column) // 2)]
    return pa.chunked_array(halves, column.type)


def id_column(rng, ids):
    kind = rng.choice(ID_TYPES) if rng.random() < 0.4 else "string"
    try:
        if kind == "dictionary":
            return pa.array(list(map(str, ids))).dictionary_encode()
        if kind == "int64":
            return pa.array([rng.randint(0, 2**60) for _ in ids])
        return pa.array(ids, getattr(pa, kind)())
    except (pa.ArrowException, TypeError, ValueError):
        return pa.array([str(each) for each in ids])


def any_column(rng, values):
    """Texts, perhaps in another type."""
    values = [None if value is None else value.encode("utf-8", "replace").decode() for value in values]
    plain = pa.array(values, pa.string())
    kind = rng.random()
    if kind < 0.1:
        return plain.dictionary_encode()
    if kind < 0.2:
        return plain.cast(rng.choice((pa.large_string(), pa.binary(), pa.string_view())))
    return pa.array(range(len(values))) if kind < 0.25 else plain


def token_column(rng, count):
    dim = rng.choice((16, 16, 16, 16, 8, 0))
    rows = [vectors(rng, rng.choice((0, 1, 3)), dim).tolist() for _ in range(count)]
    spoil_rows(rng, rows)
    number = rng.choice((pa.float32(), pa.float32(), pa.float16(), pa.float64()))
    vector = pa.list_(number, dim)
    form = rng.choice(TOKEN_FORMS) if rng.random() < 0.5 else "list"
    kinds = {
        "list": pa.list_(vector), "large_list": pa.large_list(vector), "fixed": pa.list_(vector, 1),
        "nested": pa.list_(pa.list_(number)), "ints": pa.list_(pa.list_(pa.int8(), dim)),
        "doubles": pa.list_(number), "strings": pa.list_(pa.string()), "view": pa.list_view(vector),
        "struct": pa.struct([("vectors", pa.list_(vector))]),
    }  # fmt: skip
    try:
        return pa.array(rows, kinds[form])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.nulls(count, pa.list_(vector))


def spoil_rows(rng, rows) -> None:
    """A null or a number that is none, somewhere."""
    if not rows or rng.random() < 0.7:
        return
    place = rng.randrange(len(rows))
    if not rows[place] or rng.random() < 0.3:
        rows[place] = None
    elif rng.random() < 0.5:
        rows[place][0] = None
    elif rows[place][0]:
        rows[place][0][0] = rng.choice((None, float("nan"), float("inf"), 1e30, 1e300))


def draw_point(rng, number):
    matrix = vectors(rng, rng.choice((0, 1, 3))).tolist()
    vector = rng.choice((matrix, matrix, {"colbert": matrix}, wild(rng)))
    payload = {"id": rng.choice((f"p{rng.getrandbits(40)}", number, None)), "text": text(rng), "metadata": {"a": 1}}
    if rng.random() < 0.3:
        payload[rng.choice(list(payload))] = wild(rng)
    payload = rng.choice((payload, payload, None, wild(rng)))
    return SimpleNamespace(id=rng.choice((number + rng.getrandbits(40), "uuid")), vector=vector, payload=payload)
