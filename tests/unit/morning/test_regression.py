"""The simulation of benchmarks/regression.py, made small, and what is said of what was found."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.morning.change import Cause, ChangeKind
from autotune.morning.location import center
from autotune.morning.regression import compare, rejected
from autotune.values import Config
from benchmarks.regression import HISTORY, Noise, Workplace, simulate

QUIET = replace(Noise(), throttled=0.0, outlier=0.0, missing=0.0)


@pytest.fixture
def place():
    return Workplace(QUIET, random.Random(3))


@pytest.fixture
def before(place):
    return [place.night(number, {}) for number in range(HISTORY)]


def changed(night, change):
    """The night with every result put through `change`."""
    return replace(night, results=tuple(map(change, night.results)))


def regressed(comparison):
    return [one for one in comparison.changes if one.kind is ChangeKind.REGRESSED]


def test_five_percent_are_found_and_nothing_is_invented():
    tally = simulate(15, (0.05, 0.0), seed=100)
    assert tally.found >= 14
    assert tally.false_alarms == 0


def test_a_history_of_two_nights_will_do():
    tally = simulate(15, (0.05, 0.0), history=2, seed=101)
    assert tally.found >= 14
    assert tally.false_alarms == 0


def test_what_no_night_before_measured_is_said_and_not_compared(place):
    comparison = compare(place.night(0, {}, whole=True), [])
    assert comparison.changes == ()
    assert set(comparison.uncompared) == set(place.targets)


def test_one_night_before_is_enough_to_find_a_large_regression(place):
    slower = {place.targets[5]: (0.2, 0.0)}
    (found,) = regressed(compare(place.night(1, slower, whole=True), [place.night(0, {}, whole=True)]))
    assert found.target == place.targets[5]
    assert found.size.low < -0.2 < found.size.high


def test_another_toolchain_is_the_first_suspect(place, before):
    tonight = changed(
        place.night(HISTORY, {place.targets[0]: (0.1, 0.0)}, whole=True),
        lambda result: replace(result, toolchain={**result.toolchain, "triton": "3.7.0"}),
    )
    (found,) = regressed(compare(tonight, before))
    assert found.cause is Cause.TOOLCHAIN
    assert "triton 3.6.0 → 3.7.0" in found.evidence


def test_the_night_after_a_change_of_toolchain_is_compared_with_the_new_one(place, before):
    slower = {place.targets[0]: (0.1, 0.0)}
    update = lambda result: replace(result, toolchain={"triton": "3.7.0"})  # noqa: E731
    first = changed(place.night(HISTORY, slower, whole=True), update)
    second = changed(place.night(HISTORY + 1, slower, whole=True), update)
    assert regressed(compare(first, before))
    assert not regressed(compare(second, [*before, first]))


def test_where_the_default_moved_as_much_the_hardware_is_suspected(place, before):
    (found,) = regressed(compare(place.night(HISTORY, {place.targets[0]: (0.1, 0.1)}, whole=True), before))
    assert found.cause is Cause.HARDWARE
    assert any("the default became" in text for text in found.evidence)


def test_another_device_on_which_the_default_differs_as_much_is_no_regression_of_the_workload(place):
    def moved(result):
        slow = lambda one: replace(one, device="GPU-9", medians=tuple(1.055 * value for value in one.medians))  # noqa: E731
        is_it = result.due.target == place.targets[0]
        return replace(result, readings=tuple(map(slow, result.readings))) if is_it else result

    comparison = compare(
        changed(place.night(HISTORY, {}, whole=True), moved), [place.night(number, {}) for number in range(HISTORY)]
    )
    assert regressed(comparison) == []
    one = next(change for change in comparison.changes if change.target == place.targets[0])
    assert one.cause is Cause.HARDWARE
    assert len(one.evidence) == 2


def test_a_device_that_slows_all_it_measures_is_told_once(place, before):
    def throttled(result):
        slow = lambda one: replace(one, medians=tuple(1.1 * value for value in one.medians))  # noqa: E731
        on_one = result.readings[0].device == "GPU-1"
        return replace(result, readings=tuple(map(slow, result.readings))) if on_one else result

    comparison = compare(changed(place.night(HISTORY, {}, whole=True), throttled), before)
    assert regressed(comparison) == []
    (shift,) = comparison.shifts
    assert shift.device == "GPU-1"
    assert shift.is_slower
    assert shift.cause is Cause.HARDWARE
    there = [one for one in comparison.changes if one.device == "GPU-1"]
    assert {one.cause for one in there} == {Cause.HARDWARE}


def test_another_configuration_in_place_is_compared_with_what_was_there(place, before):
    def replaced(result):
        first, default = result.readings
        return replace(result, readings=(replace(first, config=Config(tile=32)), default))

    tonight = changed(place.night(HISTORY, {place.targets[0]: (0.1, 0.0)}, whole=True), replaced)
    (found,) = regressed(compare(tonight, before))
    assert found.cause is Cause.CONFIGURATION


def test_of_a_metric_that_is_to_be_large_less_is_worse(place, before):
    def throughput(result):
        turn = lambda one: replace(one, medians=tuple(1000 / value for value in one.medians))  # noqa: E731
        return replace(result, direction="maximize", readings=tuple(map(turn, result.readings)))

    tonight = place.night(HISTORY, {place.targets[0]: (0.1, 0.0)}, whole=True)
    (found,) = regressed(compare(changed(tonight, throughput), [changed(night, throughput) for night in before]))
    assert found.size.mean == pytest.approx(-1 + 1 / 1.1, abs=0.02)


def test_values_without_a_logarithm_are_left_out(place, before):
    nothing = lambda one: replace(one, medians=(0.0, 1.0, 2.0))  # noqa: E731
    tonight = changed(
        place.night(HISTORY, {}, whole=True),
        lambda result: replace(result, readings=tuple(map(nothing, result.readings))),
    )
    assert compare(tonight, before).changes == ()


def test_a_default_that_became_faster_is_no_regression(place, before):
    assert regressed(compare(place.night(HISTORY, {place.targets[0]: (0.0, -0.1)}, whole=True), before)) == []


@given(st.dictionaries(st.integers(), st.floats(0, 1), max_size=20), st.floats(1e-6, 0.2))
def test_holm_is_between_bonferroni_and_no_correction(chances, error):
    fallen = rejected(chances, error)
    assert {key for key, chance in chances.items() if chance <= error / len(chances)} <= fallen
    assert all(chances[key] <= error for key in fallen)


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=9), st.floats(-1e6, 1e6))
def test_one_wild_number_does_not_move_the_centre_out_of_the_others(values, wild):
    assert min(values) <= center([*values, wild]) <= max(values)
