"""Choice: which few configurations lose least on all problems together; which of them is whose is in `growth`.

The mean is the geometric one, since a loss is a ratio: a problem of microseconds counts as much as one of seconds, and
the mean of ratios is the ratio of means. Among equals the one with the least worst loss is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

from autotune.portfolio.losses import Losses

MOST_SETS = 20_000
"""Of configurations that are all compared; beyond, one is added at a time and then exchanged."""

Chosen = tuple[int, ...]
"""The numbers of configurations, ascending."""


def choices(losses: Losses, at_most: int) -> list[Chosen]:
    """The best one configuration, the best two, … up to that many; it ends where a further one gains nothing."""
    candidates = _undominated(losses)
    found: list[Chosen] = []
    for size in range(1, min(at_most, len(candidates)) + 1):
        best = _best(losses, candidates, size, found[-1] if found else ())
        if found and _order(losses, best) >= _order(losses, found[-1]):
            break
        found.append(best)
    return found


def _best(losses: Losses, candidates: Chosen, size: int, smaller: Chosen) -> Chosen:
    if math.comb(len(candidates), size) <= MOST_SETS:
        return _least(losses, combinations(candidates, size))
    return _exchanged(losses, candidates, _least(losses, _grown(candidates, smaller)))


def _exchanged(losses: Losses, candidates: Chosen, chosen: Chosen) -> Chosen:
    """One for another, as long as that is better."""
    while True:
        better = _least(losses, (one for out in chosen for one in _grown(candidates, _without(chosen, out))))
        if _order(losses, better) >= _order(losses, chosen):
            return chosen
        chosen = better


def _grown(candidates: Chosen, chosen: Chosen) -> Iterator[Chosen]:
    """With each further candidate."""
    return (tuple(sorted((*chosen, one))) for one in candidates if one not in chosen)


def _without(chosen: Chosen, out: int) -> Chosen:
    return tuple(one for one in chosen if one != out)


def _least(losses: Losses, sets: Iterable[Chosen]) -> Chosen:
    return min(sets, key=lambda chosen: _order(losses, chosen))


def _order(losses: Losses, chosen: Chosen) -> tuple[int, float, float]:
    """Smaller is better, as `Loss.order`, at a fraction of its cost."""
    best = losses.best_of(chosen)
    covered = [loss for loss in best if loss < math.inf]
    total = sum(map(math.log1p, covered))
    return len(best) - len(covered), round(total, 9), round(max(covered, default=0.0), 9)


def _undominated(losses: Losses) -> Chosen:
    """All but those that another one is at least as good as on every problem; of equals the first stays."""
    rows = losses.rows

    def beats(one: int, other: int) -> bool:
        if not all(a <= b for a, b in zip(rows[one], rows[other], strict=True)):
            return False
        return rows[one] != rows[other] or one < other

    numbers = range(len(rows))
    return tuple(n for n in numbers if not any(beats(other, n) for other in numbers if other != n))
