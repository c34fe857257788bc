"""Event: what happened to the machines while trials ran; what became of the trials themselves is in `measurement`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class EventKind(StrEnum):
    """What a report must name, whether or not any trial suffered from it."""

    JOINED = "joined"
    """A node and its devices became usable after the start."""
    LOST = "lost"
    """A node, or the process that stands for it, went away; what ran there is run elsewhere."""
    REPLACED = "replaced"
    """A worker was killed, or died, and has a successor."""
    QUARANTINED = "quarantined"
    """A device failed its canary after its worker was replaced; nothing more is run on it."""
    DATABASE = "database"
    """The registry could not be reached for a while."""
    RESUMED = "resumed"
    """Another coordinator had begun this and ended without finishing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of them."""

    kind: EventKind
    at: str
    """UTC, ISO 8601, to the second."""
    node: str
    """The host's name, or its address in the cluster."""
    device: str
    """A UUID; empty where it concerns a whole node."""
    message: str
    """One sentence."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**data, "kind": EventKind(data["kind"])})
