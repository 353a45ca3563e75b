"""Expressions: registers of float32, written with the signs of arithmetic, and functions of them.

An `Expression` adds the instructions of ``a * b + c`` to a builder in the order in which Python evaluates it. Nothing
is reassociated or contracted later (no fast-math flag is ever set), so a result depends on its operands alone: the same
bits for every row, whatever it is computed with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llvmlite import ir

from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import (
    BFLOAT16,
    FLOAT32,
    INT8,
    INT16,
    INT32,
    Builder,
    Value,
    counted_loop,
    declare,
    integer,
    load,
    multiply_add,
    splat,
    store,
)

FLOAT_BYTES = 4
UNROLLED_REGISTERS = 4  # the order in which `sweep` combines them is made for four

# 1.5 * 2^23: adding it leaves no bits for a fraction, so that what is left is rounded to the nearest integer
ROUNDING = 12582912.0
# 2^f for f in [-0.5, 0.5], fitted for the smallest relative error: 7.5e-8 before rounding
EXP2 = (1.0000001192092896, 0.6931469440460205, 0.24022120237350464, 0.05550713092088699, 0.009675541892647743,
        0.0013276472454890609)  # fmt: skip
SMALLEST_EXPONENT = -126.0
LARGEST_EXPONENT = 126.0
# beyond this square the logistic function is 0 or 1 for every activation in use; see `gated`
LARGEST_SQUARE = 52.0


@dataclass(frozen=True)
class Expression:
    """A register of float32, or one number, in the making.

    Attributes:
        builder: where its instructions go.
        path: the processor they are for.
        value: what they compute.
    """

    builder: Builder
    path: VectorPath
    value: Value

    def __add__(self, other: "Operand") -> "Expression":
        return self._apply(self.builder.fadd, other)

    def __sub__(self, other: "Operand") -> "Expression":
        return self._apply(self.builder.fsub, other)

    def __mul__(self, other: "Operand") -> "Expression":
        return self._apply(self.builder.fmul, other)

    def __truediv__(self, other: "Operand") -> "Expression":
        return self._apply(self.builder.fdiv, other)

    def times_plus(self, factor: "Operand", summand: "Operand") -> "Expression":
        """Self * factor + summand, with one rounding where the processor does that."""
        factor_value, summand_value = self._operand(factor), self._operand(summand)
        return self._like(multiply_add(self.builder, self.path, self.value, factor_value, summand_value))

    def maximum(self, other: "Operand") -> "Expression":
        """The larger one; ``other`` where self is NaN."""
        right = self._operand(other)
        return self._like(self.builder.select(self.builder.fcmp_ordered(">", self.value, right), self.value, right))

    def minimum(self, other: "Operand") -> "Expression":
        """The smaller one; ``other`` where self is NaN."""
        right = self._operand(other)
        return self._like(self.builder.select(self.builder.fcmp_ordered("<", self.value, right), self.value, right))

    def square_root(self) -> "Expression":
        """Correctly rounded."""
        kind = self.value.type
        name = f"llvm.sqrt.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.sqrt.f32"
        return self._like(self.builder.call(declare(self.builder, name, kind, [kind]), [self.value]))

    def polynomial(self, coefficients: Sequence["Operand"]) -> "Expression":
        """Coefficients[0] + coefficients[1] * self + …, by Horner's rule."""
        total = self._like(self._operand(coefficients[-1]))
        for coefficient in reversed(coefficients[:-1]):
            total = total.times_plus(self, coefficient)
        return total

    def fold(self, combine: Callable[["Expression", "Expression"], "Expression"]) -> "Expression":
        """Combine all lanes into one number: the upper half with the lower half, and so on."""
        vector = self
        lanes = self.value.type.count
        while lanes > 1:
            lanes //= 2
            halves = [
                self._like(
                    self.builder.shuffle_vector(
                        vector.value, vector.value, ir.Constant(ir.VectorType(INT32, lanes), list(range(s, s + lanes)))
                    )
                )
                for s in (0, lanes)
            ]
            vector = combine(halves[0], halves[1])
        return self._like(self.builder.extract_element(vector.value, integer(0, INT32)))

    def spread(self) -> "Expression":
        """One number into every lane."""
        return self._like(splat(self.builder, self.value, self.path.lanes))

    def store(self, address: Value, offset: int = 0) -> None:
        """Write to memory."""
        store(self.builder, self.value, address, offset)

    def store_truncated(self, address: Value, item_bits: int, shift: int = 0) -> None:
        """Cut off the fraction, add ``shift``, and write integers of 8 or 16 bits, which must be able to hold them."""
        words = self.builder.fptosi(self.value, ir.VectorType(INT32, self.path.lanes))
        if shift:
            words = self.builder.add(words, ir.Constant(words.type, [shift] * self.path.lanes))
        kind = ir.VectorType({8: INT8, 16: INT16}[item_bits], self.path.lanes)
        store(self.builder, self.builder.trunc(words, kind), address)

    def store_bfloat16(self, address: Value) -> None:
        """Round to bfloat16, ties to even, and write; only where the processor does that."""
        store(self.builder, self._bfloat16(), address)

    def bfloat16_bits(self) -> Value:
        """Rounded to bfloat16: its bits, in the lower half of int32 lanes."""
        halves = self.builder.bitcast(self._bfloat16(), ir.VectorType(INT16, self.path.lanes))
        return self.builder.zext(halves, ir.VectorType(INT32, self.path.lanes))

    def _bfloat16(self) -> Value:
        return self.builder.fptrunc(self.value, ir.VectorType(BFLOAT16, self.path.lanes))

    def _apply(self, operation: Any, other: "Operand") -> "Expression":
        return self._like(operation(self.value, self._operand(other)))

    def _like(self, value: Value) -> "Expression":
        return Expression(self.builder, self.path, value)

    def _operand(self, other: "Operand") -> Value:
        if isinstance(other, Expression):
            return other.value
        kind = self.value.type
        return ir.Constant(kind, [other] * kind.count) if isinstance(kind, ir.VectorType) else ir.Constant(kind, other)


