"""The gate: a converted model must give its source's vectors, for a text whatever it shares a batch with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.checkpoints.judged_int8 import MIN_CORRELATION, MIN_MEAN_COSINE
from rank_rerank.devices import import_optional
from rank_rerank.errors import ExportError
from rank_rerank.export.onnx_export import OUTPUT_NAME, PURPOSE, token_vector_module
from rank_rerank.export.trial_session import OnnxSession

# beyond these a converted model is thrown away
FP32_MAX_DIFFERENCE = 1e-4
INT8_MEAN_COSINE = MIN_MEAN_COSINE
# For a few tokens, mostly function words, the layers amplify a small difference: of the bundled model's 335,786 tokens
# of 1,037 abstracts 13 lie below 0.995 and one at 0.951. One in ten thousand may fall below the first bound, none
# below the second.
INT8_MIN_COSINE = 0.995
INT8_SHARE_BELOW = 1e-4
INT8_FLOOR = 0.9
INT8_CORRELATION = MIN_CORRELATION


@dataclass(frozen=True)
class Fidelity:
    """How close vectors are to the source's.

    Attributes:
        num_texts: texts compared.
        num_tokens: token vectors compared, special tokens included.
        mean_cosine: over all tokens.
        min_cosine: the worst token.
        num_below: tokens whose cosine is below 0.995.
        max_difference: largest absolute difference of two numbers.
    """

    num_texts: int
    num_tokens: int
    mean_cosine: float
    min_cosine: float
    num_below: int
    max_difference: float


def measure_fidelity(
    encode: Callable[[Int64Vector], Float32Matrix],
    reference: Callable[[Int64Vector], Float32Matrix],
    texts: Sequence[Int64Vector],
) -> Fidelity:
    """Compare two encoders, token by token.

    Args:
        encode: token ids of a text → unit vectors [num_tokens, dim].
        reference: the same for the source.
        texts: token ids, special ones included.
    """
    cosines: list[Any] = []
    difference = 0.0
    for text in texts:
        found, expected = encode(text), reference(text)
        cosines.append(np.einsum("td,td->t", found.astype(np.float64), expected.astype(np.float64)))
        difference = max(difference, float(np.abs(found - expected).max()))
    flat = np.concatenate(cosines)
    num_below = int((flat < INT8_MIN_COSINE).sum())
    return Fidelity(len(texts), len(flat), float(flat.mean()), float(flat.min()), num_below, difference)


def compare_vectors(found: Float32Matrix, expected: Float32Matrix, num_texts: int) -> Fidelity:
    """Compare unit vectors that were computed already, token by token.

    Args:
        found: [num_tokens, dim].
        expected: of the same shape.
        num_texts: how many texts they are of.
    """
    cosines = np.einsum("td,td->t", found.astype(np.float64), expected.astype(np.float64))  # [num_tokens]
    num_below = int((cosines < INT8_MIN_COSINE).sum())
    difference = float(np.abs(found - expected).max())
    return Fidelity(num_texts, len(cosines), float(cosines.mean()), float(cosines.min()), num_below, difference)


def torch_reference(encoder: Any, projection: Any = None) -> Callable[[Int64Vector], Float32Matrix]:
    """The source itself, in evaluation mode and float32, one text at a time; see onnx_export.token_vector_module."""
    torch = import_optional("torch", "export", PURPOSE)
    module = token_vector_module(encoder, projection)

    def encode(text: Int64Vector) -> Float32Matrix:
        token_ids = torch.from_numpy(np.asarray(text, np.int64))[None]
        with torch.inference_mode():
            return module(token_ids, torch.ones_like(token_ids))[0].numpy()

    return encode


def check_fp32(fidelity: Fidelity) -> None:
    """Refuse an fp32 export that differs from its source.

    Raises:
        ExportError: by more than 1e-4 anywhere.
    """
    if not fidelity.max_difference <= FP32_MAX_DIFFERENCE:
        raise ExportError(
            f"the fp32 export differs from its source by {fidelity.max_difference:.2e}, allowed {FP32_MAX_DIFFERENCE}"
        )


def check_int8(fidelity: Fidelity) -> None:
    """Refuse an INT8 export that is too far from its source.

    Raises:
        ExportError: mean cosine below 0.999, more than one token in ten thousand below 0.995, or one below 0.9.
    """
    few = fidelity.num_below <= INT8_SHARE_BELOW * fidelity.num_tokens
    if not (fidelity.mean_cosine >= INT8_MEAN_COSINE and few and fidelity.min_cosine >= INT8_FLOOR):
        raise ExportError(
            f"the INT8 export is too far from its source: cosine mean {fidelity.mean_cosine:.5f} (needed "
            f"{INT8_MEAN_COSINE}), {fidelity.num_below} of {fidelity.num_tokens} tokens below {INT8_MIN_COSINE} "
            f"(allowed one in {1 / INT8_SHARE_BELOW:.0f}), minimum {fidelity.min_cosine:.4f} (needed {INT8_FLOOR})"
        )


def check_int8_logits(found: Float32Vector, expected: Float32Vector) -> float:
    """Refuse an INT8 cross-encoder whose logits do not follow its source's; give their correlation.

    The bound is loose: how far logits spread is a matter of the head, and what rounding costs is bounded by check_int8
    on what the head reads. It is there for a head that computes something else.

    Args:
        found: [num_pairs]: of the export.
        expected: [num_pairs]: of the source.

    Raises:
        ExportError: the correlation is below 0.9.
    """
    correlation = float(np.corrcoef(found.astype(np.float64), expected.astype(np.float64))[0, 1])
    if not correlation >= INT8_CORRELATION:
        raise ExportError(
            f"the INT8 export is too far from its source: the correlation of the logits is {correlation:.5f}, needed "
            f"{INT8_CORRELATION}"
        )
    return correlation


def check_invariance(
    model: bytes, texts: Sequence[Int64Vector], max_length: int = 512, output: str = OUTPUT_NAME
) -> None:
    """Refuse a model whose vectors change with batch mates, order, padding or threads.

    Args:
        model: serialized ONNX model.
        texts: token ids of several lengths; of pairs as for OnnxSession.run.
        max_length: the longest padding tried.
        output: the output that is compared.

    Raises:
        ExportError: one bit differs.
    """
    session, threaded = OnnxSession(model, output=output), OnnxSession(model, num_threads=2, output=output)
    alone = [session.encode([text])[0] for text in texts]
    trials = {"another thread count": [threaded.encode([text])[0] for text in texts]}
    for length in (max_length - 1, max_length):
        trials[f"padding to {length}"] = [session.encode([text], length)[0] for text in texts]
    trials["padding by one"] = [session.encode([text], min(text.shape[-1] + 1, max_length))[0] for text in texts]
    trials["batch mates"] = session.encode(texts)
    trials["another order"] = threaded.encode(texts[::-1])[::-1]
    for trial, vectors in trials.items():
        if not all(np.array_equal(*pair) for pair in zip(vectors, alone, strict=True)):
            raise ExportError(f"vectors of the converted model change with {trial}")
