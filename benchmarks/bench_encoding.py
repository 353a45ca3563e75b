"""Texts a second: the compiled runtime, the bundled INT8 graph, what ONNX Runtime's own quantizer makes, fp32, peers.

usage: python benchmarks/bench_encoding.py [--data FOLDER] [--texts N] [--rounds N] [--threads N]
       [--only NAME …] [--paths PATH …] [--ratios] [--model bundled|modernbert-random] [--prepared FOLDER]
       [--collections NAME …] [--ways N] [--single-calls N]

All engines compute one model, the bundled one, whose weights are unpacked to float32 for those that do not read its
file, on texts of natural length: SciFact's abstracts and SQuAD's paragraphs. Before anything is timed, each engine's
token vectors are compared with the float32 PyTorch model (cosine), and it is tried whether a text's vectors are the
same bits alone and among others. Engines take turns in every round; a ratio is the median of the rounds' ratios to
quantize_dynamic in its best way. Then: one text at a time (32 and 180 tokens), one thread against all, and the memory
of a process of its own. Needs the extra "export"; sentence-transformers, PyLate, limbed and bge-m3-lite, by whose
scheme the model is quantized, take part where they are installed.

``--paths avx2`` has the compiled kernels for AVX2 take part beside those of the best path. The last table has the
ratios of each compiled path to quantize_dynamic in its best way, one text per call and in batches, and what was asked
for; ``--ratios`` measures what that table needs and nothing else.
With ``--model modernbert-random`` the same is done for a ModernBERT of the base size with seeded random weights;
``--prepared`` keeps its files for the next run.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import encoding_engines as engines
import encoding_graphs
import modernbert_source as modernbert
import numpy as np
from encoding_engines import Engine
from encoding_graphs import quantize_dynamic
from encoding_latency import BUNDLED, measure_memory, measure_scaling, measure_single_texts
from encoding_ratios import BASELINE, COMPILED, print_ratios
from workloads import (
    DEFAULT_DATA,
    ROOT,
    describe_machine,
    interleaved_times,
    read_collection,
    write_result,
)

sys.path.insert(0, str(ROOT / "examples" / "bundled_model"))
import build as source
from unpack import unpack_model

from rank_rerank.export.int8_export import serialize
from rank_rerank.export.onnx_export import export_onnx
from rank_rerank.export.parity import measure_fidelity, torch_reference

ROW_WISE = "row-wise INT8 of bge-m3-lite"
# the module that a peer is imported as → its name on PyPI and the version that the tables were made with
PEERS = {
    "sentence_transformers": ("sentence-transformers", "6.2.0"),
    "pylate": ("pylate", "1.6.0"),
    "limbed": ("limbed-py", "0.1.7"),
    "bge_m3_lite": ("bge-m3-lite", "0.6.2"),
}
COLLECTIONS = ("scifact", "squad")
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
    parser.add_argument("--paths", nargs="*", default=[], help="vector paths beside the best one, as avx2")
    parser.add_argument("--ratios", action="store_true", help="nothing but the ratios to quantize_dynamic")
    parser.add_argument("--ways", type=int, default=4, help="how many ways to feed each ONNX graph")
    parser.add_argument("--single-calls", type=int, default=SINGLE_CALLS)
    options = parser.parse_args()
    if options.model == "modernbert-random":
        measure_modernbert(options)
        return
    if options.ratios:
        options.only = [COMPILED]
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    rows: list[dict[str, Any]] = []
    text_of: dict[bytes, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "float32"
        unpack_model(files)
        encoder, projection = source.open_encoder(files), source.open_projection(files)
        contestants = open_engines(files, encoder, projection, options, text_of)
        tokenizer = source.open_tokenizer(files / "tokenizer.json")
        for name in options.collections:
            texts = sample(options.data, name, options.texts, tokenizer, text_of)
            parity = measure_parity(contestants, torch_reference(encoder, projection), texts)
            rows += measure_speed(name, contestants, texts, options.rounds, parity)
        if not options.ratios:
            rows += measure_single_texts(contestants, options.single_calls, parity)
            rows += measure_scaling(options.threads, options.rounds, texts)
    if Path("/proc/self/status").exists() and not options.ratios:
        rows += measure_memory(options.threads, [text.tolist() for text in texts], parity)
    print_ratios(rows, machine["vector_path"])
    print(write_result("bench_encoding", [{**machine, **row} for row in rows]))


def open_engines(folder: Path, encoder: Any, projection: Any, options: Any, text_of: dict[bytes, str]) -> list[Engine]:
    """Everything that takes part, all with the same weights: the bundled model's, unpacked to float32."""
    fp32 = serialize(export_onnx(encoder, source.MAX_LENGTH, projection))
    threads, kept = options.threads, folder.parent
    graphs = {
        BASELINE: lambda: quantize_dynamic(fp32, folder, fused=False),
        "fused + quantize_dynamic": lambda: quantize_dynamic(fp32, folder, fused=True),
        "fused attention + quantize_dynamic": lambda: encoding_graphs.fused_and_quantized(folder, kept),
        ROW_WISE: lambda: encoding_graphs.row_wise(folder, kept),
        "fp32": lambda: fp32,
        "bundled INT8, ONNX Runtime": (BUNDLED / "model_int8.onnx").read_bytes,
    }
    if find_spec("bge_m3_lite") is None:
        del graphs[ROW_WISE]
    makers = {name: lambda name=name: engines.onnx(name, graphs[name](), threads)[: options.ways] for name in graphs}
    makers[COMPILED] = lambda: [
        engine for path in (None, *options.paths) for engine in engines.compiled(BUNDLED, threads, path)
    ]
    makers["limbed fp32"] = lambda: engines.limbed(
        "limbed fp32", encoding_graphs.classic_graph(folder, kept), folder / "tokenizer.json", threads, text_of
    )
    makers["torch bf16"] = lambda: engines.torch_bf16(encoder, projection, threads)
    makers["sentence-transformers fp32"] = lambda: engines.sentence_transformers(folder, threads, projection)
    makers["PyLate fp32"] = lambda: engines.pylate(folder, threads, has_projection=True)
    say_what_is_missing()
    chosen = [name for name in makers if not options.only or name in {BASELINE, *options.only}]
    return [engine for name in chosen for engine in makers[name]()]