Operand: TypeAlias = Expression | float


@dataclass(frozen=True)
class Lanes:
    """Makes expressions: registers and numbers from memory, constants.

    Attributes:
        builder: where instructions go.
        path: the processor they are for.
    """

    builder: Builder
    path: VectorPath

    def constant(self, number: float) -> Expression:
        """The same number in every lane."""
        return self.of_register(ir.Constant(ir.VectorType(FLOAT32, self.path.lanes), [number] * self.path.lanes))

    def number(self, number: float) -> Expression:
        """One number, not a register."""
        return self.of_register(ir.Constant(FLOAT32, number))

    def number_of(self, count: Value) -> Expression:
        """An int64 as one float32."""
        return self.of_register(self.builder.sitofp(count, FLOAT32))

    def load(self, address: Value, offset: int = 0) -> Expression:
        """A register from memory."""
        return self.of_register(load(self.builder, ir.VectorType(FLOAT32, self.path.lanes), address, offset))

    def load_number(self, address: Value, offset: int = 0) -> Expression:
        """One number from memory."""
        return self.of_register(load(self.builder, FLOAT32, address, offset))

    def load_bytes(self, address: Value) -> Expression:
        """A register of signed bytes from memory, as float32."""
        narrow = load(self.builder, ir.VectorType(INT8, self.path.lanes), address)
        return self.of_integers(self.builder.sext(narrow, ir.VectorType(INT32, self.path.lanes)))

    def of_integers(self, words: Value) -> Expression:
        """Int32 lanes as float32, rounded to nearest."""
        return self.of_register(self.builder.sitofp(words, ir.VectorType(FLOAT32, self.path.lanes)))

    def sweep(
        self,
        count: Value,
        carried: Sequence[Expression],
        body: Callable[[Value, Sequence[Expression]], Sequence[Expression]],
        combine: Callable[[Expression, Expression], Expression] | Sequence[Any] = (),
    ) -> list[Expression]:
        """Visit ``count`` numbers of a row, a register at a time, and keep running values over them.

        Four registers a turn, each with running values of its own so that none waits for the other; these are combined
        at the end. The order depends on ``count`` alone, and registers of zeros at the end change no bit of a sum.

        Args:
            count: how many numbers, a multiple of the lanes.
            carried: where the running values begin.
            body: adds the work on one register, given the offset of its first number in floats, and the running
                values; returns the next running values.
            combine: how two running values become one; one function for each of ``carried``, or one for all.
        """
        combiners = [combine] * len(carried) if callable(combine) else list(combine)
        builder, lanes, size = self.builder, self.path.lanes, len(carried)

        def turn(slots: int) -> Callable[[Value, list[Value]], list[Value]]:
            def add(number: Value, values: list[Value]) -> list[Value]:
                following = list(values)
                for slot in range(slots):
                    place = builder.add(number, integer(slot * lanes)) if slot else number
                    running = [self.of_register(value) for value in values[slot * size : (slot + 1) * size]]
                    following[slot * size : (slot + 1) * size] = [each.value for each in body(place, running)]
                return following

            return add

        def rest(number: Value, values: list[Value]) -> list[Value]:
            # the next register's running values come to the front, so that register i always meets those of i mod 4
            following = turn(1)(number, values)
            return following[size:] + following[:size]

        step = UNROLLED_REGISTERS * lanes
        whole = builder.sub(count, builder.srem(count, integer(step)))
        values = [each.value for each in carried] * UNROLLED_REGISTERS
        values = counted_loop(builder, integer(0), whole, step, values, turn(UNROLLED_REGISTERS))
        values = counted_loop(builder, whole, count, lanes, values, rest)
        if not carried:
            return []
        slots = [[self.of_register(value) for value in values[i : i + size]] for i in range(0, len(values), size)]
        # whichever came to the front, the sum is the same: (0 + 2) + (1 + 3)
        pairs = [[join(x, y) for join, x, y in zip(combiners, slots[i], slots[i + 2], strict=True)] for i in (0, 1)]
        return [join(x, y) for join, x, y in zip(combiners, *pairs, strict=True)]

    def of_register(self, value: Value) -> Expression:
        """What instructions elsewhere computed."""
        return Expression(self.builder, self.path, value)


