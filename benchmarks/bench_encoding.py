"""Texts a second: the bundled INT8 model, what ONNX Runtime's own quantiser makes of the same weights, and fp32.

usage: python benchmarks/bench_encoding.py [--wheel FILE] [--data FOLDER] [--texts N] [--rounds N] [--threads N]

All models are made from the same source at run time; the texts are SciFact's abstracts in their natural length. Before
anything is timed, each model's token vectors are compared with the float32 PyTorch model (cosine), and it is tried
whether a text's vectors are the same bits alone and among others. Models take turns in every round; a ratio is the
median of the rounds' ratios to quantize_dynamic. Needs the extra "export".
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from workloads import DEFAULT_DATA, ROOT, describe_machine, interleaved_times, read_collection, write_result

sys.path.insert(0, str(ROOT / "examples"))
import build_bundled_model as source

from rank_rerank.export.int8_export import serialise
from rank_rerank.export.onnx_export import export_onnx
from rank_rerank.export.onnx_session import OnnxSession
from rank_rerank.export.parity import Fidelity, measure_fidelity, torch_reference

BUNDLED = ROOT / "rank_rerank" / "bundled"
BASELINE = "quantize_dynamic"
PARITY_TEXTS = 60
MIN_MEAN_COSINE = 0.999
BATCH_TOKENS = 4096


def main() -> None:
    """Make the models, check them, time them, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="the source wheel; downloaded with pip if not given")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--texts", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        models, reference, texts = prepare(Path(folder), options)
    rows = measure_parity(models, reference, texts)
    for name, row in rows.items():
        print(
            f"{name:28} cosine {row['mean_cosine']:.5f}, minimum {row['min_cosine']:.4f}, invariant: {row['invariant']}"
        )
    if rows["bundled INT8"]["mean_cosine"] < MIN_MEAN_COSINE or not rows["bundled INT8"]["invariant"]:
        sys.exit("the bundled model is not what it should be: nothing is timed")
    results = []
    for way, encode in ways(options.threads).items():
        results += measure_speed(way, models, texts, encode, options.rounds, rows)
    path = write_result("bench_encoding", [{**machine, **row} for row in results])
    print(path)


