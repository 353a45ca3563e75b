"""Train smaller models of the bundled one within minutes on one GPU: 128 dims a token, and three layers.

usage: python examples/bundled_model/train_on_gpu.py --data FILE --output FOLDER [--seconds 300] [--device cuda]
                                                   [--dim 128] [--layers 0,2,5] [--seed 0]
                                                   [--source FOLDER]

--data is what prepare_gpu_data.py wrote. The teacher is the source itself, its INT8 weights in float32: its
MaxSim, the cosine of its mean vectors and half of BM25, as z-scores within a list. Learned are, each for its share of
the time: a projection to --dim alone, from principal directions and from random ones; the encoder with the better of
them; and an encoder of --layers. A model that fails leaves the others alone. What is done is written at once:
log.json, projections.npz, and the layers' weights as float16 .npz files, each under 16 MiB. build_trained.py makes
model folders of them. Needs PyTorch and safetensors.
"""

import time

BEGUN = time.perf_counter()  # the imports count too

# ruff: noqa: E402
import argparse
import hashlib
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training.bundle import Bundle
from training.ranking_batches import RankingBatches
from training.ranking_losses import LossWeights
from training.small_bert import SmallBert
from training.token_store import TokenStore
from training.trainee import Rates, Texts, Trainee, judge, means, train
from unpack import read_source

from rank_rerank.arrays import AnyArray

# shares of the time that is left when the texts are encoded: each start of the projection, the encoder, the student
PROJECTION_SHARE, ENCODER_SHARE, STUDENT_SHARE = 0.035, 0.46, 0.34
# seconds to judge and write at the end
RESERVE = 15
PROJECTION = LossWeights(ranking=1.0, tokens=20.0, gold=0.1, drift=0.0), Rates(0.0, 1e-3)
ENCODER = LossWeights(ranking=1.0, tokens=10.0, gold=0.2, drift=2.0), Rates(5e-5, 3e-4)
STUDENT = LossWeights(ranking=0.5, tokens=20.0, gold=0.0, drift=5.0), Rates(4e-4, 0.0)
# how far the trained layers are mixed with the source's
MIXES = (0.5, 0.75, 1.0)
# tokens that the principal directions are taken from
SAMPLED_TOKENS = 1_000_000
LAYERS_PER_FILE = 3


