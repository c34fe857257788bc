"""ValidSet: the configurations of a space that its constraints leave for one problem on one device."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from autotune.space import SearchSpace
from autotune.space.decision_diagram import ABSENT, Node
from autotune.space.neighbourhood import Target, nearest, neighbours
from autotune.space.rejection import Rejection, nothing_left, rejections
from autotune.space.solver import SECONDS, STEPS, find, solve
from autotune.space.walk import Budget, OverBudget, Walk
from autotune.values import Config, Problem, Scalar

if TYPE_CHECKING:
    from autotune.device import Device

_MOST_DRAWS = 5_000
_ENOUGH_HITS = 200
_REJECTED_IN_A_ROW = 10_000
_NEAREST_TRIED = 2000
_NEAREST_STEPS = 200_000
_COMPLETIONS = 1_000
_PATIENCE = 5
"""How many times longer than for a sample it looks for a first valid configuration."""


class ValidSet:
    """The valid configurations, held as a decision diagram: counted, sampled and searched without a list of them.

    Where the constraints are too entangled for a diagram of all of them (see `solver.STEPS`), some are left outside and
    applied to what the diagram of the others gives: `exact` is then False.
    """

    def __init__(self, space: SearchSpace, problem: Problem, device: Device | None) -> None:
        self.space = space
        self.problem = problem
        self.device = device
        self._names = list(space.parameters)
        self._parameters = list(space.parameters.values())
        self._bound = [(constraint, constraint.bound(problem, device)) for constraint in space.constraints]
        root, self._outside = solve(space.layout, self._bound)
        if root is None:
            raise nothing_left(space.layout, self._bound, problem, device)
        self._root = root
        self._walk = Walk(space.layout, self._outside)
        self._default_values = space.declared_values(problem, device)
        self._hits, self._draws = self._drawn() if self._outside else (1, 1)
        declared = space.without_inactive(self._default_values)
        self.default_is_declared = declared in self
        self.default = declared if self.default_is_declared else self._nearest_default()

    @property
    def exact(self) -> bool:
        """Whether all constraints are in the diagram: `size` is exact, `sample` uniform."""
        return not self._outside

    @property
    def size(self) -> int:
        """How many valid configurations there are; where not exact, estimated from the share of accepted draws."""
        return max(1, self._root.count * max(1, self._hits) // self._draws)

    @property
    def share(self) -> float:
        """Of the configurations of the space that are valid."""
        return self.size / self.space.size

    def __contains__(self, config: object) -> bool:
        indices = self._indices(config) if isinstance(config, Mapping) else None
        node: Node | None = self._root
        for index in indices or ():
            node = node and node.child(index)
        return indices is not None and node is not None and self._accepts(indices)

    def __iter__(self) -> Iterator[Config]:
        """All of them, in lexicographic order of the value indices, lazily."""
        return (self._config(indices) for indices in self._root.paths() if self._accepts(indices))

    def nth(self, rank: int) -> Config:
        """The one at that place of the iteration, from 0; at once, unless not exact: then by iterating."""
        if self.exact and 0 <= rank < self.size:
            return self._config(self._root.path(rank))
        found = None if self.exact or rank < 0 else next(islice(self, rank, None), None)
        if found is None:
            raise IndexError(f"there is no valid configuration {rank}; there are {self.size}")
        return found

    def columns(self) -> dict[str, array[int]]:
        """All of them in the order of iteration: for each parameter its value indices as an array('i'), ABSENT is -1.

        For the whole set at once, where it is small enough to be held: 10^6 configurations take a fraction of a second.
        """
        if self.exact:
            return dict(zip(self._names, self._root.columns(), strict=True))
        columns = [array("i") for _ in self._names]
        for indices in filter(self._accepts, self._root.paths()):
            for column, index in zip(columns, indices, strict=True):
                column.append(index)
        return dict(zip(self._names, columns, strict=True))

    def row(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Its value indices in the order of the parameters, ABSENT where inactive; ValueError where it has none."""
        indices = self._indices(config)
        if indices is None:
            raise ValueError(f"{dict(config)} is not made of the names and values of this space")
        return indices

    def at(self, row: Sequence[int]) -> Config:
        """The configuration of these value indices, the inverse of `row`."""
        return self._config(row)

    def sample(self, rng: random.Random) -> Config:
        """A valid configuration drawn uniformly.

        Where not exact, by drawing until the constraints outside accept. Should they reject thousands in a row, it is
        where a randomised search, or the default if that finds none, leads after some random steps to neighbours: then
        nothing is said of how likely each is.
        """
        drawn = self._draw(rng)
        if drawn is not None:
            return drawn
        config = self._searched(rng, STEPS // 10) or self.default
        for _ in self._names:
            config = rng.choice(self.neighbours(config) or [config])
        return config

    def nearest(self, config: Mapping[str, Any]) -> Iterator[Config]:
        """Valid configurations, the nearest first: by how many parameters differ, then by how far.

        `config` is a wish: it may be invalid, lack parameters, and have values for inactive ones. A parameter that it
        lacks, or that is inactive in the other, is no difference. How far: the sum over the parameters that are active
        of the steps between the value indices as a share of the longest way, of 1 for parameters that are not ordinal;
        what `config` lacks should be at its default. Ends early where it would take long.
        """
        found = nearest(self._root, self._targets(self.space.checked(config)), _NEAREST_STEPS)
        if self._outside:  # each is tried against predicates: a sparse set must not cost a second to look through
            found = islice(found, _NEAREST_TRIED)
        return (self._config(indices) for indices in found if self._accepts(indices))

    def neighbours(self, config: Mapping[str, Any]) -> list[Config]:
        """The valid configurations that differ in the value of exactly one parameter, the nearest of each first.

        Parameters that this activates are at their default where that is valid, else as near to it as is valid. Of a
        parameter with very many values the nearest 256 are looked at. `config` itself need not be valid.
        """
        given = self.space.config(config)
        indices = self._indices(given) or ()
        ways = neighbours(self._root, indices, self._targets(given))
        found = (next(filter(self._accepts, islice(paths, _COMPLETIONS)), None) for paths in ways)
        return [self._config(path) for path in found if path is not None]

    def rejections(self, rng: random.Random) -> list[Rejection]:
        """For each constraint the share of all configurations that it rejects by itself, with an example."""
        return rejections(self.space.layout, self.space.diagram, self._bound, rng)

    def _indices(self, config: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Its value indices; None where it is not made of this space's names and values."""
        if not config.keys() <= self.space.parameters.keys():
            return None
        try:
            values = zip(self._names, self._parameters, strict=True)
            return tuple(p.index(config[name]) if name in config else ABSENT for name, p in values)
        except ValueError:
            return None

    def _config(self, indices: Sequence[int]) -> Config:
        config = Config.__new__(Config)  # the names and values were checked when the space was declared
        dict.update(
            config,
            {
                name: parameter.values[index]
                for name, parameter, index in zip(self._names, self._parameters, indices, strict=True)
                if index != ABSENT
            },
        )
        return config

    def _accepts(self, indices: Sequence[int]) -> bool:
        return not self._outside or self._walk.accepts(indices)

    def _targets(self, wish: Mapping[str, Scalar]) -> list[Target]:
        targets = []
        for name, parameter in self.space.parameters.items():
            value = wish.get(name, self._default_values.get(name, parameter.default))
            span = len(parameter.values) - 1 if parameter.ordinal else None
            targets.append(Target(index=parameter.index(value), wished=name in wish, span=span))
        return targets

    def _drawn(self) -> tuple[int, int]:
        """How many draws from the diagram the constraints outside accept, of how many."""
        rng, hits, draws = random.Random(0), 0, 0
        while draws < _MOST_DRAWS and hits < _ENOUGH_HITS:
            hits += self._accepts(self._root.path(rng.randrange(self._root.count)))
            draws += 1
        return hits, draws

    def _nearest_default(self) -> Config:
        """What is measured first where the declared default is invalid; raises SpaceError where nothing is valid."""
        rng = random.Random(0)
        found = next(self.nearest(self._default_values), None) or self._draw(rng)
        found = found or self._searched(rng, STEPS * _PATIENCE)
        if found is None:
            raise nothing_left(self.space.layout, self._bound, self.problem, self.device)
        return found

    def _draw(self, rng: random.Random) -> Config | None:
        for _ in range(_REJECTED_IN_A_ROW if self._hits else 0):
            indices = self._root.path(rng.randrange(self._root.count))
            if self._accepts(indices):
                return self._config(indices)
        return None

    def _searched(self, rng: random.Random, steps: int) -> Config | None:
        """One that a search finds; None where there is none or the search takes too long."""
        try:
            found = find(self.space.layout, self._root, self._outside, rng, Budget(steps, SECONDS * steps / STEPS))
        except OverBudget:
            return None
        return None if found is None else self._config(found)
