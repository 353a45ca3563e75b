"""LLVM vector building blocks: what numba kernels say to the compiler where a loop in Python would not be enough.

Everything here takes an `llvmlite.ir` builder and adds instructions to it, so the same code serves a numba intrinsic on
this machine and a test that compiles for another processor. Addresses are 64-bit integers; memory is read at any
alignment.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

from llvmlite import binding, ir

from rank_rerank.kernels.processor import VectorPath

Builder: TypeAlias = Any
Value: TypeAlias = Any

INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
FLOAT32, FLOAT16 = ir.FloatType(), ir.HalfType()
BIT = ir.IntType(1)
LANES_WITH_MASKS = 16  # registers of AVX-512, which has masks for what AVX2 has instructions for


def integer(value: int, kind: Any = INT64) -> Value:
    """A constant integer."""
    return ir.Constant(kind, value)


def constant_vector(kind: Any, values: Sequence[float]) -> Value:
    """A constant register."""
    return ir.Constant(ir.VectorType(kind, len(values)), list(values))


def load(builder: Builder, kind: Any, address: Value, offset: int = 0) -> Value:
    """Read a number or a register; the address need not be aligned."""
    pointed = builder.add(address, integer(offset)) if offset else address
    return builder.load(builder.inttoptr(pointed, kind.as_pointer()), align=1)


def store(builder: Builder, value: Value, address: Value, offset: int = 0) -> None:
    """Write a number or a register; the address need not be aligned."""
    pointed = builder.add(address, integer(offset)) if offset else address
    builder.store(value, builder.inttoptr(pointed, value.type.as_pointer()), align=1)


def splat(builder: Builder, value: Value, lanes: int) -> Value:
    """Put one number into every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, integer(0, INT32))
    return builder.shuffle_vector(first, undefined, constant_vector(INT32, [0] * lanes))


def multiply_add(builder: Builder, path: VectorPath, left: Value, right: Value, total: Value) -> Value:
    """Total + left * right in float32, with one rounding where the processor does that."""
    if path.is_portable:
        return builder.fadd(total, builder.fmul(left, right))
    kind = total.type
    name = f"llvm.fma.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fma.f32"
    return builder.call(declare(builder, name, kind, [kind, kind, kind]), [left, right, total])


