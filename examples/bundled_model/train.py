"""Train the bundled model for late interaction: 128 dims a token, the first 64 or 32 of them usable alone.

usage: python examples/bundled_model/train.py --data FOLDER --output FOLDER [--wheel FILE] [--steps 2000] [--seed 0]
                                            [--bfloat16] [--topical 0.5] [--start FOLDER]

The student starts as its own teacher, all-MiniLM-L6-v2, whose 384-dim token vectors rank well without training for it.
It learns to give the same similarities with a third of the numbers, the rankings that these give when rare words count
for more, and what people marked as right answers in SQuAD, MedQuAD, PubMedQA and half of SciFact's train split (--data:
these in BEIR's layout, with the test queries of SciFact, Cranfield and CISI, which are kept out). The projection is
fitted first, on frozen vectors, from random directions: the principal ones of the training texts keep the words of
these apart and let those of other fields fall together. Then the upper layers are trained with it. In half of the
batches words are replaced by others of the whole vocabulary, for the same reason.

An interrupted run goes on where it was saved last. --start trains a finished one further: give it another seed, and it
sees other batches. Needs the extras "export" and "evaluation".
"""

import argparse
import json
import math
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch
from build import TRAINING_FILE, download, sha256, unpack
from torch import nn
from training.batches import TOPICAL, WEIGHTS, BatchMaker
from training.corpora import read_sources
from training.disguise import Disguise
from training.lessons import Lessons
from training.losses import student_loss
from training.pylate_folder import write_json
from training.student import Student
from training.token_weights import TokenWeights

from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.tokenization.tokenizer_file import open_tokenizer

DIM = 128
# sizes that the loss looks at, with their weights; its value grows as the size shrinks
DIMS = {128: 1.0, 64: 0.25, 32: 0.05}
FIT_STEPS = 200
FIT_RATE = 1e-3
ENCODER_RATE = 3e-5
PROJECTION_RATE = 4e-4
WARM_UP = 0.05
SAVE_EVERY = 100
STATE_FILE = "training_state.pt"


def main() -> None:
    """Fit the projection, train everything, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="what this script wrote before, to be trained further")
    parser.add_argument("--topical", type=float, default=TOPICAL, help="share of groups with a query on their topic")
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor multiplies bfloat16")
    options = parser.parse_args()
    if not 0 <= options.topical <= 1:
        parser.error(f"--topical is a share from 0 to 1, not {options.topical}")
    torch.manual_seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        source = unpack(options.wheel or download(Path(folder)), Path(folder))
        teacher = TokenEncoder.from_pretrained(source, runtime="numba")
        student = Student(source, DIM, bfloat16=options.bfloat16)
        sources = read_sources(options.data)
        disguise = Disguise(list(open_tokenizer(source / "tokenizer.json").get_vocab()))
        maker = BatchMaker(sources, options.seed, disguise, options.topical)
        passages = [passage for part in sources for passage in part.passages]
        texts = [f"{passage.title} {passage.text}".strip() for passage in passages]
        lessons = Lessons(maker, teacher, TokenWeights(teacher.tokenizer, texts))
        if options.start is not None:
            student.load(options.start)
        elif not (options.output / STATE_FILE).exists():  # a saved state has a projection of its own
            fit_projection(student, lessons)
        train(student, lessons, options.steps, options.output)
        student.save(options.output, source)
    write_history(options)
    print(options.output)


def write_history(options: argparse.Namespace) -> None:
    """Write down what was trained on what and how, for provenance.json."""
    files = sorted(
        path for name in WEIGHTS for path in (options.data / name).iterdir() if path.suffix in (".gz", ".tsv")
    )
    history = {
        "script": "examples/bundled_model/train.py",
        "steps": options.steps,
        "seed": options.seed,
        "topical": options.topical,
        "products": "bfloat16" if options.bfloat16 else "float32",
        "before": options.start and json.loads((options.start / TRAINING_FILE).read_bytes()),
        "dims": list(DIMS),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy", "bm25s")},
        "data_sha256": {f"{path.parent.name}/{path.name}": sha256(path.read_bytes()) for path in files},
    }
    write_json(options.output / TRAINING_FILE, history)


def fit_projection(student: Student, lessons: Lessons) -> None:
    """Fit the projection alone, on the teacher's vectors; the lessons are those below zero."""
    weight = student.projection.weight
    nn.init.orthogonal_(weight)
    optimizer = torch.optim.Adam([weight], lr=FIT_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / FIT_STEPS)
    progress = Progress("projection", FIT_STEPS)
    for step in range(FIT_STEPS):
        lesson = lessons.make(-1 - step)
        queries, documents = lesson.query_vectors @ weight.T, lesson.document_vectors @ weight.T
        loss = student_loss(lesson.layout, queries, documents, DIMS, lesson.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.show(step, loss.item())


def train(student: Student, lessons: Lessons, num_steps: int, output: Path) -> None:
    """Train the layers and the projection; go on from the last save if there is one."""
    layers = [weight for weight in student.encoder.encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": layers, "lr": ENCODER_RATE}, {"params": [student.projection.weight], "lr": PROJECTION_RATE}],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, num_steps))
    saved = output / STATE_FILE
    first = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    output.mkdir(parents=True, exist_ok=True)
    progress = Progress("training", num_steps)
    for step in range(first, num_steps):
        lesson = lessons.make(step)
        queries, documents = student.encode(lesson.queries), student.encode(lesson.documents)
        loss = student_loss(lesson.layout, queries, documents, DIMS, lesson.target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.show(step, loss.item())
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < num_steps:
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "schedule": schedule.state_dict(), "step": step + 1}, output / "state.tmp")
            (output / "state.tmp").replace(saved)
    saved.unlink(missing_ok=True)


def rate_factor(step: int, num_steps: int) -> float:
    """Warm up, then go down to zero as a cosine does."""
    warm_up = max(1, int(WARM_UP * num_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up))


class Progress:
    """Prints the mean loss now and then."""

    def __init__(self, name: str, num_steps: int) -> None:
        """Begin to count."""
        self._name, self._num_steps, self._losses = name, num_steps, list[float]()
        self._begun = time.perf_counter()

    def show(self, step: int, loss: float) -> None:
        """Take a step's loss."""
        self._losses.append(loss)
        if (step + 1) % 25 == 0:
            mean = sum(self._losses) / len(self._losses)
            seconds = (time.perf_counter() - self._begun) / len(self._losses)
            print(f"{self._name} {step + 1}/{self._num_steps}: loss {mean:.4f}, {seconds:.2f} s a step", flush=True)
            self._losses.clear()
            self._begun = time.perf_counter()


if __name__ == "__main__":
    main()
