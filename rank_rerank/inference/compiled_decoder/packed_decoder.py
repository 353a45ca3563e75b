"""A decoder's weights as the compiled pass finds them: the table of their sizes and addresses."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.inference.compiled_decoder import tables as plan
from rank_rerank.inference.int8_weights.decoder_weights import LINEARS, DecoderSizes, DecoderWeights, panel_width
from rank_rerank.kernels.processor import VectorPath

# where a layer's arrays stand in its part of the table
FIELDS = {
    **{f"{name}.{part}": 2 * i + j for i, name in enumerate(LINEARS) for j, part in enumerate(("panels", "columns"))},
    "attention_factors": plan.ATTENTION_FACTORS,
    "feed_factors": plan.FEED_FACTORS,
    "query_gamma": plan.QUERY_GAMMA,
    "key_gamma": plan.KEY_GAMMA,
}


@dataclass(frozen=True)
class PackedDecoder:
    """What the compiled pass needs of a model.

    Attributes:
        table: [fields] int64: sizes and addresses, named in `tables`.
        memory: the arrays at these addresses; they must live as long as the table.
        sizes: as the kernels have them.
        num_layers: layers.
    """

    table: Int64Vector
    memory: tuple[AnyArray, ...]
    sizes: DecoderSizes
    num_layers: int

    @classmethod
    def of(cls, weights: DecoderWeights, config: DecoderConfig, path: VectorPath) -> "PackedDecoder":
        """Put a model's arrays, which are not copied, into a table."""
        sizes = DecoderSizes.of(config)
        table = np.zeros(plan.FIRST_LAYER + config.num_layers * plan.LAYER_FIELDS, np.int64)
        for field, number in (
            (plan.HIDDEN, sizes.hidden), (plan.HEAD, sizes.head), (plan.INNER, sizes.inner),
            (plan.NUM_HEADS, config.num_heads), (plan.NUM_KEY_HEADS, config.num_key_heads),
            (plan.GROUP, weights.group), (plan.PRODUCT, plan.product_of(path)),
            (plan.HAS_HEAD_NORMS, config.has_head_norms),
        ):  # fmt: skip
            table[field] = number
        small = {
            plan.NUMBERS: [config.norm_eps, config.hidden_size],
            plan.HEAD_NUMBERS: [config.norm_eps, config.head_size],
            plan.SILU: [-np.log2(np.e), 0, 0],
            plan.ZEROS: [0] * panel_width(path),
        }
        arrays = {field: np.array(numbers, np.float32) for field, numbers in small.items()}
        for number, layer in enumerate(weights.layers):
            first = plan.FIRST_LAYER + number * plan.LAYER_FIELDS
            arrays |= {first + FIELDS[name]: np.ascontiguousarray(array) for name, array in layer.items()}
        for field, array in arrays.items():
            table[field] = array.ctypes.data
        return cls(table, tuple(arrays.values()), sizes, config.num_layers)
