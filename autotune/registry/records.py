"""What the registry takes and gives: studies and their trials as plain values; how they are stored is in `tables`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from autotune.measurement import Outcome
from autotune.values import Config, Problem
from autotune.verdict import Verdict

StudyState = Literal["running", "complete", "interrupted", "failed"]
Origin = Literal["default", "seed", "search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyKey:
    """Everything that makes two studies the same one: their trials may be put together only where all of it agrees."""

    workload: str
    version: str
    space_fingerprint: str
    problem: Problem
    sku: str
    gpus: int
    objective: str
    effort: str
    toolchain: Mapping[str, str]
    cache: str = "cold"

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON of all fields.

        A cold cache is left out: it is what studies had before they named it, and they are to be found again.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        text = canonical_json({name: value for name, value in values.items() if (name, value) != ("cache", "cold")})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrial:
    """A finished trial; `number` counts from 0 in the order of asking."""

    number: int
    config: Config
    outcome: Outcome
    origin: Origin
    finished_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRound:
    """A round in which configurations of a study were measured in turn; `number` counts from 1."""

    number: int
    outcomes: Mapping[Config, Outcome]
    recorded_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as the registry knows it; its trials are asked for separately."""

    id: int
    key: StudyKey
    path: str
    """Of the workload's file when the study was created."""
    device: str
    """The driver's name of the device that it was created on."""
    default_config: Config
    seed: int
    sampler: str
    state: StudyState
    """`running` is also the state that a killed process leaves behind."""
    elapsed_s: float
    created_at: str
    updated_at: str
    trials: int
    failures: int
    verdict: Verdict | None = None


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: equal values have equal text, on every database and in every process.

    ASCII only: lone surrogates and NUL, which a failing program may well print, are stored as escapes.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
