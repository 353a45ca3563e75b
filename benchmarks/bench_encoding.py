"""Texts a second: the compiled runtime, the bundled INT8 graph, what ONNX Runtime's own quantizer makes, fp32, peers.

usage: python benchmarks/bench_encoding.py [--data FOLDER] [--texts N] [--rounds N] [--threads N]
       [--only NAME …] [--model bundled|modernbert-random] [--prepared FOLDER] [--collections NAME …] [--ways N]
       [--single-calls N]

All engines compute one model, the bundled one, whose weights are unpacked to float32 for those that do not read its
file, on texts of natural length: SciFact's abstracts and SQuAD's paragraphs. Before anything is timed, each engine's
token vectors are compared with the float32 PyTorch model (cosine), and it is tried whether a text's vectors are the
same bits alone and among others. Engines take turns in every round; a ratio is the median of the rounds' ratios to
quantize_dynamic in its best way. Then: one text at a time (32 and 180 tokens), one thread against all, and the memory
of a process of its own. Needs the extra "export"; sentence-transformers and PyLate take part where they are installed.
With ``--model modernbert-random`` the same is done for a ModernBERT of the base size with seeded random weights;
``--prepared`` keeps its files for the next run.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import encoding_engines as engines
import modernbert_source as modernbert
import numpy as np
from encoding_engines import Engine
from workloads import (
    DEFAULT_DATA,
    ROOT,
    describe_machine,
    interleaved_times,
    percentile,
    read_collection,
    write_result,
)

sys.path.insert(0, str(ROOT / "examples" / "bundled_model"))
import build as source
from unpack import unpack_model

from rank_rerank.export.int8_export import serialize
from rank_rerank.export.onnx_export import export_onnx
from rank_rerank.export.parity import measure_fidelity, torch_reference

BUNDLED = ROOT / "rank_rerank" / "bundled"
BASELINE = "quantize_dynamic"
COMPILED = "compiled INT8"
COLLECTIONS = ("scifact", "squad")
SINGLE_LENGTHS = (32, 180)
SINGLE_CALLS = 200
PARITY_TEXTS = 60
MIN_MEAN_COSINE = 0.9992


def main() -> None:
    """Make the engines, check them, time them, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--texts", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="engines by name; quantize_dynamic always takes part")
    parser.add_argument("--model", choices=("bundled", "modernbert-random"), default="bundled")
    parser.add_argument("--prepared", type=Path, help="where to keep a random model and its graphs")
    parser.add_argument("--collections", nargs="*", choices=COLLECTIONS, default=COLLECTIONS)
    parser.add_argument("--ways", type=int, default=3, help="how many ways to feed each ONNX graph")
    parser.add_argument("--single-calls", type=int, default=SINGLE_CALLS)
    options = parser.parse_args()
    if options.model == "modernbert-random":
        measure_modernbert(options)
        return
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "float32"
        unpack_model(files)
        encoder, projection = source.open_encoder(files), source.open_projection(files)
        contestants = open_engines(files, encoder, projection, options)
        tokenizer = source.open_tokenizer(files / "tokenizer.json")
        for name in options.collections:
            texts = sample(options.data, name, options.texts, tokenizer)
            parity = measure_parity(contestants, torch_reference(encoder, projection), texts)
            rows += measure_speed(name, contestants, texts, options.rounds, parity)
    rows += measure_single_texts(contestants, options.single_calls)
    rows += measure_scaling(options.threads, options.rounds, texts)
    if Path("/proc/self/status").exists():
        rows += measure_memory(options.threads, [text.tolist() for text in texts])
    print(write_result("bench_encoding", [{**machine, **row} for row in rows]))


def open_engines(folder: Path, encoder: Any, projection: Any, options: Any) -> list[Engine]:
    """Everything that takes part, all with the same weights: the bundled model's, unpacked to float32."""
    fp32 = serialize(export_onnx(encoder, source.MAX_LENGTH, projection))
    graphs = {
        BASELINE: lambda: quantize_dynamic(fp32, folder, fused=False),
        "fused + quantize_dynamic": lambda: quantize_dynamic(fp32, folder, fused=True),
        "fp32": lambda: fp32,
        "bundled INT8, ONNX Runtime": (BUNDLED / "model_int8.onnx").read_bytes,
    }
    makers = {
        name: lambda name=name: engines.onnx(name, graphs[name](), options.threads)[: options.ways] for name in graphs
    }
    makers[COMPILED] = lambda: engines.compiled(BUNDLED, options.threads)
    makers["torch bf16"] = lambda: engines.torch_bf16(encoder, projection, options.threads)
    makers["sentence-transformers fp32"] = lambda: engines.sentence_transformers(folder, options.threads, projection)
    makers["PyLate fp32"] = lambda: engines.pylate(folder, options.threads, has_projection=True)
    chosen = [name for name in makers if not options.only or name in {BASELINE, *options.only}]
    return [engine for name in chosen for engine in makers[name]()]