def multiply_add_bytes(builder: Builder, path: VectorPath, document: Value, query: Value, total: Value) -> Value:
    """Total + the integer products of each 32-bit lane, summed; how a lane is divided depends on the path.

    Args:
        builder: where to.
        path: says how; see `VectorPath.integer_product`.
        document: [lanes] int32: four bytes (unsigned on x86), two 16-bit numbers, or one number per lane.
        query: [lanes] int32: the same, signed.
        total: [lanes] int32.
    """
    words = total.type
    if path.integer_product == "x86-bytes":
        name = f"llvm.x86.avx512.vpdpbusd.{32 * words.count}"
        kind = ir.VectorType(INT8, 4 * words.count) if _vnni_takes("vpdpbusd", "<32 x i8>") else words
        function = declare(builder, name, words, [words, kind, kind])
        return builder.call(function, [total, builder.bitcast(document, kind), builder.bitcast(query, kind)])
    if path.integer_product == "arm-bytes":
        kind = ir.VectorType(INT8, 4 * words.count)
        function = declare(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", words, [words, kind, kind])
        return builder.call(function, [total, builder.bitcast(document, kind), builder.bitcast(query, kind)])
    if path.integer_product == "x86-pairs":
        return builder.add(total, sum_of_pair(builder, document, query))
    return builder.add(total, builder.mul(document, query))


def multiply_add_pairs(builder: Builder, path: VectorPath, left: Value, right: Value, total: Value) -> Value:
    """Total + the products of the two signed 16-bit numbers in each 32-bit lane; x86 only.

    Args:
        builder: where to.
        path: with VNNI that is one instruction, else two.
        left: [lanes] int32, each two 16-bit numbers in truth.
        right: the same.
        total: [lanes] int32.
    """
    words = total.type
    if path.integer_product == "x86-pairs":
        return builder.add(total, sum_of_pair(builder, left, right))
    name = f"llvm.x86.avx512.vpdpwssd.{32 * words.count}"
    kind = ir.VectorType(INT16, 2 * words.count) if _vnni_takes("vpdpwssd", "<16 x i16>") else words
    function = declare(builder, name, words, [words, kind, kind])
    return builder.call(function, [total, builder.bitcast(left, kind), builder.bitcast(right, kind)])


def multiply_add_byte_pairs(builder: Builder, left: Value, right: Value, total: Value) -> Value:
    """Total + the products of four unsigned and four signed bytes in each 32-bit lane, with AVX2 or AVX-512BW alone.

    Two neighbors' products are added in 16 bits, where their sum is cut off at ±2^15: whoever calls knows that it fits.

    Args:
        builder: where to.
        left: [lanes] int32, each four unsigned bytes in truth.
        right: [lanes] int32, each four signed bytes in truth.
        total: [lanes] int32.
    """
    sums = multiply_neighbors(builder, left, right)
    ones = ir.Constant(sums.type, [1] * sums.type.count)
    return builder.add(total, sum_of_pair(builder, sums, ones))


def multiply_neighbors(builder: Builder, left: Value, right: Value) -> Value:
    """Unsigned times signed bytes, two neighbors added in 16 bits and cut off at ±2^15: [2 * lanes] int16.

    Args:
        builder: where to.
        left: [lanes] int32, each four unsigned bytes in truth.
        right: [lanes] int32, each four signed bytes in truth; or the bytes themselves.
    """
    lanes = left.type.count * left.type.element.width // 32
    pairs, kind = ir.VectorType(INT16, 2 * lanes), ir.VectorType(INT8, 4 * lanes)
    name = {16: "llvm.x86.avx512.pmaddubs.w.512", 8: "llvm.x86.avx2.pmadd.ub.sw"}[lanes]
    function = declare(builder, name, pairs, [kind, kind])
    return builder.call(function, [builder.bitcast(left, kind), builder.bitcast(right, kind)])


def with_sign_of(builder: Builder, value: Value, other: Value) -> Value:
    """Signed bytes that are negated where those of the other register are negative; of −128 that is −128 again.

    Where the other byte is 0 the result may be 0 or the byte itself: it is about to be multiplied by 0.
    """
    kind = ir.VectorType(INT8, value.type.count * value.type.element.width // 8)
    signed, signs = builder.bitcast(value, kind), builder.bitcast(other, kind)
    if kind.count == 4 * LANES_WITH_MASKS:
        zero = ir.Constant(kind, [0] * kind.count)
        return builder.select(builder.icmp_signed("<", signs, zero), builder.sub(zero, signed), signed)
    return builder.call(declare(builder, "llvm.x86.avx2.psign.b", kind, [kind, kind]), [signed, signs])


def multiply_add_bytes_less_128(builder: Builder, left: Value, right: Value, total: Value) -> Value:
    """Total + the products of four unsigned bytes, each less 128, and four signed bytes; nothing is ever cut off.

    The sign of a byte on the left goes to the byte on the right: |a| ≤ 128 times ±127 fits 16 bits twice.

    Args:
        builder: where to.
        left: [lanes] int32, each four unsigned bytes in truth.
        right: [lanes] int32, each four signed bytes from −127 to 127 in truth.
        total: [lanes] int32.
    """
    kind = ir.VectorType(INT8, 4 * total.type.count)
    shifted = builder.xor(builder.bitcast(left, kind), ir.Constant(kind, [-128] * kind.count))
    size_of = declare(builder, f"llvm.abs.v{kind.count}i8", kind, [kind, BIT])
    size = builder.call(size_of, [shifted, ir.Constant(BIT, 0)])  # of −128 the same bits, which is 128
    return multiply_add_byte_pairs(builder, size, with_sign_of(builder, right, shifted), total)


def subtract_differing_bits(builder: Builder, document: Value, query: Value, total: Value) -> Value:
    """Total − the number of bits in which document and query differ, per 32-bit lane."""
    kind = total.type
    function = declare(builder, f"llvm.ctpop.v{kind.count}i32", kind, [kind])
    return builder.sub(total, builder.call(function, [builder.xor(document, query)]))


def greater(builder: Builder, left: Value, right: Value) -> Value:
    """Lanes where left > right; not where either is NaN."""
    if left.type.element == FLOAT32:
        return builder.fcmp_ordered(">", left, right)
    return builder.icmp_signed(">", left, right)


def prefetch(builder: Builder, address: Value) -> None:
    """Ask for the cache line of an address, which need not be valid, to be read soon."""
    pointer = builder.inttoptr(address, INT8.as_pointer())
    function = declare(
        builder, "llvm.prefetch.p0", ir.VoidType(), [INT8.as_pointer(), INT32, INT32, INT32]
    )  # fmt: skip
    builder.call(function, [pointer, integer(0, INT32), integer(3, INT32), integer(1, INT32)])


def counted_loop(
    builder: Builder,
    start: Value,
    stop: Value,
    step: int,
    carried: Sequence[Value],
    body: Callable[[Value, list[Value]], Sequence[Value]],
) -> list[Value]:
    """Repeat ``body`` for start, start + step, … below stop, and hand values from one turn to the next.

    Args:
        builder: where to; after this call it stands after the loop.
        start: first counter, int64.
        stop: where to stop, int64; no turn is made when start is not below it.
        step: how far to count.
        carried: the values that enter the first turn.
        body: adds one turn; it is given the counter and the values, and returns the values for the next turn.

    Returns:
        The values after the last turn.
    """
    before = builder.block
    head, turn, behind = (builder.append_basic_block(name) for name in ("head", "turn", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    counter = builder.phi(INT64)
    counter.add_incoming(start, before)
    values = [builder.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", counter, stop), turn, behind)
    builder.position_at_end(turn)
    following = body(counter, list(values))
    counter.add_incoming(builder.add(counter, integer(step)), builder.block)
    for phi, value in zip(values, following, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(behind)
    return list(values)


def declare(builder: Builder, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """The function of that name in the module under construction."""
    known = builder.module.globals.get(name)
    return ir.Function(builder.module, ir.FunctionType(result, arguments), name) if known is None else known


def sum_of_pair(builder: Builder, left: Value, right: Value) -> Value:
    """The products of the two signed 16-bit numbers in each 32-bit lane, added up, with AVX2 or AVX-512BW alone."""
    lanes = left.type.count * left.type.element.width // 32
    kind, words = ir.VectorType(INT16, 2 * lanes), ir.VectorType(INT32, lanes)
    name = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}[lanes]
    function = declare(builder, name, words, [kind, kind])
    return builder.call(function, [builder.bitcast(left, kind), builder.bitcast(right, kind)])


@cache
def _vnni_takes(name: str, kind: str) -> bool:
    """Newer LLVMs type these instructions' operands as what they are, older ones as 32-bit words; ask this one."""
    function = f"@llvm.x86.avx512.{name}.256"
    module = (
        f"define <8 x i32> @f(<8 x i32> %a, {kind} %b) {{\n"
        f"  %c = call <8 x i32> {function}(<8 x i32> %a, {kind} %b, {kind} %b)\n"
        "  ret <8 x i32> %c\n}\n"
        f"declare <8 x i32> {function}(<8 x i32>, {kind}, {kind})\n"
    )
    try:
        binding.parse_assembly(module).verify()
    except RuntimeError:
        return False
    return True
