"""Phases: which phase a trial is in and how long each took; what happens in them lives elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

OnPhase = Callable[[str], None]

PREPARE, WARM_UP, MEASURE, VERIFY = "prepare", "warm_up", "measure", "verify"
COMPILE = "compile"
"""Ahead of a trial in a process of its own; in the trial's, only what a workload's hook says or finds ready then."""
WAIT = "wait"
"""For a device that somebody else measures on: no time of the trial's own, neither against its limit nor in its sum."""


class Phases:
    """The phase under way and the wall seconds of each; one that is entered again goes on counting."""

    def __init__(self, on_phase: OnPhase) -> None:
        self._on_phase = on_phase
        self._phase_s: dict[str, float] = {}
        self._since_s: float | None = None
        self.current = ""

    def start(self, name: str) -> None:
        """Ends the one before."""
        self.end()
        self.current, self._since_s = name, time.perf_counter()
        self._on_phase(name)

    def end(self) -> dict[str, float]:
        """What each has taken so far; `current` stays, to say where a failure was."""
        if self._since_s is not None:
            took_s = time.perf_counter() - self._since_s
            self._phase_s[self.current] = round(self._phase_s.get(self.current, 0.0) + took_s, 6)
            self._since_s = None
        return self._phase_s
