"""Student's t distribution: its tail and its quantile, by the standard library alone."""

from __future__ import annotations

import math

_TINY = 1e-300


def tail(t: float, freedom: float) -> float:
    """The chance of a value above t: half of I_x(f/2, 1/2) at x = f / (f + t²).

    Source: NIST Digital Library of Mathematical Functions, 8.17, and Abramowitz and Stegun, 26.7.1.
    """
    half = 0.5 * _incomplete_beta(0.5 * freedom, 0.5, freedom / (freedom + t * t))
    return half if t >= 0 else 1.0 - half


def quantile(chance: float, freedom: float) -> float:
    """The value that is exceeded with this chance (below one half), by bisection."""
    low, high = 0.0, 1.0
    while tail(high, freedom) > chance:
        low, high = high, 2.0 * high
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tail(middle, freedom) > chance else (low, middle)
    return 0.5 * (low + high)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction where that converges quickly."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """DLMF 8.17.22, evaluated by the modified method of Lentz (Press et al., Numerical Recipes, 6.4)."""
    above = 1.0
    value = below = 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0))
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1.0 / _nonzero(1.0 + term * below)
            above = _nonzero(1.0 + term / above)
            value *= above * below
        if abs(above * below - 1.0) < 1e-13:
            break
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
