"""The weights of a causal language model, rounded to int8 and laid out as the compiled pass reads them.

A layer's arrays, by name: ``heads`` (queries, keys and values side by side), ``output``, ``gate``, ``up``, ``down``,
each as ``.panels`` and ``.columns`` in the layout of `quantized_linear`; ``attention_factors`` and ``feed_factors``,
what a row is multiplied by before it is rounded; ``query_gamma`` and ``key_gamma`` where heads have norms.

Rounding is by groups of inputs, for weights and rows alike: decoders have a few numbers a thousand times as large as
the others, and such a one spoils its group alone. What an RMS norm makes is smoothed on top of that: a channel's factor
takes what its gamma and its weights say that it will be large by (SmoothQuant, Xiao et al. 2023), and the weights take
the inverse. No text is needed for that.

1/√d and log2(e) are part of the queries: of their norm's gamma, else of their weights. Sizes are padded with zeros to
multiples of 32; of a head each half is, as halves are rotated against each other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.inference.int8_weights.encoder_weights import round_up
from rank_rerank.inference.int8_weights.quantized_linear import (
    GROUP_PLANES,
    STEP_INPUTS,
    LinearWeights,
    PackedLinear,
)
from rank_rerank.kernels.processor import VectorPath

GROUP = 128
SIZE_MULTIPLE = 32
SMOOTHING = 0.65
SPREAD = 3.0  # standard deviations within which a normalized channel is expected
SMALLEST = 1e-5
LINEARS = ("heads", "output", "gate", "up", "down")

Tensors = dict[str, AnyArray]


@dataclass(frozen=True)
class DecoderWeights:
    """A whole model.

    Attributes:
        layers: the arrays of each layer; they may be views of a mapped file.
        final_norm: [hidden_size] float32.
        answer: [hidden_size] float32: its product with the last state is the log-odds.
        words: gives rows of the table of words in, by their numbers, in float32.
        group: inputs that are rounded with one scale.
    """

    layers: tuple[Tensors, ...]
    final_norm: Float32Vector
    answer: Float32Vector
    words: Callable[[Int64Vector], AnyArray]
    group: int


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes as the kernels have them: multiples of 32.

    Attributes:
        hidden: of the stream.
        head: of a head.
        queries: of all heads of queries.
        keys: of all heads of keys.
        inner: of the feed-forward block.
    """

    hidden: int
    head: int
    queries: int
    keys: int
    inner: int

    @classmethod
    def of(cls, config: DecoderConfig) -> "DecoderSizes":
        """The sizes of a model."""
        head = 2 * round_up(config.head_size // 2, SIZE_MULTIPLE // 2)
        hidden, inner = round_up(config.hidden_size, SIZE_MULTIPLE), round_up(config.intermediate_size, SIZE_MULTIPLE)
        return cls(hidden, head, config.num_heads * head, config.num_key_heads * head, inner)

    def shape_of(self, linear: str) -> tuple[int, int]:
        """Inputs and outputs of one of LINEARS."""
        return {
            "heads": (self.hidden, self.queries + 2 * self.keys),
            "output": (self.queries, self.hidden),
            "down": (self.inner, self.hidden),
        }.get(linear, (self.hidden, self.inner))


def panel_width(path: VectorPath) -> int:
    """Columns of a panel on a path."""
    return path.panel_vectors * path.lanes


def layer_shapes(config: DecoderConfig, group: int, width: int) -> dict[str, tuple[int, ...]]:
    """The arrays of a layer and their shapes: ``.panels`` are int8, all others float32."""
    sizes = DecoderSizes.of(config)
    shapes: dict[str, tuple[int, ...]] = {"attention_factors": (sizes.hidden,), "feed_factors": (sizes.hidden,)}
    for name in LINEARS:
        inputs, outputs = sizes.shape_of(name)
        shapes[f"{name}.panels"] = (outputs // width, inputs // STEP_INPUTS, width, STEP_INPUTS)
        shapes[f"{name}.columns"] = (1 + GROUP_PLANES * -(-inputs // group), outputs)
    if config.has_head_norms:
        shapes |= {"query_gamma": (sizes.head,), "key_gamma": (sizes.head,)}
    return shapes


def change_width(panels: AnyArray, width: int) -> AnyArray:
    """Panels of another number of columns: a copy."""
    inputs = panels.transpose(1, 0, 2, 3).reshape(panels.shape[1], -1, width, STEP_INPUTS)
    return np.ascontiguousarray(inputs.transpose(1, 0, 2, 3))


def round_layers(
    tensors: Iterator[tuple[str, AnyArray]], config: DecoderConfig, path: VectorPath, group: int = GROUP
) -> Iterator[Tensors]:
    """Round layer after layer; no more than one is in memory as it was. The last item is ``final_norm`` alone.

    Args:
        tensors: of `read_decoder_layers`, in its order.
        config: the model's shape.
        path: what the panels are for.
        group: inputs that are rounded with one scale.
    """
    layer: Tensors = {}
    number = 0
    for name, tensor in tensors:
        here = f"layers.{number}."
        if not name.startswith(here):
            yield _round_layer(layer, config, path, group)
            layer, number = {}, number + 1
            here = f"layers.{number}."
            if not name.startswith(here):
                yield {name.removesuffix(".weight"): tensor}
                return
        layer[name.removeprefix(here)] = tensor


def _round_layer(layer: Tensors, config: DecoderConfig, path: VectorPath, group: int) -> Tensors:
    sizes = DecoderSizes.of(config)
    factor = np.float32(np.log2(np.e) / np.sqrt(config.head_size))
    query_factor = np.float32(1) if config.has_head_norms else factor
    query = _by_head(layer, "query", config.num_heads, sizes.head) * query_factor
    key = _by_head(layer, "key", config.num_key_heads, sizes.head)
    value = _by_head(layer, "value", config.num_key_heads, sizes.head, pieces=1)
    heads = _padded_inputs(np.concatenate([query, key, value]), sizes.hidden)
    gate, up = (_padded(_with_bias(layer, name), sizes.inner, sizes.hidden) for name in ("gate", "up"))
    attention_factors = _factors(layer["attention_norm.weight"], sizes.hidden, heads)
    feed_factors = _factors(layer["output_norm.weight"], sizes.hidden, gate, up)
    arrays: Tensors = {}
    for name, rows, factors in (
        ("heads", heads, attention_factors),
        ("output", _output(layer, config, sizes), None),
        ("gate", gate, feed_factors),
        ("up", up, feed_factors),
        ("down", _padded(_with_bias(layer, "down"), sizes.hidden, sizes.inner), None),
    ):
        weight = rows[:, :-1] if factors is None else rows[:, :-1] / factors
        packed = PackedLinear.pack(
            LinearWeights.round(np.ascontiguousarray(weight.T), group, np.ascontiguousarray(rows[:, -1])), group, path
        )
        arrays |= {f"{name}.panels": packed.panels, f"{name}.columns": packed.columns}
    arrays["attention_factors"] = _gamma(layer["attention_norm.weight"], sizes.hidden) * attention_factors
    arrays["feed_factors"] = _gamma(layer["output_norm.weight"], sizes.hidden) * feed_factors
    if config.has_head_norms:
        arrays["query_gamma"] = _pad_head(layer["query_norm.weight"][:, None], 1, sizes.head, 2)[:, 0] * factor
        arrays["key_gamma"] = _pad_head(layer["key_norm.weight"][:, None], 1, sizes.head, 2)[:, 0]
    return arrays


def _with_bias(layer: Tensors, name: str) -> Float32Matrix:
    """Weights [out, in] with the bias, or zeros, as one more column."""
    weight = layer[f"{name}.weight"]
    bias = layer.get(f"{name}.bias", np.zeros(len(weight), np.float32))
    return np.concatenate([weight, bias[:, None]], axis=1)


def _by_head(layer: Tensors, name: str, num_heads: int, head: int, pieces: int = 2) -> Float32Matrix:
    return _pad_head(_with_bias(layer, name), num_heads, head, pieces)


def _pad_head(rows: Float32Matrix, num_heads: int, head: int, pieces: int) -> Float32Matrix:
    """Rows of zeros at the end of each piece of a head."""
    num_pieces = num_heads * pieces
    split = rows.reshape(num_pieces, -1, rows.shape[1])
    return np.pad(split, ((0, 0), (0, head // pieces - split.shape[1]), (0, 0))).reshape(-1, rows.shape[1])


def _output(layer: Tensors, config: DecoderConfig, sizes: DecoderSizes) -> Float32Matrix:
    """Inputs come by head, each padded at its end as values are."""
    rows = _with_bias(layer, "output")
    by_head = _pad_head(np.ascontiguousarray(rows[:, :-1].T), config.num_heads, sizes.head, 1).T  # [hidden, queries]
    return _padded(np.concatenate([by_head, rows[:, -1:]], axis=1), sizes.hidden, sizes.queries)


def _padded(rows: Float32Matrix, outputs: int, inputs: int) -> Float32Matrix:
    return np.pad(_padded_inputs(rows, inputs), ((0, outputs - len(rows)), (0, 0)))


def _padded_inputs(rows: Float32Matrix, inputs: int) -> Float32Matrix:
    """Zeros between the weights and the bias."""
    missing = inputs + 1 - rows.shape[1]
    return np.concatenate([rows[:, :-1], np.zeros((len(rows), missing), np.float32), rows[:, -1:]], axis=1)


def _gamma(weight: AnyArray, size: int) -> Float32Vector:
    return np.pad(weight, (0, size - len(weight)))


def _factors(gamma: AnyArray, size: int, *weights: Float32Matrix) -> Float32Vector:
    """What a normalized row is multiplied by before it is rounded: small where its channel or the weights are large."""
    largest_input = np.maximum(SPREAD * np.abs(_gamma(gamma, size)), SMALLEST)
    largest_weight = np.maximum(np.max([np.abs(rows[:, :-1]).max(axis=0) for rows in weights], axis=0), SMALLEST)
    factors = largest_weight ** (1 - SMOOTHING) / largest_input**SMOOTHING
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)
