"""Compare a model with the golden vectors that ship with it, to catch a processor that computes something else.

INT8 on a processor without the expected instructions has given plausible garbage elsewhere, without any error.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import file_inside, find_file, read_bounded
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import CheckpointFormatError, InvalidTextError, SelfCheckError
from rank_rerank.tokenization.texts import check_text

TEXTS_FILE = "self_check.json"
VECTORS_FILE = "self_check_vectors.npy"

# INT8 keeps a mean of 0.999 and a minimum of 0.995 here; a saturating product or a lost zero point falls far below
MIN_MEAN_COSINE = 0.995
MIN_COSINE = 0.97
MAX_VECTORS_BYTES = 16 << 20
MATRIX_AXES = 2


@dataclass(frozen=True)
class SelfCheck:
    """How close the model comes to its golden vectors, which were computed in float32.

    Attributes:
        num_tokens: token vectors compared.
        mean_cosine: over all of them.
        min_cosine: the worst of them.
    """

    num_tokens: int
    mean_cosine: float
    min_cosine: float


def self_check(encoder: TokenEncoder) -> SelfCheck | None:
    """Compare an encoder with the golden vectors in its checkpoint's folder.

    Returns:
        The figures; None where the checkpoint has no golden vectors.

    Raises:
        SelfCheckError: mean cosine below 0.995 or minimum below 0.97.
        CheckpointFormatError: the golden files are damaged.
    """
    folder = encoder.checkpoint.folder
    texts_file = find_file(folder, TEXTS_FILE)
    if texts_file is None:
        return None
    golden = _read_vectors(file_inside(folder, VECTORS_FILE))
    texts = _read_texts(texts_file)
    vectors = encoder.encode_documents(texts).vectors
    if vectors.shape != golden.shape:
        raise SelfCheckError(f"the model gives {vectors.shape} token vectors for its golden texts, not {golden.shape}")
    cosines = np.einsum("td,td->t", vectors, golden) / np.linalg.norm(golden, axis=1)  # [num_tokens]
    result = SelfCheck(len(cosines), float(cosines.mean()), float(cosines.min()))
    if not (result.mean_cosine >= MIN_MEAN_COSINE and result.min_cosine >= MIN_COSINE):  # so that NaN does not pass
        raise SelfCheckError(
            f"on this machine the model {encoder.checkpoint.name} differs from its golden vectors: cosine "
            f"mean {result.mean_cosine:.4f} (needed {MIN_MEAN_COSINE}), minimum {result.min_cosine:.4f} "
            f"(needed {MIN_COSINE}). Its rankings would be wrong here; run rank-rerank doctor for the details"
        )
    return result


def _read_vectors(path: Path) -> AnyArray:
    content = read_bounded(path, MAX_VECTORS_BYTES)
    try:
        # a view of the bytes that were read: a header that claims more than the file holds allocates nothing
        shape, start = _read_header(content)
        vectors = np.frombuffer(content, np.float16, offset=start).reshape(shape).astype(np.float32)
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError, OverflowError) as error:
        raise CheckpointFormatError(f"{path.name} cannot be read as golden vectors") from error
    if vectors.size == 0 or not (np.isfinite(vectors).all() and (np.linalg.norm(vectors, axis=-1) > 0).all()):
        raise CheckpointFormatError(f"{path.name} holds no golden vectors, or NaN, infinity or a vector of zeros")
    return vectors


def _read_texts(path: Path) -> tuple[str, ...]:
    texts = JsonSettings(path).get_words("texts")
    try:
        for index, text in enumerate(texts):
            check_text(text, f"{path.name}: texts[{index}]")
    except InvalidTextError as error:
        raise CheckpointFormatError(str(error)) from None
    return texts


def _read_header(content: bytes) -> tuple[tuple[int, ...], int]:
    """The shape that a .npy file of version 1.0 claims, and where its numbers begin."""
    file = BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("unknown version")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or len(shape) != MATRIX_AXES or min(shape) < 0 or dtype != np.float16:
        raise ValueError("golden vectors are a matrix of float16 in C order")
    return shape, file.tell()
