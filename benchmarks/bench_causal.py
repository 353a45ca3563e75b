"""Causal rerankers on a CPU: compiled INT8 against PyTorch in bf16 and fp32, on a model of Qwen3-Reranker-0.6B's sizes.

usage: python benchmarks/bench_causal.py FOLDER [--pairs N] [--tokens N] [--threads N] [--layers N] [--engines NAMES]

FOLDER takes the seeded weights (1.2 GB) and their INT8 export (0.8 GB), which later runs use again. Each engine runs in
a process of its own, so that its peak memory is its own: --pairs pairs of --tokens tokens of one query. "compiled" maps
the export, "rounded" rounds the weights when it is loaded, "torch-bf16" and "torch-fp32" are this library's PyTorch
runtime on --torch-pairs of the pairs, and their seconds are scaled up. So are those of "llama.cpp", which runs where
`pip install xllamacpp gguf` was (another 0.6 GB in FOLDER); it keeps what pairs share, and is not compared.
Log-odds are compared with fp32's: differences, correlation, and whether the order is kept. The limit is what this
machine's cores multiply in their nearest cache, all at once (`stage_limits`); the share is the products of weights,
without attention, over that.
"""

import argparse
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from causal_model import LAYERS, PREFIX, VOCABULARY, layer_parameters, make_pairs, write_model
from workloads import describe_machine, peak_memory_mb, write_result

ENGINES = {
    "compiled": {},
    "rounded": {"runtime": "numba"},
    "torch-bf16": {"runtime": "torch", "precision": "bf16"},
    "torch-fp32": {"runtime": "torch", "precision": "fp32"},
}
LLAMA = "llama.cpp"


def main() -> int:
    """Make the model, run each engine, compare, print."""
    options = parse()
    if options.engine:
        print(json.dumps(run_engine(options)))
        return 0
    source = write_model(options.folder / f"reranker-{options.layers}", options.layers, options.vocabulary)
    export = options.folder / f"reranker-{options.layers}-int8"
    if not export.exists():
        export_model(source, export)
    engines = options.engines.split(",")
    if LLAMA in engines:
        from causal_llama import write_gguf

        write_gguf(source, llama_file(options), options.layers, options.vocabulary)
    elif not has_llama():
        print("llama.cpp is left out: pip install xllamacpp gguf")
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    limit = multiply_limit(options.threads)
    print(f"limit: {limit / 1e12:.2f} T operations per second on {options.threads} threads")
    rows = [run_apart(name, options, limit) for name in engines]
    compare(rows)
    for row in rows:
        print(*(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}" for key, value in row.items()))
    print(write_result("bench_causal", [{**machine, "limit": limit, **row} for row in rows]))
    return 0


def parse() -> Any:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--torch-pairs", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default=",".join([*ENGINES, *([LLAMA] if has_llama() else [])]))
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    return parser.parse_args()


def has_llama() -> bool:
    """Whether llama.cpp and what writes its files are installed."""
    return all(find_spec(name) is not None for name in ("xllamacpp", "gguf"))


def llama_file(options: Any) -> Path:
    """The weights in Q8_0."""
    return options.folder / f"reranker-{options.layers}.gguf"


def export_model(source: Path, export: Path) -> None:
    """As `rank-rerank export --int8` does, without the comparison, which `compare` makes here."""
    from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE
    from rank_rerank.checkpoints.find import find_model
    from rank_rerank.export.decoder_int8 import write_int8_decoder
    from rank_rerank.kernels.processor import vector_path

    export.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (export / name).write_bytes((source / name).read_bytes())
    write_int8_decoder(find_model(source, runtime="torch"), export / INT8_DECODER_FILE, vector_path())


def multiply_limit(num_threads: int) -> float:
    """Operations per second of all threads at once, each in its nearest cache; a multiply-add is two."""
    from stage_limits import measure_limits, scaling_limit

    from rank_rerank.kernels.processor import vector_path

    return 2 * measure_limits(vector_path()).bytes_per_s * scaling_limit(vector_path(), num_threads)


def run_apart(name: str, options: Any, limit: float) -> dict[str, Any]:
    """One engine in a process of its own."""
    arguments = [sys.executable, __file__, str(options.folder), "--engine", name]
    for key in ("pairs", "torch_pairs", "tokens", "threads", "layers", "vocabulary", "rounds"):
        arguments += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name} failed: {done.stderr}")
    row = json.loads(done.stdout.splitlines()[-1])
    if name in ("compiled", "rounded"):
        new = options.pairs * options.tokens - (options.pairs - 1) * PREFIX
        row["share"] = 2 * layer_parameters() * options.layers * new / row["seconds"] / limit
    return row


