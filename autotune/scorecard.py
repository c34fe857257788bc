"""Scorecard: how the studies with one sampler did on a recorded space, or on several; how it is shown is elsewhere."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.rehearsal import Rehearsal
from autotune.scoring import MeasuredSpace, Score, mean_score, score
from autotune.values import Config

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """One sampler's studies."""

    recording: str
    """Its name, or `all`."""
    sampler: str
    score: Score
    picked_ratio: float | None
    """The geometric mean of what the studies picked in the end, by its true value, over the best; None for no pick."""
    search_ms: float
    """Of one trial, the mean."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "recording": self.recording,
            "sampler": self.sampler,
            **self.score.to_json(),
            "picked_over_best": self.picked_ratio,
            "ms_per_trial": self.search_ms,
        }


def scorecard(
    recording: str,
    sampler: str,
    space: MeasuredSpace,
    position: Mapping[Config, int],
    studies: Sequence[Rehearsal],
    trials: int,
) -> Scorecard:
    """Of studies of so many trials on one space, of which `position` says where each configuration's value stands."""
    picks = [[position[config] for config in study.picks] for study in studies]
    picked = [position[study.picked] for study in studies if study.picked is not None]
    return Scorecard(
        recording=recording,
        sampler=sampler,
        score=score(space, picks, trials),
        picked_ratio=_mean_ratio(space.ratios(picked).tolist()) if len(picked) == len(studies) else None,
        search_ms=statistics.fmean(study.search_ms for study in studies),
    )


def overall(cards: Sequence[Scorecard]) -> Scorecard:
    """Of one sampler over several recordings, each of the same weight."""
    ratios = [card.picked_ratio for card in cards if card.picked_ratio is not None]
    return Scorecard(
        recording=ALL,
        sampler=cards[0].sampler,
        score=mean_score(card.score for card in cards),
        picked_ratio=_mean_ratio(ratios) if len(ratios) == len(cards) else None,
        search_ms=statistics.fmean(card.search_ms for card in cards),
    )


def _mean_ratio(ratios: Sequence[float]) -> float | None:
    return statistics.geometric_mean(ratios) if all(map(math.isfinite, ratios)) else None
