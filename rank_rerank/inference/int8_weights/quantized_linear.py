"""Linear layers as the compiled pass reads them: int8 weights in panels, three numbers per column.

Layout of the panels: [out / columns, in / 4, columns, 4] int8, where a panel's columns fill two registers or more; out
is padded with zeros to whole panels.

Inputs are rounded in groups, and weights may be. Layout of the columns: [1 + 3 * num_groups, out] float32: bias; then
for each group of inputs the scale; shift = scale * sum of the group's integers, which the group's offset is multiplied
by; and the bits of an int32, 128 times that sum, where sums of inputs that are 128 less begin.

Whether vpmaddubsw multiplies a layer exactly is seen from its weights: it adds the products of neighbors along the
inputs, at most 255 each, in 16 bits, so that two weights of one sign may be 128 together. `rank_rerank.export` rounds
so. Weights of another origin are multiplied in a way that takes a third more instructions.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.kernels.processor import VectorPath

Int8Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int8]]

ALIGNMENT = 64  # bytes: a cache line
LARGEST_WEIGHT = 127
LARGEST_PAIR = 128
STEP_INPUTS = 4  # bytes that are multiplied at once
GROUP_PLANES = 3  # of the columns


@dataclass(frozen=True)
class LinearWeights:
    """A linear layer's weights, rounded: x W + b with W[k, c] ≈ integers[k, c] * scales[k // group, c].

    Attributes:
        integers: [in, out] int8.
        scales: [num_groups, out] float32.
        bias: [out] float32.
    """

    integers: Int8Matrix
    scales: Float32Matrix
    bias: Float32Vector

    @classmethod
    def round(cls, weight: Float32Matrix, group: int, bias: Float32Vector | None = None) -> "LinearWeights":
        """Round weights [in, out] to nearest, with one scale for each output and each group of inputs."""
        integers = np.empty(weight.shape, np.int8)
        scales: list[Float32Vector] = []
        for first in range(0, len(weight), group):
            part = weight[first : first + group]
            scale = (np.abs(part).max(axis=0) / LARGEST_WEIGHT).astype(np.float32)  # [out]
            scales.append(np.where(scale == 0, np.float32(1), scale))
            integers[first : first + group] = np.rint(part / scales[-1])
        zeros = np.zeros(weight.shape[1], np.float32)
        return cls(integers, np.array(scales), zeros if bias is None else bias)

    def scale_columns(self, factors: Float32Vector | float) -> "LinearWeights":
        """The layer with its outputs times factors [out]."""
        factor = np.float32(factors) if isinstance(factors, float) else factors
        return LinearWeights(self.integers, self.scales * factor, self.bias * factor)


@dataclass(frozen=True)
class PackedLinear:
    """A linear layer in memory: see the top of this file.

    Attributes:
        panels: the weights.
        columns: [1 + 3 * num_groups, out] float32.
        has_small_pairs: neighboring products never leave 16 bits.
    """

    panels: AnyArray
    columns: Float32Matrix
    has_small_pairs: bool

    @classmethod
    def pack(cls, weights: LinearWeights, group: int, path: VectorPath) -> "PackedLinear":
        """Bring weights into the layout of a path, for inputs that are rounded in groups of so many."""
        width = path.panel_vectors * path.lanes
        num_inputs, num_outputs = weights.integers.shape
        padded = -num_outputs % width
        integers = np.pad(weights.integers, ((0, 0), (0, padded)))  # [in, out]
        in_steps = integers.reshape(num_inputs // STEP_INPUTS, STEP_INPUTS, -1, width)
        panels = aligned(in_steps.transpose(2, 0, 3, 1).shape, np.int8)
        panels[...] = in_steps.transpose(2, 0, 3, 1)  # [out / columns, in / 4, columns, 4]
        sums = np.add.reduceat(weights.integers, range(0, num_inputs, group), axis=0, dtype=np.int64)
        columns = aligned((1 + GROUP_PLANES * len(sums), num_outputs + padded), np.float32)
        columns[:] = 0
        columns[0, :num_outputs] = weights.bias
        columns[1::GROUP_PLANES, :num_outputs] = weights.scales
        columns[2::GROUP_PLANES, :num_outputs] = weights.scales * sums.astype(np.float32)
        columns[3::GROUP_PLANES, :num_outputs] = (128 * sums).astype(np.int32).view(np.float32)
        return cls(panels, columns, has_small_pairs(weights.integers))


def has_small_pairs(integers: Int8Matrix) -> bool:
    """Whether no two neighboring weights [in, out] of one sign are more than 128 together; 255 · 128 < 2^15.

    Two of different signs never are: their sum is between them.
    """
    sums = np.add(integers[0::2], integers[1::2], dtype=np.int16)
    return bool(np.abs(sums).max(initial=0) <= LARGEST_PAIR)


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
    """An array that begins with a cache line; its content is not defined."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
