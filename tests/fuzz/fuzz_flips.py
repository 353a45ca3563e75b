"""Flip one bit of a store: it is refused, or everything that is read is what it was; and `verify` sees the flip."""

import random
import shutil

from damage import Original, flip_bit
from fuzz_child import Fault
from store_contents import make_stores, read_everything

from rank_rerank import EmbeddingStore
from rank_rerank.errors import RankRerankError

IGNORED = {"lock"}


def open_cases(seed, folder):
    return Flips(seed, folder)


class Flips:
    """Tries the flip of a number; ``target`` is the compression and the kind of file."""

    def __init__(self, seed, folder) -> None:
        self._seed, self.target = seed, ""
        shutil.rmtree(folder / "flipped", ignore_errors=True)
        self._originals = {name: Original(path) for name, path in make_stores(folder / "flipped").items()}
        self._contents = {name: _comparable(original.folder) for name, original in self._originals.items()}

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        name = rng.choice(list(self._originals))
        original = self._originals[name]
        # every byte of the store is as likely as every other
        files = [path for path, content in original.files.items() if content and path.name not in IGNORED]
        [path] = rng.choices(files, [len(original.files[path]) for path in files])
        self.target = f"{name}, {path.name.partition('-')[0]}"
        try:
            path.write_bytes(flip_bit(rng, original.files[path]))
            self._check_verify(original.folder)
            return self._read(original.folder, name)
        finally:
            original.restore()

    def _check_verify(self, folder) -> None:
        try:
            is_sound = EmbeddingStore.verify_folder(folder).is_sound
        except RankRerankError:
            return
        if is_sound:
            raise Fault(self.target, "verify calls a flipped bit sound")

    def _read(self, folder, name) -> str:
        if _comparable(folder) != self._contents[name]:
            raise Fault(self.target, "a flipped bit is read in silence")
        return "read as it was"


def _comparable(folder):
    vectors, documents, scores = read_everything(folder)
    return vectors.vectors.tobytes(), vectors.offsets.tolist(), documents, scores.tobytes()
