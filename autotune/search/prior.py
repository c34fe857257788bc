"""Prior: what was measured of siblings, the same kernel on another GPU, problem or version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.values import Config

Outcomes = Mapping[Config, float | None]
"""Values to be minimised, in any unit; None where the configuration failed."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What each source measured, by its name; the sources need not agree with one another, nor with what is to come."""

    sources: Mapping[str, Outcomes] = field(default_factory=dict)
