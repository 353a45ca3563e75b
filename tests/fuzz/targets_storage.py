"""Methods of EmbeddingStore. After each change the store is opened anew: it holds what was acknowledged."""

import shutil

import numpy as np
from call_targets import Target, always, check_embeddings, check_finite, check_type, one_of
from wild_values import DIM, of_caller, text, vectors

from rank_rerank import Compression, EmbeddingStore, TokenEmbeddings
from rank_rerank.errors import RankRerankError
from rank_rerank.storage import ModelIdentity, ShardedStore, hold_in_memory, open_stores

IDS = [f"d{number}" for number in range(12)]
MODEL = ModelIdentity.foreign("a-model", DIM)


def ids(rng):
    return rng.sample(IDS, rng.randint(0, 3))


def embeddings(rng):
    matrices = [vectors(rng, rng.choice((0, 1, 4))) for _ in range(rng.randint(0, 3))]
    return TokenEmbeddings.from_list(matrices) if matrices and rng.random() < 0.5 else matrices


def metadata(rng):
    return rng.choice((None, None, [{"a": 1}], [{"a": [1, None, "x"]}, None, {}]))


class Changes:
    """A store and what it must hold; made anew once it is large, or once it does not hold that."""

    kind, prefix = EmbeddingStore, "EmbeddingStore"

    def __init__(self, folder) -> None:
        self._folder, self._count = folder / "changed" / self.prefix, 0
        self._make()

    def _make(self) -> None:
        self._count += 1
        self.store = self._create(self._folder / str(self._count))
        self.held = set()

    def _create(self, folder):
        return EmbeddingStore.create(folder, MODEL, Compression("float32"))

    def apply(self, method, **given):
        """Change the store; an error must leave it as it was, readable and sound."""
        given = {name: value for name, value in given.items() if name != "ids"} | {"ids": given["ids"]}
        try:
            getattr(self.store, method)(**given)
        except RankRerankError:
            self._check(method, self.held)
            raise
        except BaseException:
            self._make()
            raise
        self._check(method, None)
        if len(self.held) > 40 or self.store.generation > 200:
            self._make()

    def _check(self, method, expected) -> None:
        try:
            again = self.kind.open(self.store.folder)
            found = set(again)
            again.get(sorted(found))
            list(again.documents())
        except RankRerankError as error:
            self._make()
            TARGET_OF[f"{self.prefix}.{method}"].fail(f"left a store that is refused: {type(error).__name__}")
        if expected is not None and found != expected:
            self._make()
            TARGET_OF[f"{self.prefix}.{method}"].fail("was refused and changed the store")
        self.held = found


class SpreadChanges(Changes):
    """The same of a store in several folders."""

    kind, prefix = ShardedStore, "ShardedStore"

    def _create(self, folder):
        return ShardedStore.create(folder, MODEL, Compression("float32"), num_stores=3)


TARGET_OF: dict[str, Target] = {}


def make_targets(folder):
    for name in ("changed", "read"):  # of a child that crashed
        shutil.rmtree(folder / name, ignore_errors=True)
    read = EmbeddingStore.create(folder / "read" / "one", MODEL, Compression("int8"))
    read.add(IDS, embeddings=[np.ones((number % 4, DIM), np.float32) for number in range(12)], texts=["a text"] * 12)
    spread = ShardedStore.create(folder / "read" / "spread", MODEL, Compression("int8"), num_stores=3)
    spread.add(IDS, embeddings=[np.ones((number % 4, DIM), np.float32) for number in range(12)])
    joined = open_stores([store.folder for store in spread.stores])
    targets = [*changing(Changes(folder)), *changing(SpreadChanges(folder)), *identities(), *making(read)]
    for name, store in (("EmbeddingStore", read), ("ShardedStore", spread), ("JoinedStores", joined)):
        targets += reading(name, store)
    targets += [*selecting(read), *spreading(spread)]
    TARGET_OF.update({target.name: target for target in targets})
    return targets


def identities():
    return [
        Target(
            "ModelIdentity.foreign",
            ModelIdentity.foreign,
            {"name": one_of("m"), "dim": one_of(16), "revision": one_of("")},
        ),
        Target("ModelIdentity.check", MODEL.check, {"other": always(MODEL)}, weight=0.1),
    ]