def measure_modernbert(options: Any) -> None:
    """The table for a ModernBERT of the base size."""
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.prepared or Path(temporary)
        folder = modernbert.make_folder(kept / "model")
        makers = modernbert_makers(kept, folder, options)
        contestants = [
            engine for name in makers if not options.only or name in options.only for engine in makers[name]()
        ]
        tokenizer, reference = source.open_tokenizer(folder / "tokenizer.json"), modernbert.open_reference(folder)
        rows: list[dict[str, Any]] = []
        for name in options.collections:
            texts = sample(options.data, name, options.texts, tokenizer)
            parity = measure_parity(contestants, reference, texts[:2], least=0.0)
            rows += measure_speed(name, contestants, texts, options.rounds, parity)
        rows += measure_single_texts(contestants, options.single_calls)
    print(write_result("bench_encoding", [{**machine, "subject": options.model, **row} for row in rows]))


def modernbert_makers(kept: Path, folder: Path, options: Any) -> dict[str, Callable[[], list[Engine]]]:
    """Everything that computes it, by name."""

    def quantized() -> bytes:
        file = kept / "quantised.onnx"
        if not file.exists():
            file.write_bytes(quantize_dynamic(modernbert.make_graph(folder, kept / "onnx"), kept, fused=False))
        return file.read_bytes()

    return {
        BASELINE: lambda: engines.onnx(BASELINE, quantized(), options.threads)[: options.ways],
        "fp32": lambda: engines.onnx("fp32", modernbert.make_graph(folder, kept / "onnx"), options.threads)[:1],
        COMPILED: lambda: [modernbert.open_compiled(folder, options.threads)],
        "torch fp32": lambda: modernbert.open_torch(folder, "fp32", options.threads),
        "torch bf16": lambda: modernbert.open_torch(folder, "bf16", options.threads),
        "sentence-transformers fp32": lambda: engines.sentence_transformers(folder, options.threads),
        "PyLate fp32": lambda: engines.pylate(folder, options.threads),
    }


