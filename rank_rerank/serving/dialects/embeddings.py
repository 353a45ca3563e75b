"""Token embeddings over HTTP: ``/encode`` with offsets, and vLLM's ``/pooling`` with the task ``token_embed``."""

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from rank_rerank.encoding.quantization import quantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.serving.dialects.fields import Wanted

# what JSON takes for a number with its comma, and base64 for a byte
JSON_BYTES, BASE64_SHARE = 21.0, 4 / 3
ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}


class EncodeBody(Wanted):
    """Texts, and how their vectors are to be written."""

    texts: list[str] | str = Field(description="one text or many")
    kind: Literal["query", "document"] = Field(default="document", description="what the texts are to the model")
    encoding_format: Literal["json", "base64"] = Field(default="json", description="lists of numbers, or bytes")
    dtype: Literal["float32", "float16", "int8"] = Field(default="float32", description="of the numbers")

    @property
    def all_texts(self) -> list[str]:
        """The texts as a list."""
        return [self.texts] if isinstance(self.texts, str) else self.texts

    @property
    def bytes_per_number(self) -> float:
        """What a number takes in the answer."""
        return JSON_BYTES if self.encoding_format == "json" else ITEM_BYTES[self.dtype] * BASE64_SHARE


class PoolingBody(Wanted):
    """vLLM's: ``input`` is a text or a list of texts; it is encoded as documents are."""

    input: list[str] | str = Field(description="one text or many")
    task: Literal["token_embed", "encode"] = Field(default="token_embed", description="a vector for each token")
    encoding_format: Literal["float", "base64"] = Field(default="float", description="lists of numbers, or bytes")
    kind: Literal["query", "document"] = Field(default="document", description="what the texts are to the model")

    @property
    def all_texts(self) -> list[str]:
        """The texts as a list."""
        return [self.input] if isinstance(self.input, str) else self.input

    @property
    def bytes_per_number(self) -> float:
        """What a number takes in the answer."""
        return JSON_BYTES if self.encoding_format == "float" else ITEM_BYTES["float32"] * BASE64_SHARE


def encode_reply(body: EncodeBody, embeddings: TokenEmbeddings, model: str) -> dict[str, Any]:
    """Vectors of all texts one after the other, and where each text begins: as TokenEmbeddings holds them.

    Rows are made while they are written, by ``as_json_numbers``.

    Raises:
        InvalidArgumentError: int8 in JSON, which would be a list of numbers that need their scales beside them.
    """
    if body.dtype == "int8" and body.encoding_format == "json":
        raise InvalidArgumentError('dtype "int8" needs encoding_format "base64"')
    stored = quantize(np.asarray(embeddings.vectors, np.float32), body.dtype)
    as_bytes = body.encoding_format == "base64"
    reply: dict[str, Any] = {
        "object": "token_embeddings",
        "model": model,
        "dim": embeddings.dim,
        "dtype": body.dtype,
        "encoding_format": body.encoding_format,
        "offsets": embeddings.offsets.tolist(),
        "vectors": _base64(stored.vectors) if as_bytes else _rows(stored.vectors),
        "character_spans": None if embeddings.character_spans is None else embeddings.character_spans.tolist(),
        "truncated": None if embeddings.truncated is None else embeddings.truncated.tolist(),
        "usage": _usage([embeddings]),
    }
    if stored.scales is not None:
        reply["scales"] = _base64(stored.scales)
    return reply


def pooling_reply(body: PoolingBody, embeddings: TokenEmbeddings, model: str, request_id: str) -> dict[str, Any]:
    """A matrix for each text, in vLLM's form; base64 is of float32, row after row. Rows as of ``encode_reply``."""
    as_bytes = body.encoding_format == "base64"
    matrices = [np.asarray(matrix, np.float32) for matrix in embeddings]
    return {
        "id": request_id,
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [
            {
                "index": index,
                "object": "pooling",
                "data": _base64(matrix) if as_bytes else _rows(matrix),
            }
            for index, matrix in enumerate(matrices)
        ],
        "usage": {**_usage([embeddings]), "completion_tokens": 0, "prompt_tokens_details": None},
    }


def _rows(matrix: Any) -> Iterator[list[float]]:
    """Rows as they are written: all at once, as Python's numbers, they would take ten times the matrix."""
    for row in matrix:
        yield row.astype(np.float64).tolist()


def _base64(array: Any) -> str:
    """The bytes of an array, smallest byte first."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode("ascii")


def _usage(parts: Sequence[TokenEmbeddings]) -> dict[str, int]:
    total = sum(part.num_tokens for part in parts)
    return {"prompt_tokens": total, "total_tokens": total}