def changing(changes):
    added = {"ids": ids, "embeddings": embeddings, "texts": one_of(None, None, ["a", "b"]), "metadata": metadata}
    arguments = {"add": (added, 0.6), "update": (added, 0.3), "delete": ({"ids": ids}, 0.3)}
    return [
        Target(
            f"{changes.prefix}.{method}",
            lambda method=method, **given: changes.apply(method, **given),
            drawn,
            weight=weight if changes.kind is EmbeddingStore else weight / 4,
        )
        for method, (drawn, weight) in arguments.items()
    ]


def reading(name, read):
    weight = 1.0 if name == "EmbeddingStore" else 0.2
    filters = {"only": one_of(None, None, ["d1", "x"], {"a": 1}), "except_": one_of(None, None, ["d1"], {})}
    return [
        Target(f"{name}.contains", read.contains, {"ids": ids}, check_type(np.ndarray), weight=weight),
        Target(f"{name}.get", read.get, {"ids": ids}, check_embeddings, weight=weight),
        Target(f"{name}.get_documents", read.get_documents, {"ids": ids}, check_type(list), weight=weight),
        Target(
            f"{name}.select",
            lambda **given: len(read.select(**given)),
            {"ids": ids, **filters, "scores": one_of(None, None, [1.0])},
            check_type(int),
            weight=weight,
        ),
        Target(f"{name}.mean_vectors", read.mean_vectors, {"ids": ids}, check_finite, weight=weight),
        Target(
            f"id in {name}",
            lambda identifier: identifier in read,
            {"identifier": one_of(*IDS)},
            check_type(bool),
            weight=weight,
        ),
    ]


def selecting(read):
    return [
        Target(
            "StoredDocuments.select",
            lambda wanted: len(read.select(IDS).select(wanted)),
            {"wanted": always(np.array([0, 3]))},
            check_type(int),
        ),
        Target(
            "StoredDocuments.read_many",
            lambda indices: read.select(IDS).read_many(indices),
            {"indices": always(np.array([3, 0, 3]))},
            check_type(list),
        ),
        Target(
            "EmbeddingStore.encode",
            read.encode,
            {"documents": lambda rng: [{"id": "a", "text": text(rng)}], "show_progress": one_of(None, False)},
            weight=0.2,
        ),
    ]


def spreading(spread):
    return [
        Target(
            "ShardedStore.encode",
            spread.encode,
            {"documents": lambda rng: [{"id": "a", "text": text(rng)}], "show_progress": one_of(None, False)},
            weight=0.1,
        ),
        Target(
            "ShardedStore.open",
            ShardedStore.open,
            {
                "folder": one_of(spread.folder, "/no/such"),
                "encoder": always(None),
                "read_only": one_of(True, False),
                "check_reads": one_of(True, False),
            },
            check_type(ShardedStore),
            weight=0.1,
        ),
        Target(
            "ShardedStore.create",
            ShardedStore.create,
            {
                "folder": one_of(spread.folder),
                "model": always(MODEL),
                "num_stores": one_of(2),
                "compression": one_of(None, Compression("binary")),
                "keep_texts": one_of(True, False),
            },
            check_type(ShardedStore),
            ("folder",),
            0.1,
        ),
        Target(
            "open_stores",
            lambda folders: len(open_stores(folders)),
            {"folders": one_of(spread.folder, [store.folder for store in spread.stores])},
            check_type(int),
            weight=0.1,
        ),
    ]


def making(read):
    return [
        Target(
            "hold_in_memory",
            lambda **given: len(hold_in_memory(**given)),
            {
                "embeddings": lambda rng: TokenEmbeddings.from_list([vectors(rng, 3), vectors(rng, 1)]),
                "compression": one_of(Compression("int8"), Compression("binary", "int8")),
                "identity": always(MODEL),
            },
            check_type(int),
        ),
        Target(
            "EmbeddingStore.open",
            EmbeddingStore.open,
            {
                "folder": one_of(read.folder, "/no/such"),
                "encoder": always(None),
                "read_only": one_of(True, False),
                "check_reads": one_of(True, False),
            },
            check_type(EmbeddingStore),
            weight=0.3,
        ),
        Target(
            "EmbeddingStore.create",
            EmbeddingStore.create,
            {
                "folder": one_of(read.folder),
                "model": always(MODEL),
                "compression": one_of(None, Compression("binary")),
                "keep_texts": one_of(True, False),
            },
            check_type(EmbeddingStore),
            ("folder",),
            0.3,
        ),
        Target(
            "EmbeddingStore.verify_folder",
            lambda folder, progress: EmbeddingStore.verify_folder(folder, of_caller(progress)),
            {"folder": one_of(read.folder, "/no/such"), "progress": one_of(None, id)},
            weight=0.1,
        ),
    ]
