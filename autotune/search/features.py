"""Features: what a model sees of a configuration: its coordinates, and what siblings say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.search.encoding import Encoding, Floats, Rows
from autotune.search.sibling import Sibling

BELIEF = 0.7
"""Of the goal that siblings say on average, this much is expected here before anything is known: kernels that are
fast on one GPU are mostly fast on another, but not as far ahead of the rest."""


@dataclass(frozen=True, slots=True)
class Features:
    """Of a space, with the siblings that are listened to."""

    encoding: Encoding
    siblings: Sequence[Sibling] = ()

    def said(self, rows: Rows) -> Floats:
        """The goal by each sibling, (rows, siblings)."""
        if not self.siblings:
            return np.zeros((len(rows), 0))
        return np.stack([sibling(rows) for sibling in self.siblings], axis=1)

    def expected(self, rows: Rows) -> Floats:
        """The goal that siblings let one expect, (rows,); 0 where none is listened to."""
        return np.asarray(BELIEF * self.said(rows).mean(1)) if self.siblings else np.zeros(len(rows))
