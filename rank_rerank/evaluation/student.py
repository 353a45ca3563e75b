r"""Student's t distribution, for a test and an interval that allow for few queries.

.. math:: P(|T| > t) = I_{x}(\nu / 2, 1 / 2), \quad x = \nu / (\nu + t^2)

I is the regularized incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8), evaluated by
Lentz's method.
"""

import math

SMALL = 1e-300
PRECISION = 1e-15
MAX_TERMS = 1000


def tail_probability(t: float, degrees: int) -> float:
    """The probability that T is above t.

    Args:
        t: any number.
        degrees: of freedom, at least 1.
    """
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    both = _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return both / 2 if t >= 0 else 1 - both / 2


def quantile(share: float, degrees: int) -> float:
    """The t that T does not exceed with a probability from 0 to 1, both left out; by bisection."""
    low, high = -1.0, 1.0
    while tail_probability(low, degrees) < 1 - share:
        low *= 2
    while tail_probability(high, degrees) > 1 - share:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if tail_probability(middle, degrees) > 1 - share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # the fraction converges fast on this side only
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    upper, lower = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = lower
    for m in range(1, MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            lower = 1 / _not_zero(1 + term * lower)
            upper = _not_zero(1 + term / upper)
            value *= upper * lower
        if abs(upper * lower - 1) < PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > SMALL else SMALL
