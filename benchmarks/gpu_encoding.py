"""Part of bench_gpu.py: encoding in float32, float16 and bfloat16, against sentence-transformers with the same weights.

The bundled model's weights as floats, and a ModernBERT of the base size with seeded random weights. Texts are as long
as SciFact's abstracts. Rates contain tokenisation; "transformer_ms" does not.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dequantized_model import check_parity, write_dequantized_model
from gpu_parts import Part, cosines, make_texts

from rank_rerank import TokenEncoder

MIN_MEAN_COSINE = 0.999
BATCH_SIZES = (32, 256)


def main() -> None:
    """Both models; the larger one first, whose rows are few."""
    part = Part.from_arguments(__doc__)
    texts = make_texts(6 if part.is_short else 1000, is_short=part.is_short)
    with tempfile.TemporaryDirectory() as temporary:
        if not part.is_short and not part.is_brief:
            part.attempt("a base model", partial(measure_base, part, Path(temporary) / "modernbert", texts[:200]))
        bundled = write_dequantized_model(Path(temporary) / "bundled")
        measure_model(part, "bundled", bundled, texts)
        if not part.is_brief:
            part.attempt("float weights against the INT8 file", lambda: vars(check_parity(bundled)))


def measure_base(part: Part, folder: Path, texts: list[str]) -> None:
    """ModernBERT of the base size; its weights are random, so cosines only say how precisions compare."""
    import modernbert_source  # which needs more packages than the rest

    measure_model(part, "modernbert-base, random weights", modernbert_source.make_folder(folder), texts)


def measure_model(part: Part, name: str, folder: Path, texts: list[str]) -> None:
    """Every precision, then the others."""
    reference: dict[str, Any] = {}

    def ours(precision: str) -> dict[str, Any]:
        encoder = TokenEncoder.from_pretrained(folder, device=part.device, precision=precision, runtime="torch")
        found = encoder.encode_documents(texts)
        reference.setdefault("vectors", found.vectors)
        row = cosines(found.vectors, reference["vectors"])
        if name == "bundled":
            row["is_right"] = row["mean_cosine"] >= MIN_MEAN_COSINE
        if part.is_brief and precision == "fp32":
            return row  # what the others are compared with
        row["is_finite"] = bool(np.isfinite(found.vectors).all())
        again = encoder.encode_documents(texts).vectors
        row["same_bits_twice"] = again.tobytes() == found.vectors.tobytes()
        batch = encoder.tokenizer.tokenize_documents(texts)
        row |= rates(part, lambda: encoder.encode_documents(texts), len(texts), 0.3 if part.is_brief else 1.0)
        row["transformer_ms"] = part.wall_ms(lambda: encoder.transformer.encode(batch), 0.3, least=3)["wall_ms"]
        row["one_text_ms"] = part.wall_ms(lambda: encoder.encode_documents(texts[:1]), 0.3)["wall_ms"]
        row["hundred_texts_ms"] = part.wall_ms(lambda: encoder.encode_documents(texts[:100]), 0.3)["wall_ms"]
        row["mean_tokens"] = batch.num_tokens / len(texts)
        if part.device == "cuda":
            row |= part.device_ms(lambda: encoder.encode_documents(texts), 1)
        return row

    for precision in ("fp32", "fp16", "bf16"):
        part.attempt(f"encode {name}: rank_rerank {precision}", partial(ours, precision))
    for precision in ("fp16",) if part.is_brief else ("fp32", "fp16"):
        theirs = partial(sentence_transformers, part, folder, texts, precision)
        part.attempt(f"encode {name}: sentence-transformers {precision}", theirs)
    if name == "bundled" and not part.is_brief:
        part.attempt(f"encode {name}: MultiVectorEncoder fp16", partial(multi_vector, part, folder, texts, reference))
        part.attempt(f"encode {name}: one text alone and among others", partial(alone, part, folder, texts))
        part.attempt(f"encode {name}: the GPU against the CPU in fp32", partial(against_cpu, folder, texts, reference))
        part.attempt(f"encode {name}: compiled INT8 on the CPU", partial(compiled, part, texts))


def rates(part: Part, call: Callable[[], Any], count: int, seconds: float = 1.0) -> dict[str, float]:
    """Texts per second and milliseconds per text."""
    times = part.wall_ms(call, seconds, least=3)
    return {**times, "texts_per_s": 1e3 * count / times["wall_ms"], "ms_a_text": times["wall_ms"] / count}


def sentence_transformers(part: Part, folder: Path, texts: list[str], precision: str) -> dict[str, Any]:
    """The encoder alone, its token embeddings kept on the device as it likes best; the faster of two batch sizes."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Transformer

    model = SentenceTransformer(modules=[Transformer(str(folder), max_seq_length=512)], device=part.device)
    model = model.half() if precision == "fp16" and part.device == "cuda" else model
    rows: dict[str, Any] = {"torch": torch.__version__}
    for size in BATCH_SIZES[:1] if part.is_short else BATCH_SIZES[-1:] if part.is_brief else BATCH_SIZES:
        encode = partial(
            model.encode, texts, output_value="token_embeddings", batch_size=size, show_progress_bar=False,
            convert_to_numpy=False,
        )  # fmt: skip
        rows[f"batches of {size}"] = rates(part, encode, len(texts), 1.0)
    return rows


def multi_vector(part: Part, folder: Path, texts: list[str], reference: dict[str, Any]) -> dict[str, Any]:
    """The whole late-interaction model in sentence-transformers: projection and unit length as well."""
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device=part.device)
    model = model.half() if part.device == "cuda" else model
    encode = partial(model.encode_document, texts, batch_size=BATCH_SIZES[-1], show_progress_bar=False)
    found = np.concatenate([np.asarray(each.float().cpu()) for each in encode()])
    row: dict[str, Any] = {"tokens": len(found)}
    if found.shape == reference["vectors"].shape:
        row |= cosines(found, reference["vectors"])
    return {**row, **rates(part, encode, len(texts), 1.0)}


def alone(part: Part, folder: Path, texts: list[str]) -> dict[str, Any]:
    """How far a text's vectors depend on its batch, in float16."""
    encoder = TokenEncoder.from_pretrained(folder, device=part.device, precision="auto", runtime="torch")
    together = encoder.encode_documents(texts[:64])
    single = np.concatenate([encoder.encode_documents([text]).vectors for text in texts[:64]])
    return {"largest_difference": float(np.abs(together.vectors - single).max()), **cosines(together.vectors, single)}


def against_cpu(folder: Path, texts: list[str], reference: dict[str, Any]) -> dict[str, Any]:
    """float32 on both."""
    found = TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32", runtime="torch")
    vectors = found.encode_documents(texts[:20]).vectors
    there = reference["vectors"][: len(vectors)]
    return {"largest_difference": float(np.abs(vectors - there).max()), **cosines(vectors, there)}


def compiled(part: Part, texts: list[str]) -> dict[str, Any]:
    """The library's default on the processors of this machine."""
    encoder = TokenEncoder.from_pretrained(device="cpu")
    return rates(part, lambda: encoder.encode_documents(texts[:200]), min(200, len(texts)), 1.0)


if __name__ == "__main__":
    main()