def sample(data: Path, name: str, count: int, tokenizer: Any) -> list[Any]:
    """Token ids of documents from all over a collection."""
    documents = list(read_collection(data, name).documents.values())
    return source.tokenize(tokenizer, documents[:: max(1, len(documents) // count)][:count])


def quantize_dynamic(fp32: bytes, folder: Path, *, fused: bool) -> bytes:
    """What peers ship: ONNX Runtime's dynamic quantizer, one weight scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from onnxruntime.transformers.optimizer import optimize_model

    before, prepared, after = (str(folder / f"{fused}_{name}.onnx") for name in ("before", "prepared", "after"))
    Path(before).write_bytes(fp32)
    if fused:
        optimize_model(before, "bert", num_heads=12, hidden_size=384, opt_level=0).save_model_to_file(prepared)
    else:
        quant_pre_process(before, prepared, skip_symbolic_shape=True)  # which fails on free axes
    # its quantizer takes the ONNX operator Attention for its own of the same name and makes an invalid model
    quantize_dynamic(
        prepared,
        after,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather"],
        extra_options={"DefaultTensorType": 1},  # float32, where shape inference gives up
    )
    return Path(after).read_bytes()


def measure_parity(
    contestants: Sequence[Engine], reference: Any, texts: Sequence[Any], least: float = MIN_MEAN_COSINE
) -> dict[str, dict[str, Any]]:
    """Cosine to the source, and whether a text's vectors depend on its batch mates."""
    step = max(1, len(texts) // PARITY_TEXTS)
    cache = {text.tobytes(): reference(text) for text in texts[::step]}
    rows: dict[str, dict[str, Any]] = {}
    for engine in {engine.name: engine for engine in contestants}.values():
        fidelity = measure_fidelity(
            lambda text, engine=engine: engine.encode([text])[0], lambda text: cache[text.tobytes()], texts[::step]
        )
        alone = [engine.encode([text])[0] for text in texts[:8]]
        rows[engine.name] = {
            "mean_cosine": fidelity.mean_cosine,
            "min_cosine": fidelity.min_cosine,
            "parity_tokens": fidelity.num_tokens,
            "invariant": all(np.array_equal(*pair) for pair in zip(alone, engine.encode(texts[:8]), strict=True)),
        }
    compiled = rows.get(COMPILED)
    if compiled is not None and (compiled["mean_cosine"] < least or not compiled["invariant"]):
        sys.exit(f"the compiled runtime is not what it should be: {compiled}; nothing is timed")
    return rows


def measure_speed(
    collection: str,
    contestants: Sequence[Engine],
    texts: Sequence[Any],
    rounds: int,
    parity: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Time all engines in turn; print and give a row each."""
    for engine in contestants:
        engine.encode(texts[:8])
    calls = {
        f"{engine.name}|{engine.way}": lambda engine=engine: engine.encode(texts) and None for engine in contestants
    }
    times = interleaved_times(calls, rounds)
    slowest = max(times.values(), key=statistics.median)  # where the quantizer does not take part
    baseline = min(
        (times[key] for key in times if key.startswith(f"{BASELINE}|")), key=statistics.median, default=slowest
    )
    print(f"\n{collection}: {len(texts)} texts of {np.mean([len(text) for text in texts]):.0f} tokens")
    rows: list[dict[str, Any]] = []
    for key, seconds in times.items():
        name, _, way = key.partition("|")
        rates = sorted(len(texts) / second for second in seconds)
        ratio = statistics.median(base / own for base, own in zip(baseline, seconds, strict=True))
        row = {
            "collection": collection, "model": name, "way": way, "texts_per_s": statistics.median(rates),
            "slowest": rates[0], "fastest": rates[-1], "ratio_to_quantize_dynamic": ratio, **parity[name],
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:27} {way:42} {row['texts_per_s']:6.1f} texts/s ({rates[0]:.1f} to {rates[-1]:.1f}), ratio "
            f"{ratio:.2f}, cosine {row['mean_cosine']:.5f}, minimum {row['min_cosine']:.4f}, "
            f"invariant: {row['invariant']}"
        )
    return rows


def measure_single_texts(contestants: Sequence[Engine], num_calls: int) -> list[dict[str, Any]]:
    """Milliseconds of one text alone, the way a query comes."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    print()
    for length in SINGLE_LENGTHS:
        text = random.integers(1996, 29000, length)
        for engine in {engine.name: engine for engine in reversed(contestants)}.values():
            milliseconds: list[float] = []
            for _ in range(num_calls):
                begun = time.perf_counter()
                engine.encode([text])
                milliseconds.append(1000 * (time.perf_counter() - begun))
            median, slow = statistics.median(milliseconds), percentile(milliseconds, 0.95)
            rows.append({"single_text_tokens": length, "model": engine.name, "median_ms": median, "p95_ms": slow})
            print(f"one text of {length:3} tokens, {engine.name:27} {median:6.2f} ms, p95 {slow:.2f}")
    return rows


def measure_scaling(num_threads: int, rounds: int, texts: Sequence[Any]) -> list[dict[str, Any]]:
    """The compiled runtime on one thread and on all."""
    calls = {str(count): engines.compiled(BUNDLED, count)[0].encode for count in (1, num_threads)}
    times = interleaved_times({name: lambda call=call: call(texts) and None for name, call in calls.items()}, rounds)
    gain = statistics.median(one / many for one, many in zip(times["1"], times[str(num_threads)], strict=True))
    print(f"\n{COMPILED}: {num_threads} threads are {gain:.2f} times as fast as one")
    return [{"model": COMPILED, "threads_compared": [1, num_threads], "gain": gain}]


def measure_memory(num_threads: int, texts: list[list[int]]) -> list[dict[str, Any]]:
    """The most memory that a process needs which loads the bundled model and encodes all texts."""
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    for name in (COMPILED, "bundled INT8, ONNX Runtime"):
        with context.Pool(1) as pool:
            before, after = pool.apply(_peak_of, (name, num_threads, texts))
        rows.append({"model": name, "imports_mb": before, "peak_mb": after})
        print(f"{name:27} peak {after:.0f} MB, of which {before:.0f} MB were there before the model")
    return rows


def _peak_of(name: str, num_threads: int, texts: list[list[int]]) -> tuple[float, float]:
    before = _peak_mb()
    if name == COMPILED:
        [engine] = engines.compiled(BUNDLED, num_threads)
    else:
        engine = engines.onnx(name, (BUNDLED / "model_int8.onnx").read_bytes(), num_threads)[0]
    engine.encode([np.array(text, np.int64) for text in texts])
    return before, _peak_mb()


def _peak_mb() -> float:
    """The most this process has used; getrusage would give that of its parent before it began."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
