"""RelativeConfig: how attention depends on the distance between two tokens, and which row of a table a distance has.

MPNet (Song et al. 2020) adds a number per head to a score, as T5 does. DeBERTa (He et al. 2021) multiplies queries and
keys with rows of a table too. Far distances share rows, more of them the farther they are.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

RelativeKind: TypeAlias = Literal["bias", "disentangled"]
CONFIG_FILE = "config.json"
MPNET_DISTANCE = 128  # not a setting of this architecture: from here on distances share the last row
MAX_ROWS = 65_536
TERMS = ("c2p", "p2c")


@dataclass(frozen=True)
class RelativeConfig:
    """What a score depends on beside query and key.

    Attributes:
        kind: "bias": a number per head and distance is added. "disentangled": the products of the query with the
            distance's key, and of the key with the distance's query.
        num_rows: rows of the table.
        max_distance: distances from here on share their rows.
        is_bucketed: far distances share rows; else each has its own.
        has_key_term: the query is multiplied with a distance's key ("c2p").
        has_query_term: the key is multiplied with a distance's query ("p2c").
        has_norm: the table is normalized before it is projected.
        has_own_layers: a distance's key and query have layers of their own; else those of the tokens.
    """

    kind: RelativeKind
    num_rows: int
    max_distance: int
    is_bucketed: bool = True
    has_key_term: bool = True
    has_query_term: bool = True
    has_norm: bool = False
    has_own_layers: bool = False

    @property
    def num_products(self) -> int:
        """How many products a score is the sum of, by which its size is evened out."""
        return 1 if self.kind == "bias" else 1 + self.has_key_term + self.has_query_term


def read_bias(config: JsonSettings) -> RelativeConfig:
    """MPNet's.

    Raises:
        CheckpointFormatError: the number of rows is out of range.
    """
    num_rows = config.get("relative_attention_num_buckets", 32)
    if not 4 <= num_rows <= MAX_ROWS or num_rows % 4:  # noqa: PLR2004 - two sides, near and far
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: "relative_attention_num_buckets" must be a multiple of 4, and at most {MAX_ROWS}'
        )
    return RelativeConfig("bias", num_rows, MPNET_DISTANCE)


def read_disentangled(config: JsonSettings, max_positions: int) -> RelativeConfig:
    """DeBERTa's of the second and third version.

    Args:
        config: config.json.
        max_positions: the longest text in tokens.

    Raises:
        CheckpointFormatError: the attention is of another kind, or a size is out of range.
    """
    stated = config.get_value("pos_att_type")
    terms = stated.lower().split("|") if isinstance(stated, str) else config.get_words("pos_att_type")
    terms = [term.strip() for term in terms]
    if not config.get("relative_attention", default=False) or not terms or not set(terms) <= set(TERMS):
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: of DeBERTa relative attention is computed, with "pos_att_type" of {", ".join(TERMS)}'
        )
    stated_distance, buckets = config.get("max_relative_positions", -1), config.get("position_buckets", -1)
    distance = stated_distance if stated_distance >= 1 else max_positions
    span = buckets if buckets > 0 else distance
    if not 4 <= span <= distance <= MAX_ROWS // 2:  # noqa: PLR2004 - both sides, near and far
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: "position_buckets" must be from 4 to "max_relative_positions", and that at most '
            f"{MAX_ROWS // 2}"
        )
    norms = (config.get_optional_str("norm_rel_ebd") or "none").lower().split("|")
    return RelativeConfig(
        "disentangled",
        2 * span,
        distance,
        is_bucketed=buckets > 0,
        has_key_term="c2p" in terms,
        has_query_term="p2c" in terms,
        has_norm="layer_norm" in [norm.strip() for norm in norms],
        has_own_layers=not config.get("share_att_key", default=False),
    )


def rows_of_distances(config: RelativeConfig, num_positions: int) -> Int64Vector:
    """The row of the table for each distance from a query to a key.

    Args:
        config: of the model.
        num_positions: of a text.

    Returns:
        [2 * num_positions - 1], from the key num_positions - 1 before the query to that so far after it.
    """
    distances = np.arange(1 - num_positions, num_positions)
    return _mpnet_rows(config, distances) if config.kind == "bias" else _deberta_rows(config, distances)


def _mpnet_rows(config: RelativeConfig, distances: Int64Vector) -> Int64Vector:
    """A half for keys before the query and one for those after it; half of each has a row per distance."""
    half = config.num_rows // 2
    near = half // 2
    size = np.abs(distances)
    # in float32, as the authors' code: a row begins where its rounding says
    ratio = np.log(np.maximum(size, near).astype(np.float32) / np.float32(near))
    far = near + (ratio / np.float32(math.log(config.max_distance / near)) * np.float32(half - near)).astype(np.int64)
    return np.where(size < near, size, np.minimum(far, half - 1)) + np.where(distances > 0, half, 0)


def _deberta_rows(config: RelativeConfig, distances: Int64Vector) -> Int64Vector:
    """Rows count from the query's side: the middle one is distance 0, lower ones are keys after the query."""
    span = config.num_rows // 2
    before = -distances
    if config.is_bucketed:
        middle = span // 2
        size = np.abs(before)
        ratio = np.log(np.maximum(size, middle).astype(np.float32) / np.float32(middle))
        whole = np.log(np.float32((config.max_distance - 1) / middle))
        far = np.ceil(ratio / whole * np.float32(middle - 1)).astype(np.int64) + middle
        before = np.where(size <= middle, before, far * np.sign(before))
    return np.clip(before + span, 0, 2 * span - 1)
