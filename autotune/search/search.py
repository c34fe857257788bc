"""Search: which valid configuration to measure next; what a model makes of those measured is `surrogate`'s."""

from __future__ import annotations

import numpy as np

from autotune.search.catalogue import Catalogue
from autotune.search.design import farthest
from autotune.search.encoding import Encoding, Row
from autotune.search.features import Features
from autotune.search.one_core import one_core
from autotune.search.prior import Prior
from autotune.search.record import Record
from autotune.search.sibling import siblings_of
from autotune.search.surrogate import Surrogate
from autotune.space.valid_set import ValidSet
from autotune.values import Config

DESIGN = 8
"""Outcomes known before the model is asked; 16 scored the same on synthetic spaces. Where many are in flight the design
goes on until then: with 64 that scored .44 (mean over budgets), .34 where chance filled the gap, .29 with the model."""
LED = 4
"""The same where siblings lead: enough to see whether they can be trusted."""
SPREAD_OVER = 1000
"""Configurations among which the next one of the design is looked for, drawn anew: so that seeds differ."""
LOOKED_THROUGH = 5000
"""Configurations among which siblings' best is looked for, next to the best that they recorded."""


class Search:
    """Proposes valid configurations and learns from outcomes; knows value indices, but no Optuna and no objective.

    Deterministic: the same seed and the same calls in the same order give the same proposals. Many proposals may be
    outstanding; what is pending is what was asked or announced, and neither told nor forgotten.
    """

    def __init__(self, valid: ValidSet, *, seed: int = 0, prior: Prior | None = None) -> None:
        self._valid = valid
        self._chance = np.random.default_rng(seed)
        self._catalogue = Catalogue(valid, seed)
        self._encoding = Encoding.of(valid.space.parameters)
        self._record = Record(len(valid.space.parameters))
        self._siblings = siblings_of(prior, valid, self._encoding) if prior else []
        self._surrogate = Surrogate(self._catalogue, self._encoding, self._record, self._siblings)

    def ask(self) -> Config | None:
        """The next configuration to measure, never one that was asked or announced before; None when all were."""
        if self._valid.exact and len(self._record) >= self._valid.size:
            return None
        with one_core():
            row = self._designed() or self._modelled() or self._any()
        if row is None:
            return None
        self._add(row)
        return self._valid.at(row)

    def announce(self, config: Config) -> None:
        """Somebody else chose this configuration: it is pending now."""
        self._add(self._valid.row(config))

    def tell(self, config: Config, value: float | None, violation: float = 0.0) -> None:
        """What came of a configuration: a value to be minimised, or None where it failed.

        `violation` is by how much it breaks a bound of the objective, as a share of the bound. Where it keeps all it is
        0, or less than that by how much is left to the nearest.
        """
        row = self._valid.row(config)
        self._add(row)
        self._record.settle(row, value, violation)

    def forget(self, config: Config) -> None:
        """The configuration was lost: it is not pending any more, and may be asked again."""
        self._record.drop(self._valid.row(config))
        self._surrogate.expire()

    def best(self) -> Config | None:
        """What succeeded and is believed to be best: under noise not always the least value. None if nothing did."""
        if not self._record.succeeded:
            return None
        row = self._surrogate.best() if self._record.informative else self._record.least
        return None if row is None else self._valid.at(row)

    def _add(self, row: Row) -> None:
        if row not in self._record:
            self._surrogate.extend(self._record.add(row))

    def _designed(self) -> Row | None:
        """Before there is a model: one far from all others; where siblings lead, two of their best to each such."""
        asked = len(self._record)
        led = self._siblings and self._surrogate.trusting
        enough = LED if led else DESIGN
        if asked >= enough and self._record.settled >= enough:
            return None
        rows = self._catalogue.draw(SPREAD_OVER)
        if led and asked % 3 < 2:
            rows = np.vstack([self._catalogue.draw(LOOKED_THROUGH), *(sibling.leaders for sibling in self._siblings)])
            expected = Features(self._encoding, self._siblings).expected(rows)
            ranked = map(tuple, rows[np.argsort(expected, kind="stable")].tolist())
            return next((row for row in ranked if row not in self._record), None)
        taken = self._record.rows[self._record.numbers]
        row: Row = tuple(rows[farthest(self._encoding, rows, taken, self._chance)].tolist())
        return None if row in self._record else row

    def _modelled(self) -> Row | None:
        return self._surrogate.proposal() if self._record.informative else None

    def _any(self) -> Row | None:
        """One that was not asked, by chance."""
        for row in map(tuple, self._catalogue.shuffled().tolist()):
            if row not in self._record:
                return row
        every = map(self._valid.row, self._valid)
        return next((row for row in every if row not in self._record), None)