def prepare(folder: Path, options: Any) -> tuple[dict[str, bytes], Any, list[Any]]:
    """The models as bytes, the source to compare with, the texts as token ids."""
    files = source.unpack(options.wheel or source.download(folder), folder)
    encoder = source.open_encoder(files)
    fp32 = serialise(export_onnx(encoder, source.MAX_LENGTH))
    models = {
        BASELINE: quantize_dynamic(fp32, folder, fused=False),
        "fused + quantize_dynamic": quantize_dynamic(fp32, folder, fused=True),
        "fp32": fp32,
        "bundled INT8": (BUNDLED / "model_int8.onnx").read_bytes(),
    }
    documents = list(read_collection(options.data, "scifact").documents.values())
    step = max(1, len(documents) // options.texts)
    texts = source.tokenize(source.open_tokenizer(files / "tokenizer.json"), documents[::step][: options.texts])
    return models, torch_reference(encoder), texts


def quantize_dynamic(fp32: bytes, folder: Path, *, fused: bool) -> bytes:
    """What peers ship: ONNX Runtime's dynamic quantiser, one weight scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from onnxruntime.transformers.optimizer import optimize_model

    before, prepared, after = (str(folder / f"{fused}_{name}.onnx") for name in ("before", "prepared", "after"))
    Path(before).write_bytes(fp32)
    if fused:
        optimize_model(before, "bert", num_heads=12, hidden_size=384, opt_level=0).save_model_to_file(prepared)
    else:
        quant_pre_process(before, prepared, skip_symbolic_shape=True)  # which fails on free axes
    # its quantiser takes the ONNX operator Attention for its own of the same name and makes an invalid model
    quantize_dynamic(
        prepared,
        after,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather"],
        extra_options={"DefaultTensorType": 1},  # float32, where shape inference gives up
    )
    return Path(after).read_bytes()


def measure_parity(models: dict[str, bytes], reference: Any, texts: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Cosine to the source, and whether a text's vectors depend on its batch mates."""
    step = max(1, len(texts) // PARITY_TEXTS)
    cache = {text.tobytes(): reference(text) for text in texts[::step]}
    rows = {}
    for name, model in models.items():
        session = OnnxSession(model)
        fidelity = measure_fidelity(
            lambda text, session=session: session.encode([text])[0], lambda text: cache[text.tobytes()], texts[::step]
        )
        rows[name] = {**parity_columns(fidelity), "invariant": is_invariant(session, texts[:8])}
    return rows


def parity_columns(fidelity: Fidelity) -> dict[str, Any]:
    """The part of a fidelity that stands in a row."""
    return {
        "mean_cosine": fidelity.mean_cosine,
        "min_cosine": fidelity.min_cosine,
        "parity_tokens": fidelity.num_tokens,
    }


def is_invariant(session: OnnxSession, texts: Sequence[Any]) -> bool:
    """Whether the vectors of texts are the same bits alone and in one batch."""
    alone = [session.encode([text])[0] for text in texts]
    return all(np.array_equal(*pair) for pair in zip(alone, session.encode(texts), strict=True))


def ways(num_threads: int) -> dict[str, Callable[[bytes], Callable[[Sequence[Any]], None]]]:
    """The ways to feed texts to a model."""

    def one_text_a_call(model: bytes) -> Callable[[Sequence[Any]], None]:
        session, pool = OnnxSession(model), ThreadPoolExecutor(num_threads)
        return lambda texts: list(pool.map(lambda text: session.encode([text]), texts)) and None

    def batches(model: bytes) -> Callable[[Sequence[Any]], None]:
        session = OnnxSession(model, num_threads)
        return lambda texts: [session.encode(batch) for batch in length_sorted_batches(texts)] and None

    def batches_a_thread(model: bytes) -> Callable[[Sequence[Any]], None]:
        session, pool = OnnxSession(model), ThreadPoolExecutor(num_threads)
        return lambda texts: list(pool.map(session.encode, length_sorted_batches(texts))) and None

    return {
        f"one text a call, {num_threads} calls at once": one_text_a_call,
        f"batches of {BATCH_TOKENS} tokens, {num_threads} threads a call": batches,
        f"batches of {BATCH_TOKENS} tokens, {num_threads} calls at once": batches_a_thread,
    }


def length_sorted_batches(texts: Sequence[Any]) -> list[list[Any]]:
    """Texts of like length together, as many as fit into the token budget with padding."""
    batches: list[list[Any]] = [[]]
    for text in sorted(texts, key=len):
        if (len(batches[-1]) + 1) * len(text) > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(text)
    return batches


def measure_speed(
    way: str,
    models: dict[str, bytes],
    texts: Sequence[Any],
    open_model: Callable[[bytes], Callable[[Sequence[Any]], None]],
    rounds: int,
    parity: dict[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Time all models in turn, in one way; print and give a row each."""
    encoders = {name: open_model(model) for name, model in models.items()}
    for encode in encoders.values():
        encode(texts[:8])
    calls = {name: lambda encode=encode: encode(texts) for name, encode in encoders.items()}
    times = interleaved_times(calls, rounds)
    rows = []
    print(f"\n{way}; {len(texts)} texts of {np.mean([len(text) for text in texts]):.0f} tokens")
    for name, seconds in times.items():
        rates = sorted(len(texts) / second for second in seconds)
        ratio = statistics.median(base / own for base, own in zip(times[BASELINE], seconds, strict=True))
        print(
            f"{name:28} {statistics.median(rates):7.1f} texts/s ({rates[0]:.1f} to {rates[-1]:.1f}), ratio {ratio:.2f}"
        )
        rows.append(
            {
                "model": name,
                "way": way,
                "texts_per_s": statistics.median(rates),
                "slowest": rates[0],
                "fastest": rates[-1],
                "ratio_to_quantize_dynamic": ratio,
                **parity[name],
            }
        )
    return rows


if __name__ == "__main__":
    main()
