"""Pairs per second of each family of cross-encoders at its published size, in each runtime; and memory.

usage: python benchmarks/bench_families.py [--families A,B | all] [--pairs N] [--rounds N] [--threads N] [--layers N]
                                           [--infinity PYTHON]
       python benchmarks/bench_families.py --memory [--families A,B] [--layers N]

Weights are seeded random numbers, made here (two gigabytes for bge-reranker-v2-m3); texts are random token ids, as long
as SQuAD's questions with their paragraphs. Engines: compiled kernels in INT8; ONNX Runtime on the same model through
`quantize_dynamic`; PyTorch in bf16 and fp32. They take turns in every round; a figure is the median. Each family's row
tells how close the logits are to fp32's: their correlation, and the largest difference in standard deviations.

--infinity adds infinity-emb in PyTorch, of an interpreter that has it (see bench_servers.py). It is given texts whose
words are the token ids, one query with all documents. --layers makes models of so few layers, to try the command.

Without --families: all but the two of 24 layers, some ten minutes on two cores. "all": twenty.

--memory loads each family in compiled kernels in a process of its own, scores two pairs, and compares the peak with the
file's size.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from encoding_engines import make_batch
from family_models import FAMILIES, write_model, write_word_tokenizer
from workloads import describe_machine, interleaved_times, peak_memory_mb, version_or_none, write_result

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.inference.choose import choose_pair_runtime
from rank_rerank.inference.load_options import RuntimeOptions

LARGE = ("mxbai-rerank-large", "bge-reranker-v2-m3")
COMPILED, ONNX = "compiled INT8", "ONNX Runtime, quantize_dynamic"
INFINITY = "infinity, torch fp32"
QUERY_TOKENS = 12  # the same in all pairs
LEAST_TOKENS, MOST_TOKENS = 48, 384
# tokens of SQuAD's questions with their paragraphs: mean and deviation
MEAN_TOKENS, DEVIATION = 170, 65


def main() -> int:
    """Write each model, compare, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", help="names with commas between, or all: " + ", ".join(FAMILIES))
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--infinity", metavar="PYTHON")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure_memory(options.measure, options.threads)
    machine = {**describe_machine(options.threads), "torch": version_or_none("torch")}
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    for name in chosen(options.families):
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = write_model(name, Path(scratch) / name, options.layers)
            rows = [memory_row(checkpoint, options)] if options.memory else speed_rows(checkpoint, options)
        path = write_result("bench_families", [{**machine, "family": name, **row} for row in rows])
    print(path)
    return 0


def chosen(asked: str | None) -> list[str]:
    """The families to measure."""
    if asked is None:
        return [name for name in FAMILIES if name not in LARGE]
    names = list(FAMILIES) if asked == "all" else asked.split(",")
    if unknown := set(names) - set(FAMILIES):
        sys.exit(f"no such family: {', '.join(sorted(unknown))}")
    return names


