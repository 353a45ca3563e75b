"""What callers may pass to a store, checked once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, as_float32
from rank_rerank.documents import list_items, plain_value
from rank_rerank.encoding.projection import as_matrix
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import DuplicateIdError, InvalidArgumentError, InvalidItemError, ShapeError
from rank_rerank.storage.snapshot import show_id
from rank_rerank.tokenization.texts import check_text

MAX_ID_BYTES = 1024
# ids of texts that a store keeps as a cache; callers' ids cannot begin so
TEXT_ID_PREFIX = "text-sha256:"


@dataclass(frozen=True, eq=False)
class NewDocuments:
    """Documents to store, checked.

    Attributes:
        ids: [num_documents], distinct.
        embeddings: their vectors, float32, as the model gives them.
        texts: [num_documents]; None where they are not known.
        metadata: [num_documents] JSON; empty for none.
    """

    ids: list[str]
    embeddings: TokenEmbeddings
    texts: list[str | None]
    metadata: list[bytes]

    def select(self, indices: Int64Vector) -> "NewDocuments":
        """Some of them."""
        chosen = indices.tolist()
        return NewDocuments(
            [self.ids[index] for index in chosen],
            self.embeddings.select(indices),
            [self.texts[index] for index in chosen],
            [self.metadata[index] for index in chosen],
        )


def check_ids(ids: Iterable[object]) -> list[str]:
    """Read ids: strings of 1 to 1024 bytes in UTF-8, each once.

    Raises:
        InvalidItemError: it is a bare string, or an id is no str; the message has its index.
        InvalidTextError: an id holds lone surrogates; the message has its index.
        InvalidArgumentError: an id is empty, too long, or begins with a reserved prefix.
        DuplicateIdError: an id stands twice.
    """
    listed = list_ids(ids)
    for index, identifier in enumerate(listed):
        check_id(identifier, f"ids[{index}]")
    if len(set(listed)) != len(listed):
        index_of: dict[str, int] = {}
        for index, identifier in enumerate(listed):
            if (first := index_of.setdefault(identifier, index)) != index:
                raise DuplicateIdError(
                    f"ids[{first}] and ids[{index}] are both {show_id(identifier)}. Pass each id once"
                )
    return listed


def check_id(identifier: object, name: str) -> str:
    """Give an id back if a document can be stored under it.

    Raises:
        InvalidItemError: it is no str.
        InvalidTextError: it holds lone surrogates.
        InvalidArgumentError: it is empty, too long, or begins with the reserved prefix.
    """
    if isinstance(identifier, int):
        raise InvalidItemError(
            f"{name} must be a str, this is a number, which a store does not tell from its digits. Pass str(id)"
        )
    identifier = check_text(identifier, name)
    if not 1 <= len(identifier.encode()) <= MAX_ID_BYTES:
        raise InvalidArgumentError(f"{name} must have from 1 to {MAX_ID_BYTES} bytes in UTF-8")
    if identifier.startswith(TEXT_ID_PREFIX):
        raise InvalidArgumentError(f'{name} begins with "{TEXT_ID_PREFIX}", which the store keeps for itself')
    return identifier


def is_unicode(text: str) -> bool:
    """Whether a string holds no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def list_ids(ids: Iterable[object]) -> list[str]:
    """Read ids to look up, repeated or not.

    Raises:
        InvalidItemError: it is a bare string, or an id is no str; the message has its index.
        InvalidTextError: an id holds lone surrogates; the message has its index.
    """
    listed = list_strings(ids)
    if all(map(str.isascii, listed)):  # what ids mostly are, told in a fiftieth of the time
        return listed
    for index, identifier in enumerate(listed):
        check_text(identifier, f"ids[{index}]")
    return listed


