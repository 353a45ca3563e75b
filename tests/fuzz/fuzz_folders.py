"""Load model folders of which files are damaged: a model that ranks, or a typed error."""

import json
import random
import shutil
from pathlib import Path

import family_folders
import model_folders
from call_targets import Target, check_ranking
from damage import Original, damage_file
from fuzz_child import Fault

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder

TEXTS = ["Paris is the capital of France.", "", "bread"]
WRITERS = {
    "PyLate": model_folders.write_pylate,
    "Stanford": model_folders.write_stanford,
    "multi-vector": model_folders.write_multi_vector,
    "cross-encoder": model_folders.write_cross_encoder,
    "plain encoder": model_folders.write_bert,
    "modular cross-encoder": family_folders.write_modular,
    "causal reranker": family_folders.write_causal,
    "causal reranker, llama": family_folders.write_llama,
    "causal reranker, converted": family_folders.write_converted,
    "causal reranker, INT8": family_folders.write_rounded,
}
# an ONNX file has tens of megabytes, which are written anew for each damage
BUNDLED_SHARE = 0.06


def open_cases(seed, folder):
    return Folders(seed, folder)


class Folders:
    """Tries the folder of a number; ``target`` says of which family it was before the damage."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._outside, self.target = seed, folder / "outside", ""
        shutil.rmtree(folder / "models", ignore_errors=True)
        paths = {name: self._write(folder / "models" / name, write) for name, write in WRITERS.items()}
        shutil.copytree(bundled_folder(), folder / "models" / "bundled", ignore=shutil.ignore_patterns("*.py*"))
        paths["bundled"] = folder / "models" / "bundled"
        self._originals = {name: Original(path) for name, path in paths.items()}

    def _write(self, folder: Path, write) -> Path:
        """Some families are told by the name of their folder, and are written to another one."""
        folder.mkdir(parents=True)
        return write(folder) or folder

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        name = "bundled" if rng.random() < BUNDLED_SHARE else rng.choice(list(WRITERS))
        self.target, original = name, self._originals[name]
        try:
            for path in rng.sample(sorted(original.files), rng.choice((1, 1, 1, 2))):
                damage_file(rng, path, self._outside)
            return self._use(original.folder, name)
        finally:
            original.restore()
            self._check_outside()

    def _use(self, folder: Path, name: str) -> str:
        reranker = rank_rerank.load(folder, device="cpu", num_threads=1)
        ranking = reranker.rerank("capital of France", TEXTS)
        check_ranking(ranking, {}, Target(name, len, {}))
        json.dumps(ranking.to_dict(), allow_nan=False)
        return "loaded"

    def _check_outside(self) -> None:
        """What a link led to was not changed; whether it was read is for the tests of links to know."""
        if self._outside.is_dir():
            raise Fault(self.target, "made a folder outside the model")
