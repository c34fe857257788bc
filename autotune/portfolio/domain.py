"""Domain: for which problems a rule says anything, and which dimensions are sizes; what it says is in `rule`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

from autotune.distance import REACH
from autotune.values import Problem, Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The problems that were tuned with the same categories, and the range of each of their sizes."""

    categories: Problem
    ranges: Mapping[str, tuple[float, float]]

    def covers(self, problem: Problem) -> bool:
        """Whether its categories are those, and each of its sizes at most a factor of `distance.REACH` beyond."""
        return all(is_same(problem[name], value) for name, value in self.categories.items()) and all(
            _is_within(problem[name], *bounds) for name, bounds in self.ranges.items()
        )

    @property
    def text(self) -> str:
        """`dtype=bfloat16, m from 1 to 4096`."""
        sizes = [f"{name} from {low!r} to {high!r}" for name, (low, high) in self.ranges.items()]
        return ", ".join([*([self.categories.text] if self.categories else []), *sizes])


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a rule applies, a region for each combination of categories that was tuned."""

    regions: tuple[Region, ...]

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Self:
        """Of problems with the same dimensions."""
        sizes = size_names(problems)
        groups: dict[str, list[Problem]] = {}
        for problem in problems:
            groups.setdefault(_categories(problem, sizes).text, []).append(problem)
        return cls(tuple(_region(group, sizes) for group in groups.values()))

    def covers(self, problem: Problem) -> bool:
        """Whether the rule has an answer."""
        region = self.regions[0]
        if problem.keys() != region.categories.keys() | region.ranges.keys():
            return False
        return any(one.covers(problem) for one in self.regions)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [
            {"categories": one.categories, "ranges": {name: list(bounds) for name, bounds in one.ranges.items()}}
            for one in self.regions
        ]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Self:
        """The inverse of `to_json`."""
        regions = [
            Region(
                categories=Problem(one["categories"]),
                ranges={name: (low, high) for name, (low, high) in one["ranges"].items()},
            )
            for one in data
        ]
        return cls(tuple(regions))


def size_names(problems: Sequence[Problem]) -> tuple[str, ...]:
    """The dimensions that are numbers in all problems, by name; those with both 1 and 1.0 are told by equality."""
    return tuple(name for name in sorted(problems[0]) if _are_sizes([problem[name] for problem in problems]))


def is_size(value: Scalar) -> TypeGuard[int | float]:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def is_same(one: Scalar, other: Scalar) -> bool:
    """Equal, and of the same type: True, 1 and 1.0 are three problems."""
    return type(one) is type(other) and repr(one) == repr(other)


def _are_sizes(values: Sequence[Scalar]) -> bool:
    return all(map(is_size, values)) and len({(type(value), value) for value in values}) == len(set(values))


def _categories(problem: Problem, sizes: Sequence[str]) -> Problem:
    return Problem({name: problem[name] for name in sorted(problem) if name not in sizes})


def _region(group: Sequence[Problem], sizes: Sequence[str]) -> Region:
    values: dict[str, list[Any]] = {name: [problem[name] for problem in group] for name in sizes}
    ranges = {name: (min(seen), max(seen)) for name, seen in values.items()}
    return Region(categories=_categories(group[0], sizes), ranges=ranges)


def _is_within(value: Scalar, low: float, high: float) -> bool:
    """Nothing is beyond a bound that is not positive: no factor leads there."""
    least, most = (low / REACH if low > 0 else low), (high * REACH if high > 0 else high)
    return is_size(value) and least <= value <= most