def run_engine(options: Any) -> dict[str, Any]:
    """Load, warm up on two pairs, time; seconds of a part of the pairs are scaled to all."""
    if options.engine == LLAMA:
        return run_llama(options)
    import rank_rerank

    name = options.engine
    suffix = "-int8" if name == "compiled" else ""
    folder = options.folder / f"reranker-{options.layers}{suffix}"
    begun = time.perf_counter()
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(options.threads)
    model = rank_rerank.CrossEncoder.from_pretrained(
        folder,
        device="cpu",
        num_threads=options.threads,
        instruction="Given a web search query, retrieve relevant passages that answer the query",
        **ENGINES[name],
    )
    loaded = time.perf_counter() - begun
    count = min(options.pairs, options.torch_pairs) if name.startswith("torch") else options.pairs
    batch = make_pairs(options.pairs, options.tokens, options.vocabulary)
    timed = batch if count == options.pairs else make_pairs(count, options.tokens, options.vocabulary)
    model.transformer.logits(make_pairs(2, options.tokens, options.vocabulary, seed=1))
    times: list[float] = []
    logits = np.empty(0)
    for _ in range(1 if name.startswith("torch") else options.rounds):
        begun = time.perf_counter()
        logits = model.transformer.logits(timed)
        times.append(time.perf_counter() - begun)
    files = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return {
        "engine": name,
        "runtime": model.transformer.description,
        "pairs": options.pairs,
        "tokens": options.tokens,
        "seconds": float(np.median(times)) * options.pairs / count,
        "timed_pairs": count,
        "load_s": loaded,
        "peak_mb": peak_memory_mb(),
        "file_mb": files / 1e6,
        "logits": [float(value) for value in logits],
    }


def run_llama(options: Any) -> dict[str, Any]:
    """The same in llama.cpp."""
    from causal_llama import LlamaReranker

    begun = time.perf_counter()
    model = LlamaReranker(llama_file(options), options.threads, options.tokens)
    loaded = time.perf_counter() - begun
    count = min(options.pairs, options.torch_pairs)
    model.run(make_pairs(2, options.tokens, options.vocabulary, seed=1))
    begun = time.perf_counter()
    model.run(make_pairs(count, options.tokens, options.vocabulary))
    return {
        "engine": LLAMA,
        "runtime": model.description,
        "pairs": options.pairs,
        "tokens": options.tokens,
        "seconds": (time.perf_counter() - begun) * options.pairs / count,
        "timed_pairs": count,
        "load_s": loaded,
        "peak_mb": peak_memory_mb(),
        "file_mb": llama_file(options).stat().st_size / 1e6,
        "logits": [],
    }


def compare(rows: list[dict[str, Any]]) -> None:
    """Put what differs from fp32 in place of the log-odds; the pairs that both computed are the first ones."""
    logits = {row["engine"]: np.array(row.pop("logits")) for row in rows}
    expected = logits.get("torch-fp32")
    if expected is None:
        return
    for row in rows:
        found = logits[row["engine"]][: len(expected)]
        if len(found) == 0:
            continue
        row["largest_difference"] = float(np.abs(found - expected).max())
        row["spread"] = float(np.std(expected))
        row["correlation"] = float(np.corrcoef(found, expected)[0, 1])
        row["same_order"] = bool((np.argsort(-found) == np.argsort(-expected)).all())


if __name__ == "__main__":
    sys.exit(main())
