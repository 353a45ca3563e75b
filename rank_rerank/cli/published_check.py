"""Compare a model with what others have published of it: settings, token ids, vectors and scores, each with its source.

The table is published_values.json. A model in INT8 is compared within bounds of INT8, which are wider than a source's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from rank_rerank.checkpoints.json_files import parse_json
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.scoring.cross_encoder import CrossEncoder
from rank_rerank.scoring.maxsim import maxsim

TABLE_FILE = "published_values.json"
# how far INT8 may be from what was computed in floats, by what is compared
INT8_TOLERANCES = {"vectors": 0.02, "maxsim": 0.5, "logit": 0.5, "probability": 0.1}


@dataclass(frozen=True)
class Comparison:
    """One published fact, and what the model gives.

    Attributes:
        what: what is compared, for people.
        is_met: whether the model gives it.
        found: what the model gives, or how far it is from what was published.
        source: where it was published.
    """

    what: str
    is_met: bool
    found: str
    source: str


def find_entry(name: str) -> tuple[str, dict[str, Any]]:
    """The name in the table and what is published of it.

    Args:
        name: of the model on the Hub; or a folder's, whose last part is then that of a model.

    Raises:
        InvalidArgumentError: nothing of it is in the table.
    """
    models = read_table()
    short = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    for known, entry in models.items():
        if name.lower() == known.lower() or short in (known.lower(), known.lower().rpartition("/")[2]):
            return known, entry
    raise InvalidArgumentError(
        f"nothing published of {name[:100]!a} is in the table; say whose values to compare with, as --published NAME: "
        f"{', '.join(models)}"
    )


def read_table() -> dict[str, dict[str, Any]]:
    """What is published, by the models' names on the Hub."""
    content = files("rank_rerank.cli").joinpath(TABLE_FILE).read_bytes()
    return parse_json(content, TABLE_FILE)["models"]


def compare(model: TokenEncoder | CrossEncoder, entry: dict[str, Any]) -> list[Comparison]:
    """Compare a model with everything published of it."""
    is_int8 = "int8" in model.transformer.description
    if isinstance(model, CrossEncoder):
        return [_compare_logits(model, stated, is_int8=is_int8) for stated in entry.get("scores", [])]
    return [
        *_compare_settings(model, entry.get("settings", {})),
        *(_compare_vectors(model, stated, is_int8=is_int8) for stated in entry.get("vectors", [])),
        *(_compare_maxsim(model, stated, is_int8=is_int8) for stated in entry.get("scores", [])),
    ]


def _compare_settings(encoder: TokenEncoder, stated: dict[str, Any]) -> Iterator[Comparison]:
    settings = encoder.checkpoint.settings
    query_marker, document_marker, expansion = encoder.tokenizer.marker_ids
    found = {
        "dim": encoder.dim,
        "query_length": settings.query_length,
        "document_length": settings.document_length,
        "query_marker_id": query_marker,
        "document_marker_id": document_marker,
        "expansion_id": expansion,
        "do_query_expansion": settings.do_query_expansion,
        "attend_to_expansion_tokens": settings.attend_to_expansion_tokens,
    }
    for name, value in stated.items():
        if name != "source":
            yield Comparison(f"{name} {value}", found[name] == value, str(found[name]), stated["source"])


def _compare_vectors(encoder: TokenEncoder, stated: dict[str, Any], *, is_int8: bool) -> Comparison:
    encode = encoder.encode_query if stated["task"] == "query" else encoder.encode_document
    vectors = encode(stated["text"]).vectors
    expected = np.array(stated["first_numbers"])
    what = f"{stated['num_vectors']} vectors of a {stated['task']}"
    if len(vectors) != stated["num_vectors"]:
        return Comparison(what, is_met=False, found=f"{len(vectors)} vectors", source=stated["source"])
    rows, numbers = expected.shape
    return _close(what, vectors[:rows, :numbers], expected, stated, INT8_TOLERANCES["vectors"] if is_int8 else 0.0)


def _compare_maxsim(encoder: TokenEncoder, stated: dict[str, Any], *, is_int8: bool) -> Comparison:
    documents = encoder.encode_documents(stated["documents"])
    scores = maxsim(encoder.encode_query(stated["query"]), documents)
    return _compare_numbers(np.asarray(scores), stated, is_int8=is_int8)


def _compare_logits(model: CrossEncoder, stated: dict[str, Any], *, is_int8: bool) -> Comparison:
    """Logits, whatever the checkpoint's own activation is, or probabilities."""
    pairs = model.tokenizer.tokenize(stated["query"], stated["documents"])
    values = model.transformer.logits(pairs.batch).astype(np.float64)
    if stated["kind"] == "probability":
        values = 1 / (1 + np.exp(-values))
    return _compare_numbers(values, stated, is_int8=is_int8)


def _compare_numbers(values: Any, stated: dict[str, Any], *, is_int8: bool) -> Comparison:
    what = f"{len(values)} scores ({stated['kind']}{', ' + stated['note'] if 'note' in stated else ''})"
    least = INT8_TOLERANCES[stated["kind"]] if is_int8 else 0.0
    return _close(what, values, np.array(stated["values"]), stated, least)


def _close(what: str, found: Any, expected: Any, stated: dict[str, Any], least_tolerance: float) -> Comparison:
    tolerance = max(stated["tolerance"], least_tolerance)
    difference = float(np.abs(found - expected).max())
    return Comparison(
        what, difference <= tolerance, f"off by {difference:.2g}, allowed {tolerance:g}", stated["source"]
    )
