"""Verdict: who won a study, why, and on which evidence; how it is reached is in `selection`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from autotune.values import Config


class VerdictKind(StrEnum):
    """How a study ended."""

    PROMOTED = "promoted"
    """A configuration that beats the default and the incumbent, as far as there are any."""
    DEFAULT = "default is best"
    INCUMBENT = "incumbent stays"
    """The winner of an earlier study, which nothing here beats, or which could not be measured again."""
    NOTHING = "nothing to promote"
    """No configuration succeeded, or none kept the bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """By which share one configuration is better than another, from pairs of readings in rounds; 0.03 is 3 %."""

    mean: float
    low: float
    high: float
    """The ends of the 98 % confidence interval of the mean."""

    @property
    def text(self) -> str:
        """`3.1 % (2.2 to 4.0)`."""
        return f"{_percent(self.mean)} % ({_percent(self.low)} to {_percent(self.high)})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"mean": self.mean, "interval": [self.low, self.high]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        low, high = data["interval"]
        return cls(mean=float(data["mean"]), low=float(low), high=float(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rounds of a study ended with."""

    kind: VerdictKind
    winner: Config | None
    reason: str
    """One sentence, with the numbers that decided."""
    over_default: Gain | None = None
    """The winner's; None where it is the default, or the default could not be measured."""
    over_incumbent: Gain | None = None
    over_runner_up: Gain | None = None
    """Over the best of the others that were left at the end."""
    runner_up: Config | None = None
    rounds: int = 0
    """Those that the gains rest on; what chose among the finalists is not among them."""
    pairs: int = 0
    """Readings of each configuration in those rounds."""
    disturbed: int = 0
    """Rounds that were taken again, since something held the clocks back for some of their members only."""
    trials: int
    """That the study had recorded by then; with more of them the verdict is out of date."""
    decided_at: str
    """UTC, ISO 8601, to the second."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; what is None is left out."""
        plain = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return {name: value for name, value in plain.items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; a field that this version does not know is left out."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        gains = {name: Gain.from_json(known[name]) for name in _GAINS if name in known}
        configs = {name: Config(known[name]) for name in ("winner", "runner_up") if name in known}
        winner = {"winner": None} | configs
        return cls(**{**known, **gains, **winner, "kind": VerdictKind(data["kind"])})


_GAINS = ("over_default", "over_incumbent", "over_runner_up")


def _plain(value: Any) -> Any:
    return value.to_json() if isinstance(value, Gain) else value.value if isinstance(value, VerdictKind) else value


def _percent(share: float) -> str:
    """With one digit after the point; without where it is tenfold or more."""
    percent = 100 * share
    return f"{percent:.1f}" if abs(percent) < 1000 else f"{percent:,.0f}"
