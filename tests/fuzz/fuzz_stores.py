"""Open stores of which files are damaged: what is read is as documented, or a typed error; `verify` sees the damage."""

import random
import shutil

import numpy as np
from call_targets import Target, check_embeddings, check_scores
from damage import Original, damage_file
from fuzz_child import Fault
from store_contents import make_stores, read_everything

from rank_rerank import EmbeddingStore
from rank_rerank.errors import RankRerankError

SOUND = Target("store", len, {})


def open_cases(seed, folder):
    return Stores(seed, folder)


class Stores:
    """Tries the store of a number; ``target`` is its compression."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._outside, self.target = seed, folder / "outside", ""
        shutil.rmtree(folder / "stores", ignore_errors=True)
        self._originals = {name: Original(path) for name, path in make_stores(folder / "stores").items()}

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        name = rng.choice(list(self._originals))
        self.target, original = f"store of {name}", self._originals[name]
        try:
            damaged = rng.sample(sorted(original.files), rng.choice((1, 1, 2)))
            for path in damaged:
                damage_file(rng, path, self._outside)
            self._check_verify(original, [path for path in damaged if path.suffix == ".safetensors"])
            return self._use(original.folder)
        finally:
            original.restore()

    def _check_verify(self, original, paths) -> None:
        is_changed = any(not path.is_file() or path.read_bytes() != original.files[path] for path in paths)
        try:
            is_sound = EmbeddingStore.verify_folder(original.folder).is_sound
        except RankRerankError:
            return
        if is_changed and is_sound:
            raise Fault(self.target, "verify calls a damaged file sound")

    def _use(self, folder) -> str:
        vectors, documents, scores = read_everything(folder)
        check_embeddings(vectors, {}, SOUND)
        check_scores(scores, SOUND, len(documents))
        SOUND.require(np.isfinite(np.asarray(vectors.vectors)).all(), "vectors that are not finite")
        return "opened"
