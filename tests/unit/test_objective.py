import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import maximize, minimize
from autotune.errors import WorkloadError
from autotune.objective import Objective

metric_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}[a-z0-9]", fullmatch=True).filter(lambda n: not n.endswith("_min"))
bounds = st.dictionaries(metric_names, st.floats(-1e9, 1e9), max_size=3)


@given(metric_names, bounds, st.booleans())
def test_text_reads_back_as_the_same_objective(metric, limits, lower):
    subject_to = {name + ("_min" if lower else ""): limit for name, limit in limits.items()}
    objective = maximize(metric, subject_to)
    assert Objective.parse(objective.text) == objective


def test_the_default_is_to_minimise_the_latency_we_time():
    assert Objective().text == "minimize latency_ms"
    assert Objective().metrics == frozenset()


def test_speedup_is_above_one_for_better_in_both_directions():
    assert minimize().speedup(value=1.0, baseline=2.0) == 2.0
    assert maximize("tokens_per_s").speedup(value=200, baseline=100) == 2.0
    assert minimize().better(1.0, than=2.0)
    assert maximize("tokens_per_s").better(2.0, than=1.0)


def test_upper_and_lower_bounds_decide_feasibility():
    objective = maximize("tokens_per_s", subject_to={"p99_ms": 200, "recall_min": 0.9})
    assert objective.metrics == {"tokens_per_s", "p99_ms", "recall"}
    assert objective.feasible({"p99_ms": 200, "recall": 0.9})
    assert not objective.feasible({"p99_ms": 201, "recall": 0.95})
    assert not objective.feasible({"p99_ms": 100, "recall": 0.89})
    assert objective.violations({"p99_ms": 100})["recall_min"] == math.inf


@pytest.mark.parametrize("limit", ["200", True, math.nan, math.inf, None])
def test_a_bound_that_is_no_finite_number_is_refused(limit):
    with pytest.raises(WorkloadError, match="a bound is a finite number"):
        maximize("tokens_per_s", subject_to={"p99_ms": limit})
