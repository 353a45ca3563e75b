"""Values that a caller may pass by mistake or malice, and texts and vectors as callers should pass them.

Everything is drawn from one generator, so that a case can be drawn again from its number.
"""

import array
import datetime as dt
import decimal
import fractions
import math
import random
from collections import OrderedDict, UserDict, UserList, UserString
from pathlib import Path

import numpy as np

DIM = 16
WORDS = (
    "whale", "river", "bread", "paris", "capital", "the", "of", "and", "a", "in", "42", "naïve", "語言", "مرحبا", "😀",
    "x-ray", "e.g.", "[MASK]", "[SEP]", "don't",
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "\n\t", "\x00", "\x00\x1b[2J", "\ud800", "a\udfff", "\u200b", "\u202eabc", "👩\u200d👩\u200d👧",
    "a" * 5000, "word " * 700, "a\u0301" * 40, "\ufeffa", "\x85b", "語" * 600, "[CLS] [PAD]", "0\x0810", "\U0010ffff",
    "-inf", "nan",
)  # fmt: skip
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u8", "?", "c8", "O", "U3", "M8[s]", ">f4", ">i8", "g")
SHAPES = ((), (0,), (1,), (3,), (16,), (0, 16), (3, 0), (2, 16), (5, 16), (5, 8), (2, 3, 16), (0, 0, 16), (1, 1, 1, 16))
NUMBERS = (
    0, 1, -1, 2, 3, 7, 16, 64, 255, 256, 257, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63),
    10**400, 0.0, -0.0, 0.5, 1.0, 1.5, -1e-9, 1e-320, 1e30, 3.4e38, 1e39, 1e308, math.nan, math.inf, -math.inf,
)  # fmt: skip


def words(rng: random.Random, most: int = 12) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most)))


def text(rng: random.Random) -> str:
    """Mostly words; sometimes one of the texts that break things."""
    return rng.choice(ODD_TEXTS) if rng.random() < 0.15 else words(rng)


def vectors(rng: random.Random, num_tokens: int, dim: int = DIM) -> np.ndarray:
    """[num_tokens, dim] float32 rows of unit length."""
    drawn = np.random.default_rng(rng.getrandbits(32)).standard_normal((num_tokens, dim)).astype(np.float32)
    return drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-12)


def matrices(rng: random.Random, most: int = 6, dim: int = DIM) -> list[np.ndarray]:
    return [vectors(rng, rng.choice((0, 1, 2, 5, 9, 17)), dim) for _ in range(rng.randint(0, most))]


def wild_array(rng: random.Random) -> np.ndarray:
    """Any dtype, number of axes and layout; floats sometimes hold what is not finite or too large to be multiplied."""
    dtype, shape = np.dtype(rng.choice(DTYPES)), rng.choice(SHAPES)
    numbers = np.random.default_rng(rng.getrandbits(32)).integers(-3, 9, shape)
    drawn = np.array(numbers).astype(dtype)
    if drawn.dtype.kind in "fc" and drawn.size and rng.random() < 0.4:
        with np.errstate(over="ignore"):
            drawn.flat[rng.randrange(drawn.size)] = rng.choice((np.nan, np.inf, -np.inf, 3e30, 3e38, 1e-45))
    return _lay_out(rng, drawn)


def _lay_out(rng: random.Random, drawn: np.ndarray) -> np.ndarray:
    how = rng.randrange(7)
    if how == 0 and drawn.ndim:
        return drawn[::-1]
    if how == 1:
        return np.asfortranarray(drawn)
    if how == 2 and drawn.ndim:
        return np.repeat(drawn, 2, axis=-1)[..., ::2]
    if how == 3:
        drawn.setflags(write=False)
    if how == 4 and drawn.dtype.kind not in "OUM":
        return np.ma.masked_array(drawn)
    if how == 5 and drawn.ndim:
        return np.broadcast_to(drawn[:1], drawn.shape)
    return drawn


class CallersError(Exception):
    """What an object of the caller's raises when it is used: it is the caller's to see."""


def of_caller(function: object) -> object:
    """A function whose errors are its caller's to see; what is none stays what it is."""
    if not callable(function):
        return function

    def called(*arguments):
        try:
            return function(*arguments)
        except Exception as error:
            raise CallersError from error

    return called


class Stranger:
    """Has none of the methods that anybody asks for."""


class Liar:
    """Claims to be a sequence, and is none."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise CallersError


class Refuser:
    """An iterable that fails on its way."""

    def __iter__(self):
        yield "a text"
        raise CallersError


PLAIN = (
    lambda _: None,
    lambda _: True,
    lambda _: False,
    lambda rng: rng.choice(NUMBERS),
    text,
    lambda rng: text(rng).encode("utf-8", "replace"),
    lambda rng: np.array(rng.choice(NUMBERS[:12])).astype(rng.choice(("f4", "f8", "i8", "?", "i1")))[()],
    lambda rng: np.str_(words(rng)),
    lambda _: decimal.Decimal("0.3"),
    lambda _: fractions.Fraction(1, 3),
    lambda _: 1 + 2j,
    lambda _: dt.date(2024, 2, 29),
    lambda _: Path("no/such/path"),
    lambda _: Stranger(),
    lambda _: Stranger,
    lambda _: Liar(),
    lambda _: len,
    lambda _: ...,
    lambda _: NotImplemented,
)
CONTAINERS = (
    lambda _, items: items,
    lambda _, items: tuple(items),
    lambda _, items: iter(items),
    lambda _, items: (item for item in items),
    lambda _, items: dict(enumerate(items)),
    lambda _, items: {f"k{number}": item for number, item in enumerate(items)}.values(),
    lambda _, items: OrderedDict(text=items),
    lambda _, items: UserDict({"text": items}),
    lambda _, items: UserList(items),
    lambda _, items: {repr(item) for item in items},
    lambda *_: frozenset({"a", "b"}),
    lambda _, items: range(len(items)),
    lambda *_: array.array("d", [1.0, 2.0]),
    lambda *_: memoryview(b"abc"),
    lambda *_: bytearray(b"abc"),
    lambda *_: Refuser(),
    lambda *_: UserString("a text"),
    lambda _, items: map(str, items),
    lambda _, items: [items, items],
)


def wild(rng: random.Random, depth: int = 0) -> object:
    """Anything: a value, an array, or a container of such."""
    kind = rng.random()
    if kind < 0.5 or depth > 1:
        return rng.choice(PLAIN)(rng)
    if kind < 0.7:
        return wild_array(rng)
    items = [wild(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return rng.choice(CONTAINERS)(rng, items)
