"""A store as a cache of texts: what it holds is found by the text's digest, what it lacks is encoded and kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arguments import check_callback
from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.storage.key_index import digests_of
from rank_rerank.storage.segment import Segment, build_segment
from rank_rerank.storage.snapshot import Snapshot
from rank_rerank.storage.store_inputs import TEXT_ID_PREFIX, NewDocuments
from rank_rerank.storage.stored_documents import StoredDocuments

# encoded texts that are held before they are written: at 300 tokens of 384 float32, 118 MB
BATCH_TEXTS = 256


@dataclass(frozen=True, eq=False)
class CachedTexts:
    """Texts with their stored vectors.

    Attributes:
        documents: one per text, in the order of the texts.
        num_tokens_read: [num_texts] int64: tokens the model read for it now, 0 where the store had it already.
    """

    documents: StoredDocuments
    num_tokens_read: Int64Vector


def find_or_encode(
    snapshot: Snapshot,
    put: Callable[[NewDocuments], Snapshot] | None,
    encoder: TokenEncoder,
    texts: Sequence[str],
    progress: Callable[[int], object] | None = None,
) -> CachedTexts:
    """Find texts in a store, and encode those it lacks.

    Args:
        snapshot: of the store.
        put: keeps new texts and gives the snapshot after it; None keeps them in memory for this call only.
        encoder: the store's model.
        texts: checked, repeated or not.
        progress: called with the number of texts that were just found or encoded.
    """
    digests = digests_of(texts)
    num_tokens_read = np.zeros(len(texts), np.int64)
    missing = _first_of_each(digests, snapshot.find_digests(digests).missing)
    report = check_callback(progress, "progress") or _report_to_nobody
    report(len(texts) - len(missing))
    for chosen in _batches(missing):
        new, lengths = _encode(encoder, [texts[index] for index in chosen.tolist()], digests[chosen])
        num_tokens_read[chosen] = lengths
        snapshot = _extend(snapshot, new) if put is None else put(new)
        report(len(chosen))
    places = snapshot.find_digests(digests)
    if len(lost := _first_of_each(digests, places.missing)):
        # another program has deleted them meanwhile
        new, _ = _encode(encoder, [texts[index] for index in lost.tolist()], digests[lost])
        snapshot = _extend(snapshot, new)
        places = snapshot.find_digests(digests)
    return CachedTexts(StoredDocuments(snapshot, places), num_tokens_read)


def _report_to_nobody(_: int) -> None:
    """Where no progress is shown."""


def text_id(digest: bytes) -> str:
    """The id under which a cached text is stored."""
    return TEXT_ID_PREFIX + digest.hex()


def _first_of_each(digests: AnyArray, places: Int64Vector) -> Int64Vector:
    """The indices at which a text comes first."""
    first: dict[bytes, int] = {}
    for place in places.tolist():
        first.setdefault(digests[place].tobytes(), place)
    return np.array(list(first.values()), np.int64)


def _batches(places: Int64Vector) -> Iterator[Int64Vector]:
    return (places[first : first + BATCH_TEXTS] for first in range(0, len(places), BATCH_TEXTS))


def _encode(encoder: TokenEncoder, texts: list[str], digests: AnyArray) -> tuple[NewDocuments, Int64Vector]:
    embeddings: TokenEmbeddings = encoder.encode_documents(texts)
    ids = [text_id(digest.tobytes()) for digest in digests]
    return NewDocuments(ids, embeddings, list(texts), [b""] * len(texts)), np.diff(embeddings.offsets)


def _extend(snapshot: Snapshot, new: NewDocuments) -> Snapshot:
    """A snapshot with documents that are in memory only, compressed as if they were stored."""
    segment: Segment = build_segment(
        new.ids,
        snapshot.compression.compress(new.embeddings),
        new.texts,
        new.metadata,
        new.embeddings.truncated,
        keep_texts=False,
    )
    return replace(snapshot, segments=(*snapshot.segments, segment))