def speed_rows(checkpoint: CrossEncoderCheckpoint, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each engine."""
    import torch

    torch.set_num_threads(options.threads)
    batch = random_pairs(checkpoint, options.pairs)
    engines = {
        name: lambda opened=opened: opened.logits(batch)
        for name, opened in open_engines(checkpoint, options.threads).items()
    }
    if options.infinity:
        engines[INFINITY] = start_infinity(options.infinity, checkpoint, batch, options.threads)
    found = {name: engine() for name, engine in engines.items()}  # and warm up
    times = interleaved_times(engines, options.rounds)
    rows: list[dict[str, Any]] = []
    for name in engines:
        speed = options.pairs / statistics.median(times[name])
        rows.append(
            {"engine": name, "pairs per second": round(speed, 2), **closeness(found[name], found["torch fp32"])}
        )
        rows[-1] |= {"pairs": options.pairs, "tokens": int(batch.num_tokens), "seconds": times[name]}
        print(
            f"{checkpoint.name:22} {name:32} {speed:8.2f} pairs/s   correlation {rows[-1]['correlation']:.5f}"
            f"   largest difference {rows[-1]['largest difference']:.4f} of their deviation"
        )
    return rows


def open_engines(checkpoint: CrossEncoderCheckpoint, num_threads: int) -> dict[str, Any]:
    """Each engine by its name."""
    from rank_rerank.inference.onnx_runtime.onnx_cross_encoder import OnnxCrossEncoder

    opened: dict[str, Any] = {
        COMPILED: choose_pair_runtime(checkpoint, RuntimeOptions("cpu", "int8", num_threads)),
        ONNX: OnnxCrossEncoder(quantized(checkpoint), "int8", num_threads),
    }
    for precision in ("bf16", "fp32"):
        opened[f"torch {precision}"] = choose_pair_runtime(checkpoint, RuntimeOptions("cpu", precision, num_threads))
    return opened


def start_infinity(python: str, checkpoint: CrossEncoderCheckpoint, batch: Any, num_threads: int) -> Callable[[], Any]:
    """A call that gives the logits of infinity's process."""
    if checkpoint.transformer is None:
        sys.exit(f"{checkpoint.name} has no weights")
    write_word_tokenizer(checkpoint.folder, checkpoint.transformer)
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    texts = [[f"w{token}" for token in batch.token_ids[start:end]] for start, end in bounds]
    query = " ".join(texts[0][:QUERY_TOKENS])
    asked = json.dumps({"query": query, "documents": [" ".join(text[QUERY_TOKENS:]) for text in texts]})
    command = [python, str(Path(__file__).with_name("infinity_engine.py")), str(checkpoint.folder), str(num_threads)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )

    def ask() -> Any:
        if process.stdin is None or process.stdout is None:
            sys.exit("infinity's process has no pipes")
        process.stdin.write(asked + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            sys.exit(f"infinity ended with {process.wait()}: {' '.join(command)}")
        return np.array(json.loads(answer))

    weakref.finalize(ask, process.terminate)
    return ask


def quantized(checkpoint: CrossEncoderCheckpoint) -> Path:
    """The model as an ONNX file, quantized as ONNX Runtime's own tool does by default."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from rank_rerank.export.cross_encoder_export import write_graph

    # both tools warn of what does not matter here: operators that no model has, shapes that are no weights
    for name in ("torch.onnx", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)
    exact, path = checkpoint.folder / "exact.onnx", checkpoint.folder / "quantized.onnx"
    write_graph(checkpoint, exact)
    is_large = (checkpoint.folder / "model.safetensors").stat().st_size > 1 << 30
    quantize_dynamic(exact, path, weight_type=QuantType.QInt8, use_external_data_format=is_large)
    return path


def closeness(found: Any, exact: Any) -> dict[str, float]:
    """How close logits are to exact ones."""
    return {
        "correlation": float(np.corrcoef(found, exact)[0, 1]),
        "largest difference": float(np.abs(found - exact).max() / exact.std()),
    }


def random_pairs(checkpoint: CrossEncoderCheckpoint, count: int) -> Any:
    """Token ids, each pair of another length."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.normal(MEAN_TOKENS, DEVIATION, count), LEAST_TOKENS, MOST_TOKENS).astype(int)
    if checkpoint.transformer is None:
        sys.exit(f"{checkpoint.name} has no weights")
    texts = [random.integers(5, checkpoint.transformer.vocab_size, length) for length in lengths]
    return make_batch([np.concatenate([texts[0][:QUERY_TOKENS], text[QUERY_TOKENS:]]) for text in texts])


def memory_row(checkpoint: CrossEncoderCheckpoint, options: argparse.Namespace) -> dict[str, Any]:
    """The peak of a process that loads the model and scores two pairs, beside the size of its file."""
    command = [sys.executable, __file__, "--measure", str(checkpoint.folder), "--threads", str(options.threads)]
    before, peak = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    file_mb = (checkpoint.folder / "model.safetensors").stat().st_size / 1e6
    print(f"{checkpoint.name:22} file {file_mb:8.0f} MB   peak {peak:8.0f} MB, of which {before:.0f} MB before loading")
    return {"file MB": round(file_mb), "peak MB": round(peak), "MB before loading": round(before)}


def measure_memory(folder: Path, num_threads: int) -> int:
    """What the process of memory_row does."""
    from rank_rerank.checkpoints.cross_encoder_folder import read_cross_encoder
    from rank_rerank.inference.compiled.opening import open_compiled_pairs

    checkpoint = read_cross_encoder(folder, folder.name, "auto", "numba")
    before = peak_memory_mb()
    open_compiled_pairs(checkpoint, num_threads).logits(random_pairs(checkpoint, 2))
    print(before, peak_memory_mb())
    return 0


if __name__ == "__main__":
    sys.exit(main())
