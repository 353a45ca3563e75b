"""Late chunking: encode a text in windows as long as the model reads, then cut out the vectors of each chunk.

Günther et al., "Late chunking: contextual chunk embeddings using long-context embedding models" (2024). A chunk's
vectors then know what stands around it: whom a "she" is, or which place "the city" names. Whether chunks rank better
for it depends on the model and the texts; `benchmarks/bench_late_chunking.py` compares.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import BoolVector, Float32Matrix, Int32Matrix, check_whole_number, is_iterable
from rank_rerank.encoding.chunking import CHARACTERS_A_TOKEN, Chunking, split_text
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.tokenization.texts import check_text

Span = tuple[int, int]


def chunk_spans(encoder: TokenEncoder, text: str, chunking: Chunking) -> list[Span]:
    """Where a text is cut: half-open spans of code points, as a reranker cuts it that reads long documents in chunks.

    Raises:
        InvalidArgumentError: chunks are to be longer than the model reads, or an argument is of another type.
        InvalidItemError, InvalidTextError: the text is no valid str.
    """
    check_kind(encoder, "encoder", TokenEncoder)
    check_kind(chunking, "chunking", Chunking)
    longest = encoder.checkpoint.settings.document_length
    length = longest if chunking.length is None else chunking.length
    if length > longest:
        raise InvalidArgumentError(f"the model reads {longest} tokens of a text; a chunk cannot have {length}")
    return split_text(encoder.tokenizer, check_text(text, "the text"), length, chunking.overlap)


def encode_in_context(encoder: TokenEncoder, text: str, spans: Sequence[Span]) -> TokenEmbeddings:
    """Encode chunks of a text, each within its neighbors.

    Consecutive chunks are read together, as many as the model reads at once, which takes about as long as to encode
    each by itself. Chunks at the ends of a window know their neighbors on one side only.

    Args:
        encoder: of a model that says which characters a vector stands for; a pooled one does not.
        text: the whole document.
        spans: [num_chunks] half-open spans of code points, as of `chunk_spans`; they begin in ascending order.

    Returns:
        The embeddings of the chunks, in their order, with the markers of their window, which a chunk that is encoded by
        itself has too. ``character_spans`` count from the chunk's begin. A chunk that is longer than the model reads is
        truncated.

    Raises:
        InvalidItemError, InvalidTextError: the text is no valid str, or the spans are no pairs of whole numbers.
        InvalidArgumentError: a span leaves the text, is empty or begins before the one above it; the model pools; or
            encoder is no TokenEncoder.
    """
    check_kind(encoder, "encoder", TokenEncoder)
    check_text(text, "the text")
    checked = _check_spans(spans, len(text))
    pieces = [piece for window in _windows(encoder, text, checked) for piece in _encode_window(encoder, text, window)]
    truncated = np.array([cut for _, _, cut in pieces], np.bool_)
    vectors: list[Float32Matrix] = [each for each, _, _ in pieces] or [np.empty((0, encoder.dim), np.float32)]
    characters: list[Int32Matrix] = [each for _, each, _ in pieces] or [np.empty((0, 2), np.int32)]
    offsets = offsets_of_lengths([len(each) for each, _, _ in pieces])
    return TokenEmbeddings(np.concatenate(vectors), offsets, truncated, np.concatenate(characters))


def _windows(encoder: TokenEncoder, text: str, spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Runs of chunks that the model reads at once, each as long as it can be; a chunk too long is alone."""
    first = 0
    while first < len(spans):
        begin = spans[first][0]
        end = begin + _readable(encoder, text[begin : max(each for _, each in spans[first:])])
        last = first + 1
        while last < len(spans) and spans[last][1] <= end:
            last += 1
        yield list(spans[first:last])
        first = last


def _readable(encoder: TokenEncoder, text: str) -> int:
    """How many code points of the beginning of a text the model reads at once; all of it, where it reads all tokens."""
    width = CHARACTERS_A_TOKEN * encoder.checkpoint.settings.document_length
    while True:
        tokens = encoder.tokenizer.read_document(text[:width])
        if tokens.truncated:
            return int(tokens.character_spans[:, 1].max(initial=0))
        if width >= len(text):
            return len(text)
        width *= 2  # few tokens to the character: look further


def _encode_window(
    encoder: TokenEncoder, text: str, window: Sequence[Span]
) -> Iterator[tuple[Float32Matrix, Int32Matrix, bool]]:
    """The vectors, character spans and truncation of each chunk of a window."""
    begin, end = window[0][0], max(each for _, each in window)
    encoded = encoder.encode_document(text[begin:end])
    if encoded.character_spans is None:
        raise InvalidArgumentError(
            "the model pools its vectors, so none stands for characters. Encode each chunk by itself"
        )
    firsts, lasts = encoded.character_spans[:, 0] + begin, encoded.character_spans[:, 1] + begin
    is_marker: BoolVector = lasts <= firsts
    for start, stop in window:
        mask = is_marker | ((firsts >= start) & (firsts < stop))
        spans = np.where(is_marker[mask, None], 0, encoded.character_spans[mask] + (begin - start)).astype(np.int32)
        yield encoded.vectors[mask], spans, bool(encoded.truncated is not None and encoded.truncated[0])


def _check_spans(spans: Any, length: int) -> list[Span]:
    if not is_iterable(spans) or isinstance(spans, str):
        raise InvalidItemError(f"spans must be a list of pairs, not {type(spans).__name__}")
    checked: list[Span] = []
    for index, span in enumerate(spans):
        pair: list[Any] = list(span) if isinstance(span, tuple | list) else []  # pyright: ignore[reportUnknownArgumentType]
        if len(pair) != 2:  # noqa: PLR2004
            raise InvalidItemError(f"spans[{index}] must be a pair of code points, a start and an end")
        start, end = (check_whole_number(each, f"spans[{index}]", 0, length) for each in pair)
        if end <= start and length:
            raise InvalidArgumentError(f"spans[{index}] is empty; a chunk has a character at least")
        checked.append((start, end))
    if any(following < start for (start, _), (following, _) in pairwise(checked)):
        raise InvalidArgumentError("spans must begin in ascending order")
    return checked
