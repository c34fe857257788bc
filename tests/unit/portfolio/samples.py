"""Matrices of measured values, as hypothesis draws them."""

from hypothesis import strategies as st

from autotune.objective import Objective
from autotune.portfolio.losses import Losses
from autotune.portfolio.portfolio import Pick, Portfolio
from autotune.portfolio.sizes import sizes
from autotune.values import Config, Problem

VALUES = st.none() | st.floats(1e-3, 1e3) | st.sampled_from([1.0, 1.01, 2.0])
"""Of one configuration on one problem; None where it failed or was not measured."""
OBJECTIVES = st.sampled_from([Objective(), Objective("score", "maximize")])
PROBLEMS = st.fixed_dictionaries(
    {
        "m": st.integers(1, 4096),
        "n": st.sampled_from([1.5, 64.0, 1000.0]),
        "dtype": st.sampled_from(["bfloat16", "float8"]),
        "flag": st.booleans(),
    }
).map(Problem)


@st.composite
def columns(draw, most_configs=5, most_problems=6, problems=PROBLEMS):
    """Problems with a value for each configuration, at least one of which ran."""
    chosen = draw(st.lists(problems, min_size=1, max_size=most_problems, unique_by=lambda problem: problem.text))
    count = draw(st.integers(1, most_configs))
    rows = st.lists(VALUES, min_size=count, max_size=count).filter(any)
    return [
        (problem, {Config(block_m=number): value for number, value in enumerate(draw(rows)) if value is not None})
        for problem in chosen
    ]


def losses_of(values, objective=None, problems=None):
    """A matrix from rows of values, one per configuration, None where it failed."""
    count = len(values[0])
    wanted = problems or [Problem(m=2**number) for number in range(count)]
    named = [
        (wanted[place], {Config(block_m=n): row[place] for n, row in enumerate(values) if row[place] is not None})
        for place in range(count)
    ]
    return Losses.of(objective or Objective(), named)


def portfolio(**changes):
    """Of matmul on four sizes: one configuration up to 90, another beyond; it loses 2.1 % on one of them."""
    problems = [Problem(m=m) for m in (16, 64, 128, 4096)]
    found = sizes(losses_of([[1.0, 1.0, 2.0, 2.0], [2.0, 2.0, 1.0, 1.021], [9.0, 9.0, 9.0, 1.0]], problems=problems), 2)
    picks = [
        Pick(problem=one, best=Config(block_m=min(n, 2)), value=1.0, config=found[-1].rule.number(one), loss=loss)
        for n, (one, loss) in enumerate(zip(problems, found[-1].losses, strict=True))
    ]
    values = {
        "workload": "matmul",
        "version": "0123456789ab",
        "sku": "h200",
        "gpus": 1,
        "metric": "latency_ms",
        "direction": "minimize",
        "cache": "cold",
        "rule": found[-1].rule,
        "picks": tuple(picks),
        "sizes": tuple(sized.loss for sized in found),
        "missing": (Problem(m=8192),),
        "toolchain": {"torch": "2.11.0"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "provenance": {"trials": {"m=16": 100}},
    }
    return Portfolio(**values | changes)