def exp2(exponent: Expression) -> Expression:
    """2^x for x within ±126, beyond which it stays at the last value; relative error below 2.5e-7.

    x = n + f with n the nearest integer; 2^f is a polynomial, and n is added to the exponent's bits.
    """
    builder, lanes = exponent.builder, exponent.path.lanes
    words = ir.VectorType(INT32, lanes)
    x = exponent.maximum(SMALLEST_EXPONENT)
    shifted = x + ROUNDING
    power = (x - (shifted - ROUNDING)).polynomial(EXP2)
    # the low bits of `shifted` are n; what else it holds is shifted out
    n = builder.shl(builder.bitcast(shifted.value, words), ir.Constant(words, [23] * lanes))
    bits = builder.add(builder.bitcast(power.value, words), n)
    return Expression(builder, exponent.path, builder.bitcast(bits, power.value.type))


def gated(x: Expression, coefficients: Sequence[Operand]) -> Expression:
    """X times the logistic function of x * (c0 + c1 x² + c2 x⁴): every smooth activation in use, by its coefficients.

    Each coefficient has been multiplied by −log2(e).
    """
    square = (x * x).minimum(LARGEST_SQUARE)
    return x / (exp2((x * square.polynomial(coefficients)).minimum(LARGEST_EXPONENT)) + 1.0)


def at(builder: Builder, address: Value, number: Value, item_bytes: int = FLOAT_BYTES) -> Value:
    """The address of an item of an array."""
    return builder.add(address, builder.mul(number, integer(item_bytes)))
