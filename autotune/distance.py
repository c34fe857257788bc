"""How far apart problems are, and which is near enough to borrow from; who borrows is not known here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeGuard

from autotune.values import Problem, Scalar

REACH = 2.0
"""How far beyond the range of what was tuned a problem may lie and still borrow, as a factor, in each dimension.

Without a bound it is worse than the default: a file of MoE configurations tuned for decoding, applied to the longer
prefill, cost 2.35 % (vllm-project/vllm#52192).
"""


def distance(one: Problem, other: Problem) -> float:
    """Euclidean over the logarithms of the positive numbers: 16 is as far from 32 as 2048 is from 4096.

    Infinite where anything else differs: a dtype, a flag, a name, a number's sign.
    """
    if one.keys() != other.keys():
        return math.inf
    return math.hypot(*(_gap(value, other[name]) for name, value in one.items()))


def nearest(wanted: Problem, tuned: Iterable[Problem]) -> Problem | None:
    """The tuned problem at the least distance; None where none is comparable or `wanted` is beyond their reach."""
    comparable = [(apart, one.text, one) for one in tuned if (apart := distance(wanted, one)) < math.inf]
    if not all(_within_reach(value, [one[name] for _, _, one in comparable]) for name, value in wanted.items()):
        return None
    return min(comparable)[2] if comparable else None


def _gap(one: Scalar, other: Scalar) -> float:
    if _is_positive(one) and _is_positive(other):
        return abs(math.log(one) - math.log(other))
    return 0.0 if (type(one), one) == (type(other), other) else math.inf


def _within_reach(value: Scalar, tuned: list[Scalar]) -> bool:
    sizes = [size for size in tuned if _is_positive(size)]
    return not _is_positive(value) or not sizes or min(sizes) / REACH <= value <= max(sizes) * REACH


def _is_positive(value: Scalar) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