@dataclass
class Run:
    """What all parts share.

    Attributes:
        options: the command line's.
        texts: with the source's vectors.
        tensors: the source's weights.
        until: when to be done, by the clock.
        log: of everything, written after each part.
        projections: by name.
    """

    options: argparse.Namespace
    texts: Texts
    tensors: dict[str, AnyArray]
    until: float
    log: dict[str, Any] = field(default_factory=dict)
    projections: dict[str, torch.Tensor] = field(default_factory=dict)

    def batches(self) -> RankingBatches:
        """Batches from the beginning."""
        return RankingBatches(self.texts.bundle, self.texts.passages.lengths, self.options.seed)

    def attempt(self, name: str, part: Callable[["Run"], dict[str, Any]]) -> None:
        """Do a part and write it to the log; an error is written too and goes no further."""
        begun = time.perf_counter()
        try:
            self.log[name] = part(self)
        except Exception:  # noqa: BLE001 - what the other parts learned must not be lost
            self.log[name] = {"error": traceback.format_exc()}
            print(self.log[name]["error"], flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.log[name]["seconds"] = time.perf_counter() - begun
        arrays = {key: projection.detach().cpu().numpy() for key, projection in self.projections.items()}
        np.savez(self.options.output / "projections.npz", allow_pickle=False, **arrays)
        (self.options.output / "log.json").write_text(json.dumps(self.log) + "\n", encoding="utf-8")
        print(f"{time.perf_counter() - BEGUN:.0f} s: {name} took {self.log[name]['seconds']:.1f} s", flush=True)

    def judge(self, name: str, trainee: Trainee) -> dict[str, Any]:
        """Judge on what is held back, print."""
        judged = judge(trainee, self.texts)
        table: Any = means(judged)
        print(f"{name}: {table['mean']}", flush=True)
        return {"means": table, "values": {key: round_all(values) for key, values in judged.items()}}


def round_all(values: dict[str, list[float]]) -> dict[str, list[float]]:
    """Values query by query, in four digits."""
    return {kind: [round(value, 4) for value in row] for kind, row in values.items()}


def main() -> None:
    """Encode, then each part in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--layers", default="0,2,5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path, help="what build.py writes; without it the bundled model")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    run = open_run(options)
    left = run.until - time.perf_counter()
    print(f"{time.perf_counter() - BEGUN:.0f} s: texts encoded, {left:.0f} s left", flush=True)
    run.log["setup"] = {
        "seconds": time.perf_counter() - BEGUN,
        "options": {name: str(value) for name, value in vars(options).items()},
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "data_sha256": hashlib.sha256(options.data.read_bytes()).hexdigest(),
    }
    run.attempt("source", lambda run: {"held_back": run.judge("source", Trainee(None, None))})
    run.attempt("projections", lambda run: fit_projections(run, left * PROJECTION_SHARE))
    run.attempt("encoder", lambda run: train_encoder(run, left * ENCODER_SHARE))
    run.attempt("student", lambda run: train_student(run, left * STUDENT_SHARE))


def open_run(options: argparse.Namespace) -> Run:
    """Read everything and let the source encode the texts."""
    device = torch.device(options.device)
    bundle = Bundle.open(options.data)
    tensors = read_source(options.source)
    source = SmallBert(tensors, range(count_layers(tensors))).to(device)
    queries = TokenStore(bundle.query_tokens, bundle.query_lengths, device)
    passages = TokenStore(bundle.passage_tokens, bundle.passage_lengths, device)
    for store in (queries, passages):
        store.fill(source)
    return Run(options, Texts(bundle, queries, passages), tensors, BEGUN + options.seconds - RESERVE)


def count_layers(tensors: dict[str, AnyArray]) -> int:
    """How many layers the source has."""
    return sum(name.endswith("intermediate.dense.weight") for name in tensors)


def fit_projections(run: Run, seconds: float) -> dict[str, Any]:
    """The projection alone, on the source's vectors, from both starts; the better one on what is held back stays."""
    vectors = run.texts.passages.vectors
    drawn = torch.randint(len(vectors), (min(SAMPLED_TOKENS, len(vectors)),), device=vectors.device)
    sample = vectors[drawn].float()
    principal = torch.linalg.eigh(sample.T @ sample / len(sample)).eigenvectors.flip(1).T[: run.options.dim]
    random = torch.nn.init.orthogonal_(torch.empty_like(principal))
    run.projections["principal"] = principal.contiguous()
    results = {"principal": {"held_back": run.judge("principal", Trainee(None, principal))}}
    for start, projection in (("principal", principal), ("random", random)):
        trainee = Trainee(None, projection).to(vectors.device)
        history = train(trainee, run.texts, run.batches(), PROJECTION, seconds)
        name = f"fitted_from_{start}"
        run.projections[name] = trainee.projection.detach()
        results[name] = {"losses": history, "held_back": run.judge(name, trainee)}
    fitted = [name for name in results if name.startswith("fitted")]
    best = max(fitted, key=lambda name: results[name]["held_back"]["means"]["mean"]["maxsim"])
    run.projections["fitted"] = run.projections[best]
    return {**results, "best": best}


def train_encoder(run: Run, seconds: float) -> dict[str, Any]:
    """The encoder with the projection that was fitted; judged as it is and mixed with the source."""
    device = run.texts.queries.device
    numbers = range(count_layers(run.tensors))
    start = run.projections.get("fitted", run.projections["principal"])
    trainee = Trainee(SmallBert(run.tensors, numbers), start).to(device)
    seconds = min(seconds, run.until - time.perf_counter())
    history = train(trainee, run.texts, run.batches(), ENCODER, seconds)
    run.projections["trained"] = trainee.projection.detach()
    save_layers(run.options.output, "encoder", trainee.encoder)
    trained = {name: tensor.clone() for name, tensor in trainee.encoder.state_dict().items()}
    before = SmallBert(run.tensors, numbers).to(device).state_dict()
    judged: dict[str, Any] = {}
    for mix in MIXES:
        trainee.encoder.load_state_dict({name: torch.lerp(before[name], trained[name], mix) for name in trained})
        judged[f"mixed_{mix}"] = run.judge(f"encoder, {mix} of the training", trainee)
    return {"losses": history, "held_back": judged}


def train_student(run: Run, seconds: float) -> dict[str, Any]:
    """An encoder of some of the source's layers."""
    layers = [int(number) for number in run.options.layers.split(",")]
    trainee = Trainee(SmallBert(run.tensors, layers), None).to(run.texts.queries.device)
    before = run.judge("student before training", trainee)["means"]
    seconds = min(seconds, run.until - time.perf_counter())
    history = train(trainee, run.texts, run.batches(), STUDENT, seconds)
    save_layers(run.options.output, "student", trainee.encoder)
    return {"layers": layers, "before": before, "losses": history, "held_back": run.judge("student", trainee)}


def save_layers(folder: Path, name: str, encoder: SmallBert) -> None:
    """Write the layers, a few per file."""
    tensors = encoder.tensors()
    for start in range(0, len(encoder.layers), LAYERS_PER_FILE):
        prefixes = tuple(f"encoder.layer.{number}." for number in range(start, start + LAYERS_PER_FILE))
        part = {key: tensor for key, tensor in tensors.items() if key.startswith(prefixes)}
        np.savez(folder / f"{name}_{start // LAYERS_PER_FILE}.npz", allow_pickle=False, **part)


if __name__ == "__main__":
    main()
