"""Expressions: registers of float32, written with the signs of arithmetic; functions of them are in `functions`.

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
# numbers of a row that are summed apart: the widest register's on every x86 path, so that all compute the same bits
X86_SLOT = 16

# 1.5 * 2^23: adding it leaves no bits for a fraction, so that what is left is rounded to the nearest integer
ROUNDING = 12582912.0


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

    @property
    def lanes(self) -> int:
        """How many numbers; not for one number."""
        return self.value.type.count

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
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            halves = [self._like(_part(self.builder, vector.value, first, lanes)) for first in (0, lanes)]
            vector = combine(halves[0], halves[1])
        return self._like(self.builder.extract_element(vector.value, integer(0, INT32)))

    def spread(self) -> "Expression":
        """One number into every lane."""
        return self._like(splat(self.builder, self.value, self.path.lanes))

    def store(self, address: Value, offset: int = 0) -> None:
        """Write to memory."""
        store(self.builder, self.value, address, offset)

    def store_truncated(self, address: Value, shift: int = 0) -> None:
        """Cut off the fraction, add ``shift``, and write integers of 8 bits, which must be able to hold them."""
        words = self.builder.fptosi(self.value, ir.VectorType(INT32, self.lanes))
        if shift:
            words = self.builder.add(words, ir.Constant(words.type, [shift] * self.lanes))
        store(self.builder, self.builder.trunc(words, ir.VectorType(INT8, self.lanes)), address)

    def rounded_bits(self) -> Value:
        """Rounded to the nearest integer, ties to even: int32 lanes whose lower 16 bits are the integer's."""
        words = ir.VectorType(INT32, self.lanes)
        return self.builder.bitcast((self + ROUNDING).value, words)

    def store_int16(self, address: Value) -> None:
        """Round to the nearest integer, ties to even, and write; numbers that 16 bits cannot hold become others."""
        store(self.builder, self.builder.trunc(self.rounded_bits(), ir.VectorType(INT16, self.lanes)), address)

    def absolute(self) -> "Expression":
        """Without its sign."""
        return self.maximum(self * -1.0)

    def _apply(self, operation: Any, other: "Operand") -> "Expression":
        return self._like(operation(self.value, self._operand(other)))

    def _like(self, value: Value) -> "Expression":
        return Expression(self.builder, self.path, value)

    def _operand(self, other: "Operand") -> Value:
        kind = self.value.type
        if isinstance(other, Expression):
            known = other.value.type
            return other.value if known == kind else _repeat(self.builder, other.value, kind.count)
        return ir.Constant(kind, [other] * kind.count) if isinstance(kind, ir.VectorType) else ir.Constant(kind, other)


Operand: TypeAlias = Expression | float