def list_strings(ids: Any) -> list[str]:
    """Read ids that need not be valid.

    Raises:
        InvalidItemError: it is a bare string or no list, or an item is no str; the message has its index.
    """
    listed = list_items(ids, "ids", "ids")
    for index, identifier in enumerate(listed):
        if not isinstance(identifier, str):
            raise InvalidItemError(f"ids[{index}] must be a str, this is of type {type(identifier).__name__}")
    return cast("list[str]", listed)


Checked = TypeVar("Checked")


def check_type(value: Any, kind: type[Checked], name: str) -> Checked:
    """Give a value back that is of a type.

    Raises:
        InvalidArgumentError: it is of another.
    """
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def check_encoder(encoder: Any) -> TokenEncoder:
    """Give an encoder back.

    Raises:
        InvalidArgumentError: it is another thing, as the reranker that has one.
    """
    if not isinstance(encoder, TokenEncoder):
        raise InvalidArgumentError(
            f"a store needs a TokenEncoder, not {type(encoder).__name__}. Of a reranker pass reranker.encoder"
        )
    return encoder


def check_embeddings(embeddings: TokenEmbeddings | Sequence[AnyArray], count: int, dim: int) -> TokenEmbeddings:
    """Read vectors that come as arrays: one [num_tokens, dim] per document, or packed.

    Raises:
        ShapeError: there are not as many as ids, or axes or dims differ from the store's.
        InvalidItemError: they hold no real numbers, or this is no list.
    """
    if not isinstance(embeddings, TokenEmbeddings):
        if isinstance(embeddings, str | bytes | Mapping) or not hasattr(embeddings, "__iter__"):
            raise InvalidItemError("embeddings must be TokenEmbeddings or a list of arrays [num_tokens, dim]")
        matrices = [as_float32(each, f"embeddings[{index}]") for index, each in enumerate(embeddings)]
        embeddings = TokenEmbeddings.from_list(matrices)
    if embeddings.num_texts != count:
        raise ShapeError(f"there are {count} ids, but embeddings of {embeddings.num_texts} documents")
    if embeddings.dim != dim and embeddings.num_tokens:
        raise ShapeError(f"the store's model gives vectors of dim {dim}, these have dim {embeddings.dim}")
    vectors = as_matrix(embeddings.vectors)
    if vectors.shape[1] != dim:
        vectors = np.empty((0, dim), np.float32)
    return TokenEmbeddings(vectors, embeddings.offsets, embeddings.truncated)


def check_texts(texts: Iterable[object], count: int) -> list[str]:
    """Read texts to encode.

    Raises:
        InvalidItemError: it is a bare string, or an item is no str; the message has its index.
        InvalidTextError: a text holds lone surrogates; the message has its index.
        ShapeError: there are not as many as ids.
    """
    listed = [check_text(text, f"texts[{index}]") for index, text in enumerate(list_items(texts, "texts", "texts"))]
    if len(listed) != count:
        raise ShapeError(f"there are {count} ids, but {len(listed)} texts")
    return listed


def check_metadata(
    metadata: Sequence[Mapping[str, Any] | None] | None, count: int, name: str | None = None
) -> list[bytes]:
    """Turn metadata into JSON; ``name`` is what to call a single item in an error.

    Raises:
        ShapeError: there is not as much as there are ids.
        InvalidItemError: an item is no mapping, or holds what JSON cannot carry; the message has its index.
    """
    if metadata is None:
        return [b""] * count
    metadata = list_items(metadata, "metadata", "mappings")
    if len(metadata) != count:
        raise ShapeError(f"metadata must be a list of {count} mappings, as many as ids")
    names = [f"metadata[{index}]" if name is None else f"the metadata of {name}" for index in range(count)]
    return [_as_json(item, item_name) for item, item_name in zip(metadata, names, strict=True)]


def _as_json(item: Mapping[str, Any] | None, name: str) -> bytes:
    if item is None:
        return b""
    if not isinstance(item, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError(f"{name} must be a mapping or None, this is {type(item).__name__}")
    return json.dumps(plain_value(item, name), allow_nan=False).encode() if item else b""
