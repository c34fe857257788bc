"""CompileLimit: how long a compilation may take, learned from those that ended; it is enforced in compile_pool.py."""

from __future__ import annotations

import math
from bisect import insort

LEAST_S = 2.0
FACTOR = 4.0
"""Times the 90th percentile."""
SHARE = 0.9
ENOUGH = 5
"""Compilations to be seen before anything is said."""


class CompileLimit:
    """A hung compiler is killed after a few times what others took, and not after the whole time of a trial."""

    def __init__(self) -> None:
        self._seen_s: list[float] = []

    def note(self, seconds: float) -> None:
        """A compilation that ended, and was not found in a cache."""
        insort(self._seen_s, seconds)

    def seconds(self, timeout_s: float) -> float:
        """What holds now for a trial with that limit of its own."""
        if len(self._seen_s) < ENOUGH:
            return timeout_s
        return min(timeout_s, max(LEAST_S, FACTOR * self._usual_s))

    def reason(self, timeout_s: float) -> str:
        """Why it is that long, with the numbers."""
        if self.seconds(timeout_s) == timeout_s:
            return f"timeout_s={timeout_s:g} in @workload"
        return f"nine of ten of the {len(self._seen_s)} compilations before took {self._usual_s:.2g} s or less"

    @property
    def _usual_s(self) -> float:
        return self._seen_s[math.ceil(SHARE * len(self._seen_s)) - 1]
