"""Filters of candidates: by id, or by what their metadata says."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arrays import BoolVector, Int64Vector
from rank_rerank.documents import plain_value
from rank_rerank.storage.snapshot import ROWS_AT_ONCE, Places, Snapshot
from rank_rerank.storage.store_inputs import list_ids

Filter: TypeAlias = Iterable[str] | Mapping[str, Any]


def find_kept(snapshot: Snapshot, places: Places, only: Filter | None, except_: Filter | None) -> Int64Vector:
    """Which of some documents two filters let through: positions among them, ascending.

    Args:
        snapshot: they are in.
        places: of the documents.
        only: ids, or a mapping of metadata: a document passes that is among the ids, or has all of its keys with equal
            values. None lets all pass.
        except_: likewise, of those that do not pass.

    Raises:
        InvalidItemError, InvalidTextError: an id is no valid str, or a mapping has a value that no metadata can have.
    """
    kept = np.ones(len(places), np.bool_)
    if only is not None:
        kept &= _match(snapshot, places, only, kept, "only")
    if except_ is not None:
        kept &= ~_match(snapshot, places, except_, kept, "except_")
    return np.flatnonzero(kept)


def _match(snapshot: Snapshot, places: Places, wanted: Filter, among: BoolVector, name: str) -> BoolVector:
    """[num_documents]: which documents a filter means; only those ``among`` them are looked at."""
    if not isinstance(wanted, Mapping):
        found = snapshot.find_ids(list_ids(wanted))
        chosen = {*zip(found.segments.tolist(), found.rows.tolist(), strict=True)}
        pairs = zip(places.segments.tolist(), places.rows.tolist(), strict=True)
        return np.array([pair in chosen for pair in pairs], np.bool_)
    values: Mapping[str, Any] = plain_value(wanted, name)  # as the metadata was made that it is compared with
    matches = np.zeros(len(places), np.bool_)
    for number, segment in enumerate(snapshot.segments):
        indices = np.flatnonzero(among & (places.segments == number))
        for first in range(0, len(indices), ROWS_AT_ONCE):
            some = indices[first : first + ROWS_AT_ONCE]
            matches[some] = [_fits(metadata, values) for metadata in segment.read_all_metadata(places.rows[some])]
    return matches


def _fits(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in metadata and _is_equal(metadata[key], value) for key, value in wanted.items())


def _is_equal(value: Any, wanted: Any) -> bool:
    """Whether two values are one in JSON, where true is not 1, as it is in Python."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_is_equal(value[key], wanted[key]) for key in wanted)
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_is_equal, value, wanted))
    return value == wanted
