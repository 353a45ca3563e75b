"""Functions of registers: powers of two, and the activations that models have."""

from collections.abc import Sequence

from llvmlite import ir

from rank_rerank.kernels.expressions import ROUNDING, Expression, Operand
from rank_rerank.kernels.vectors import INT32

# 2^f for f in [-0.5, 0.5], fitted for the smallest relative error: 7.5e-8 before rounding
EXP2 = (1.0000001192092896, 0.6931469440460205, 0.24022120237350464, 0.05550713092088699, 0.009675541892647743,
        0.0013276472454890609)  # fmt: skip
# the same of a lower degree, for what is rounded to a few bits afterwards: 7.5e-5
SHORT_EXP2 = (0.9999280571937561, 0.6932609677314758, 0.2426111251115799, 0.0551716573536396)
SMALLEST_EXPONENT = -126.0
LARGEST_EXPONENT = 126.0
# (normal distribution's function(x) − 1/2) / x in powers of x², for x within ±4.3, fitted so that x times it is GELU
GELU_LIMIT = 4.3
GELU = (0.3990288972854614, -0.06649769842624664, 0.009880504570901394, -0.0011213204124942422, 9.468990901950747e-05,
        -5.683167273673462e-06, 2.2562502977052645e-07, -5.25031929043962e-09, 5.38058764210092e-11)  # fmt: skip
# beyond this square the logistic function is 0 or 1 for every activation in use; see `gated`
LARGEST_SQUARE = 52.0


def exp2(exponent: Expression, coefficients: Sequence[float] = EXP2) -> Expression:
    """2^x for x from -126, below which it stays at the last value, to 126; relative error below 2.5e-7.

    x = n + f with n the nearest integer; 2^f is a polynomial, and n is added to the exponent's bits.
    """
    builder, lanes = exponent.builder, exponent.lanes
    words = ir.VectorType(INT32, lanes)
    x = exponent.maximum(SMALLEST_EXPONENT)
    shifted = x + ROUNDING
    power = (x - (shifted - ROUNDING)).polynomial(coefficients)
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


def gelu(x: Expression) -> Expression:
    """X times the normal distribution's function of x, taken as 0 or 1 beyond ±4.3; off by 5.5e-5 and 4e-6 of x.

    Fourteen instructions, none of them slow, where `gated` has twenty-two and a division.
    """
    near = x.maximum(-GELU_LIMIT).minimum(GELU_LIMIT)
    return x * near.times_plus((near * near).polynomial(GELU), 0.5)