def say_what_is_missing() -> None:
    """Name the peers that have no rows."""
    if missing := [f"{name}=={known}" for module, (name, known) in PEERS.items() if find_spec(module) is None]:
        print(f"no rows for what is not installed: {', '.join(missing)}")


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
        rows += measure_single_texts(contestants, options.single_calls, parity)
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


def sample(data: Path, name: str, count: int, tokenizer: Any, text_of: dict[bytes, str] | None = None) -> list[Any]:
    """Token ids of documents from all over a collection; text_of learns which text each is of."""
    documents = list(read_collection(data, name).documents.values())
    chosen = documents[:: max(1, len(documents) // count)][:count]
    found = source.tokenize(tokenizer, chosen)
    if text_of is not None:
        text_of.update((ids.tobytes(), text) for ids, text in zip(found, chosen, strict=True))
    return found


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
    for name, row in rows.items():
        if name.startswith(COMPILED) and (row["mean_cosine"] < least or not row["invariant"]):
            sys.exit(f"{name} is not what it should be: {row}; nothing is timed")
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
    paths = {engine.name: engine.path for engine in contestants}
    print(f"\n{collection}: {len(texts)} texts of {np.mean([len(text) for text in texts]):.0f} tokens")
    rows: list[dict[str, Any]] = []
    for key, seconds in times.items():
        name, _, way = key.partition("|")
        rates = sorted(len(texts) / second for second in seconds)
        ratio = statistics.median(base / own for base, own in zip(baseline, seconds, strict=True))
        row = {
            "collection": collection, "model": name, "path": paths[name], "way": way,
            "texts_per_s": statistics.median(rates), "slowest": rates[0], "fastest": rates[-1],
            "ratio_to_quantize_dynamic": ratio, "ratios_to_ways": ratios_to_ways(times, seconds), **parity[name],
        }  # fmt: skip
        rows.append(row)
        print(
            f"{name:27} {way:42} {row['texts_per_s']:6.1f} texts/s ({rates[0]:.1f} to {rates[-1]:.1f}), ratio "
            f"{ratio:.2f}, cosine {row['mean_cosine']:.5f}, minimum {row['min_cosine']:.4f}, "
            f"invariant: {row['invariant']}"
        )
    return rows


def ratios_to_ways(times: dict[str, list[float]], own: list[float]) -> dict[str, float]:
    """Each way of quantize_dynamic → how many times as fast, the median of the rounds' ratios."""
    return {
        key.partition("|")[2]: statistics.median(base / mine for base, mine in zip(taken, own, strict=True))
        for key, taken in times.items()
        if key.startswith(f"{BASELINE}|")
    }


if __name__ == "__main__":
    main()
