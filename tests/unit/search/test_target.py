import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autotune.search.record import Record
from autotune.search.target import Target, goal_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=50))
def test_it_is_finite_and_keeps_the_order(values):
    values = np.sort(np.array(values))
    goal = Target.of(values)(values)
    assert np.isfinite(goal).all()
    assert (np.diff(goal) >= -1e-9).all()


def test_it_does_not_depend_on_sign_or_unit():
    values = np.array([1.0, 1.1, 2.0, 5.0, 9.0])
    assert np.allclose(Target.of(values)(values), Target.of(1e6 * values - 3e6)(1e6 * values - 3e6))


def test_it_stretches_the_best_end():
    values = np.array([1.0, 1.2, 5.0, 5.2, 100.0])
    goal = Target.of(values)(values)
    assert goal[1] - goal[0] > goal[3] - goal[2]


def recorded(*outcomes):
    record = Record(1)
    for place, outcome in enumerate(outcomes):
        record.add((place,))
        if outcome:
            record.settle((place,), *outcome)
    return record


def test_a_failure_and_what_is_pending_have_no_value_and_are_given_none():
    goal = goal_of(recorded((1.0, 0.0), (3.0, 0.0), (None, 0.0), None))
    assert goal[1] > goal[0]
    assert np.isnan(goal[2:]).all()


def test_where_hardly_anything_ran_a_failure_counts_as_the_worst():
    goal = goal_of(recorded((1.0, 0.0), (None, 0.0), None))
    assert goal[1] >= goal[0]
    assert np.isnan(goal[2])


def test_until_bounds_are_kept_their_excess_is_the_goal():
    goal = goal_of(recorded((1.0, 0.9), (3.0, 0.1), (2.0, 0.5)))
    assert goal[1] < goal[2] <= goal[0]