@dataclass(frozen=True)
class Lanes:
    """Makes expressions: registers and numbers from memory, constants.

    Attributes:
        builder: where instructions go.
        path: the processor they are for.
        registers: how many registers an expression is made of.
    """

    builder: Builder
    path: VectorPath
    registers: int = 1

    @property
    def width(self) -> int:
        """Numbers an expression."""
        return self.registers * self.path.lanes

    def constant(self, number: float) -> Expression:
        """The same number in every lane."""
        return self.of_register(ir.Constant(ir.VectorType(FLOAT32, self.width), [number] * self.width))

    def number(self, number: float) -> Expression:
        """One number, not a register."""
        return self.of_register(ir.Constant(FLOAT32, number))

    def number_of(self, count: Value) -> Expression:
        """An int64 as one float32."""
        return self.of_register(self.builder.sitofp(count, FLOAT32))

    def load(self, address: Value, offset: int = 0) -> Expression:
        """Numbers from memory."""
        return self.of_register(load(self.builder, ir.VectorType(FLOAT32, self.width), address, offset))

    def load_number(self, address: Value, offset: int = 0) -> Expression:
        """One number from memory."""
        return self.of_register(load(self.builder, FLOAT32, address, offset))

    def load_bytes(self, address: Value) -> Expression:
        """Signed bytes from memory, as float32."""
        narrow = load(self.builder, ir.VectorType(INT8, self.width), address)
        return self.of_integers(self.builder.sext(narrow, ir.VectorType(INT32, self.width)))

    def of_integers(self, words: Value) -> Expression:
        """Int32 lanes as float32, rounded to nearest."""
        return self.of_register(self.builder.sitofp(words, ir.VectorType(FLOAT32, words.type.count)))

    def sweep(
        self,
        count: Value,
        carried: Sequence[Expression],
        body: Callable[["Lanes", Value, Sequence[Expression]], Sequence[Expression]],
        combine: Callable[[Expression, Expression], Expression] | Sequence[Any] = (),
    ) -> list[Expression]:
        """Visit ``count`` numbers of a row and keep running values over them.

        Four registers at once, each instruction for all four before the next one: a long chain of instructions, such as
        `exp2`, would otherwise fill the processor's queue before it comes to the next register's, and wait for itself.
        Each register of a turn has running values of its own, and these are combined at the end. The order depends on
        ``count`` alone, and zeros for a whole slot at the end change no bit of a sum. A slot is a register; on x86 it
        is sixteen numbers, whatever a register holds.

        Args:
            count: how many numbers, a multiple of a slot's.
            carried: where the running values begin.
            body: adds the work on some registers, given what makes expressions of so many, the offset of the first
                number in floats, and the running values; returns the next running values.
            combine: how two running values become one; one function for each of ``carried``, or one for all.
        """
        combiners = [combine] * len(carried) if callable(combine) else list(combine)
        builder, size = self.builder, len(carried)
        wide, single = (
            Lanes(builder, self.path, registers) for registers in (UNROLLED_REGISTERS, self._slot_registers)
        )
        num_parts = UNROLLED_REGISTERS * single.width // wide.width  # of a turn, which fills four slots

        def turn(here: Lanes, number: Value, values: list[Value]) -> list[Value]:
            return [each.value for each in body(here, number, [self.of_register(value) for value in values])]

        def turns(number: Value, values: list[Value]) -> list[Value]:
            parts = [
                turn(wide, builder.add(number, integer(part * wide.width)), values[part * size : (part + 1) * size])
                for part in range(num_parts)
            ]
            return [value for part in parts for value in part]

        step = num_parts * wide.width
        whole = builder.sub(count, builder.srem(count, integer(step)))
        values = [_repeat(builder, each.value, wide.width) for each in carried] * num_parts
        values = counted_loop(builder, integer(0), whole, step, values, turns)
        slots = [
            _part(builder, value, first, single.width)
            for part in range(num_parts)
            for first in range(0, wide.width, single.width)
            for value in values[part * size : (part + 1) * size]
        ]

        def rest(number: Value, slots: list[Value]) -> list[Value]:
            # the next slot's running values come to the front, so that slot i always meets those of i mod 4
            return slots[size:] + turn(single, number, slots[:size])

        slots = counted_loop(builder, whole, count, single.width, slots, rest)
        # whichever came to the front, the sum is the same: (0 + 2) + (1 + 3)
        registers = [[self.of_register(value) for value in slots[i :: len(carried)]] for i in range(len(carried))]
        return [join(join(a, c), join(b, d)) for join, (a, b, c, d) in zip(combiners, registers, strict=True)]

    def of_register(self, value: Value) -> Expression:
        """What instructions elsewhere computed."""
        return Expression(self.builder, self.path, value)

    @property
    def _slot_registers(self) -> int:
        """Registers of a slot: two of AVX2 keep the sums that one of AVX-512 keeps."""
        return max(1, X86_SLOT // self.path.lanes) if self.path.architecture == "x86" else 1


def at(builder: Builder, address: Value, number: Value, item_bytes: int = FLOAT_BYTES) -> Value:
    """The address of an item of an array."""
    return builder.add(address, builder.mul(number, integer(item_bytes)))


def _repeat(builder: Builder, value: Value, lanes: int) -> Value:
    """A register's numbers again and again, up to so many."""
    indices = [lane % value.type.count for lane in range(lanes)]
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(INT32, lanes), indices))


def _part(builder: Builder, value: Value, first: int, lanes: int) -> Value:
    """Some lanes of a wider value."""
    indices = list(range(first, first + lanes))
    return builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(INT32, lanes), indices))
