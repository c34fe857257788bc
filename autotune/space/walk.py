"""Walk: an assignment that is completed parameter by parameter while constraints wait; where it goes is `solver`'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from autotune.errors import SpaceError
from autotune.space.constraint import INACTIVE, Assignment, Constraint
from autotune.space.decision_diagram import ABSENT, Layout

Bound = tuple[Constraint, Callable[..., Any]]
"""A constraint with its predicate as a function of the configuration alone."""
Waits = tuple[int, ...]
"""For each constraint the place of the parameter that it waits for, or one of the two below."""

SATISFIED = -1
REJECTED = -2

_STEPS_PER_CLOCK = 512

Result = TypeVar("Result")


class OverBudget(Exception):
    """It would take more steps or time than allowed."""


class Budget:
    """Steps, which are the same on every machine, and seconds, for predicates that are slow."""

    def __init__(self, steps: float, seconds: float) -> None:
        self._left = steps
        self._clock = _STEPS_PER_CLOCK
        self._deadline = time.monotonic() + seconds

    def spend(self, steps: int) -> None:
        """Raises OverBudget where they are not left."""
        self._left -= steps
        self._clock -= steps
        if self._left < 0:
            raise OverBudget
        if self._clock < 0:
            self._clock = _STEPS_PER_CLOCK
            if time.monotonic() > self._deadline:
                raise OverBudget


class Walk:
    """An assignment that is completed parameter by parameter, and the constraints that wait along the way.

    Sets of what was read are bits: bit i is the parameter at place i.
    """

    def __init__(self, layout: Layout, constraints: Sequence[Bound]) -> None:
        self.names = list(layout.parameters)
        self.parameters = list(layout.parameters.values())
        self.constraints = constraints
        self.place = {name: place for place, name in enumerate(self.names)}
        self.bit = {name: 1 << place for place, name in enumerate(self.names)}
        self.assignment = Assignment(layout.parameters, {})
        self.indices = [ABSENT] * len(self.names)

    def assign(self, place: int, index: int) -> None:
        """Choose a value for the parameter at that place."""
        self.indices[place] = index
        value = INACTIVE if index == ABSENT else self.parameters[place].values[index]
        self.assignment.values[self.names[place]] = value

    def retract(self, place: int) -> None:
        """Undo `assign`."""
        del self.assignment.values[self.names[place]]

    def waiting(self, waits: Waits, place: int) -> list[int]:
        """The constraints that wait for the parameter at that place."""
        return [which for which, awaited in enumerate(waits) if awaited == place]

    def start(self) -> Waits | None:
        """What the constraints wait for before anything is chosen; None where one rejects everything."""
        every = range(len(self.constraints))
        return self.judge((SATISFIED,) * len(every), every)[0]

    def judge(self, waits: Waits, which: Sequence[int]) -> tuple[Waits | None, int]:
        """What constraints wait for once these are run (again), None where one rejects; and what they read."""
        after, read = list(waits), 0
        for one in which:
            after[one] = self._judge(one)
            read |= sum([self.bit[name] for name in self.assignment.read])
            if after[one] == REJECTED:
                return None, read
        return tuple(after), read

    def _judge(self, which: int) -> int:
        _, predicate = self.constraints[which]
        assignment = self.assignment
        try:
            verdict = assignment.judge(predicate)
        except SpaceError:
            raise
        except Exception:  # at the end, if no other constraint rejects what this one cannot take
            return len(self.names)
        if verdict is None:
            return self.place[assignment.stopped_at[0]]
        return SATISFIED if verdict else REJECTED

    def finish(self, waits: Waits) -> None:
        """Raises SpaceError where a constraint raised on the now complete assignment, which all the others accept."""
        for (constraint, predicate), awaited in zip(self.constraints, waits, strict=True):
            if awaited == len(self.names):
                try:
                    self.assignment.judge(predicate)
                except Exception as error:
                    raise constraint.fault(error, self.assignment) from error

    def accepts(self, indices: Sequence[int]) -> bool:
        """Whether every constraint is satisfied by the configuration."""
        for place, index in enumerate(indices):
            self.assign(place, index)
        waits = self.start()
        if waits is not None:
            self.finish(waits)
        self.assignment.values.clear()
        return waits is not None


class Memory(Generic[Result]):
    """Results by what they rest on: found again for every assignment that agrees on what was read."""

    def __init__(self, indices: list[int]) -> None:
        self._indices = indices
        self._results: dict[Any, dict[int, dict[Any, Result]]] = {}
        self._getters: dict[int, Callable[[list[int]], Any]] = {0: lambda indices: None}

    def recall(self, key: Any) -> tuple[Result, int] | None:
        """The result, and what it rests on, where one is known for the present values."""
        for read, results in self._results.get(key, {}).items():
            values = self._getters[read](self._indices)
            if values in results:
                return results[values], read
        return None

    def keep(self, key: Any, read: int, result: Result) -> None:
        """Remember a result that rests on the present values of what was read."""
        if read not in self._getters:
            self._getters[read] = itemgetter(*(place for place in range(read.bit_length()) if read >> place & 1))
        self._results.setdefault(key, {}).setdefault(read, {})[self._getters[read](self._indices)] = result
