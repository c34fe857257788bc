"""Middle: the configuration in the middle of those that are listed, which is the default where none is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.space import SearchSpace
from autotune.space.parameter import Parameter
from autotune.values import Config, Scalar


def space_around_middle(configs: Sequence[Config]) -> SearchSpace:
    """The space of exactly these configurations, the default of which is the one in their middle."""
    return SearchSpace.of([middle(configs, SearchSpace.of(configs).parameters), *configs])


def middle(configs: Sequence[Config], parameters: Mapping[str, Parameter]) -> Config:
    """The nearest to the middle value of each parameter, and to the first of one that is not ordinal.

    Nearest is as for `ValidSet.nearest`: by how many parameters differ, then by how far, as shares of the way through
    their values; of equals the one that is listed first.
    """
    differs = len(parameters) + 1.0  # more than all ways together, so that the number of differences is compared first
    cost = {
        name: {value: far + differs * (far > 0) for value, far in _distances(parameter).items()}
        for name, parameter in parameters.items()
    }
    return min(configs, key=lambda config: sum([cost[name][value] for name, value in config.items()]))


def _distances(parameter: Parameter) -> dict[Scalar, float]:
    """Of each value from the one to be preferred."""
    centre, last = (len(parameter.values) - 1) // 2, max(1, len(parameter.values) - 1)
    if parameter.ordinal:
        return {value: abs(place - centre) / last for place, value in enumerate(parameter.values)}
    return {value: float(place > 0) for place, value in enumerate(parameter.values)}
