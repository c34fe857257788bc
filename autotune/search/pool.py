"""Pool: the candidates among which the next configuration is chosen; what they promise is `acquisition`."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from autotune.search.encoding import Row, Rows


class Pool:
    """Distinct rows, each open until it is asked."""

    def __init__(self, rows: Rows, asked: Container[Row]) -> None:
        places = dict.fromkeys(map(tuple, rows.tolist()))
        self._places: dict[Row, int] = dict(zip(places, range(len(places)), strict=True))
        self.rows: Rows = np.array(list(places), dtype=np.int32)
        self.open: NDArray[np.bool_] = np.array([row not in asked for row in places])

    def close(self, row: Row) -> None:
        """It is asked now."""
        place = self._places.get(row)
        if place is not None:
            self.open[place] = False
