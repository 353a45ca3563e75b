"""Weights by name, compared with what they should be before anything is computed with them."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.encoder_weights import Norm
from rank_rerank.inference.int8_weights.quantized_linear import LARGEST_WEIGHT

Tensors: TypeAlias = Mapping[str, AnyArray]


class CheckedTensors:
    """Weights by name; every one has the type and the shape that it should have, and is finite."""

    def __init__(self, tensors: Tensors, source: str) -> None:
        self._tensors = tensors
        self._source = source
        self._used: set[str] = set()

    def floats(self, name: str, *shape: int) -> Any:
        """A float32 array of that shape."""
        found = self._get(name, shape)
        if found.dtype.kind != "f" and found.dtype.name != "bfloat16":
            raise CheckpointFormatError(f"{self._source}: {name} has the type {found.dtype}, not a float")
        exact = np.ascontiguousarray(found, np.float32)
        if not np.isfinite(exact).all():
            raise CheckpointFormatError(f"{self._source}: {name} holds NaN or infinity")
        return exact

    def integers(self, name: str, *shape: int) -> Any:
        """An int8 array of that shape."""
        found = self._get(name, shape)
        if found.dtype != np.int8:
            raise CheckpointFormatError(f"{self._source}: {name} has the type {found.dtype}, not int8")
        return found

    def weights(self, name: str, *shape: int) -> Any:
        """An int8 array of that shape from −127 to 127: not every path multiplies −128."""
        found = self.integers(name, *shape)
        if found.min(initial=0) < -LARGEST_WEIGHT:
            raise CheckpointFormatError(f"{self._source}: {name} holds -128, which this library never rounds to")
        return found

    def norm(self, name: str, size: int, *, has_bias: bool = True) -> Norm:
        """The two vectors of a LayerNorm; without a bias the second is zeros."""
        bias = self.floats(f"{name}.bias", size) if has_bias else np.zeros(size, np.float32)
        return Norm(self.floats(f"{name}.weight", size), bias)

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of an array that need not be there; None where it is not."""
        found = self._tensors.get(name)
        return None if found is None else found.shape

    def refuse_unknown_matrices(self) -> None:
        """A matrix that was not asked for is part of a model that computes more than this one."""
        for name, tensor in self._tensors.items():
            if name not in self._used and tensor.ndim >= 2 and tensor.dtype.kind == "f":  # noqa: PLR2004 - a matrix
                raise CheckpointFormatError(f"{self._source}: the weight {name} does not belong in a BERT encoder")

    def _get(self, name: str, shape: tuple[int, ...]) -> AnyArray:
        found = self._tensors.get(name)
        self._used.add(name)
        if found is None:
            raise CheckpointFormatError(f"{self._source}: the weight {name} is missing")
        if found.shape != shape:
            raise CheckpointFormatError(f"{self._source}: {name} has the shape {found.shape}, config.json says {shape}")
        return found
