"""Queries and documents to hold kernels to the reference with, and how far a kernel may be from it."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

FAMILIES = (
    "unit", "gaussian", "log-normal", "uniform", "cauchy", "negative", "integers", "equal", "zeros", "denormal", "half",
)  # fmt: skip
LENGTHS = (0, 1, 2, 5, 15, 16, 17, 31, 32, 33, 127, 128, 129)
QUERY_LENGTHS = (1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 65)
DIMS = (1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 127, 128, 129)

UNIT_ROUNDOFF = 2.0**-24
SMALLEST = 2.0**-149


@dataclass(frozen=True)
class Case:
    """One query [num_query_tokens, dim] and documents, a list of [num_tokens, dim], all float32."""

    query: np.ndarray
    documents: list[np.ndarray]

    @property
    def dim(self) -> int:
        return self.query.shape[1]

    def __repr__(self) -> str:
        return f"Case(query {self.query.shape}, documents {[len(d) for d in self.documents]}, dim {self.dim})"


def make_case(family: str, num_query_tokens: int, dim: int, lengths: list[int], seed: int) -> Case:
    rng = np.random.default_rng(seed)
    query = _draw(rng, family, (num_query_tokens, dim))
    documents = [_draw(rng, family, (length, dim)) for length in lengths]
    if family == "negative":
        query, documents = np.abs(query), [-np.abs(document) for document in documents]
    return Case(query, documents)


@st.composite
def cases(draw, dim_multiple: int = 1, min_documents: int = 0, families=FAMILIES) -> Case:
    dim = draw(st.sampled_from(DIMS))
    dim = max(dim_multiple, dim - dim % dim_multiple)
    lengths = draw(st.lists(st.sampled_from(LENGTHS), min_size=min_documents, max_size=4))
    family = draw(st.sampled_from(families))
    return make_case(family, draw(st.sampled_from(QUERY_LENGTHS)), dim, lengths, draw(st.integers(0, 2**32 - 1)))


def _draw(rng: np.random.Generator, family: str, shape: tuple[int, int]) -> np.ndarray:
    normal = rng.standard_normal(shape)
    values = {
        "unit": lambda: normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30),
        "gaussian": lambda: normal,
        "log-normal": lambda: np.exp(normal) * rng.choice([-1, 1], shape),
        "uniform": lambda: rng.uniform(-1, 1, shape),
        "cauchy": lambda: np.clip(rng.standard_cauchy(shape), -60_000, 60_000),
        "negative": lambda: normal,
        "integers": lambda: rng.integers(-8, 9, shape),
        "equal": lambda: np.ones(shape) * 0.37,
        "zeros": lambda: np.zeros(shape) * rng.choice([-1.0, 1.0], shape),
        "denormal": lambda: normal * 1e-39,
        "half": lambda: rng.choice([-65504.0, 65504.0, 6e-8, -6e-8, 6.1e-5, 0.0], shape),
    }[family]()
    return values.astype(np.float32)


def rounding_bound(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """How far float32 sums along dim may be off, per query token: [num_query_tokens].

    |fl(sum) − sum| ≤ n u / (1 − n u) · sum |q d| for any order of n additions (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1), and half the smallest number for each product that underflows.
    """
    dim = query.shape[1]
    factor = dim * UNIT_ROUNDOFF / (1 - dim * UNIT_ROUNDOFF)
    magnitudes = np.abs(query.astype(np.float64)) @ np.abs(document.astype(np.float64)).T
    return (factor + 2 * UNIT_ROUNDOFF) * magnitudes.max(axis=1) + (dim + 1) * SMALLEST
