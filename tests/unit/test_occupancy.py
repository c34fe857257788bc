"""What a device's idle time is put down to, from when trials were submitted, came back, and how long they took."""

from concurrent.futures import Future

import pytest

from autotune import occupancy
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.occupancy import MeteredExecutor, Occupancy, Stay


def stay(submitted_s, done_s, busy_s):
    return Stay(submitted_s=submitted_s, done_s=done_s, busy_s=busy_s)


def test_what_is_worked_on_without_a_gap_is_no_idle_time_and_the_start_up_counts_apart():
    found = Occupancy.of([stay(10, 14, 1), stay(10, 15, 1), stay(10, 16, 1)], devices=1)
    assert (found.start_up_s, found.busy_s, found.idle_share) == (3, 3, 0)


def test_a_gap_with_a_trial_on_its_way_is_the_compilers_and_one_without_is_the_searchs():
    found = Occupancy.of([stay(0, 2, 1), stay(1, 5, 1), stay(8, 9, 1)], devices=1)
    assert (found.compilers_s, found.coordinator_s) == (2, 3)  # from 2 to 4, and from 5 to 8
    assert found.idle_share == pytest.approx(5 / 8)


def test_each_of_several_devices_is_counted():
    found = Occupancy.of([stay(0, 4, 4), stay(0, 4, 2), stay(3, 4, 0)], devices=3)
    assert found.busy_s == 6
    assert found.compilers_s == 2 + 1  # the second trial until 2, the third, which no device saw, from 3
    assert found.coordinator_s == 12 - 6 - 3


def test_nothing_is_said_where_no_device_worked():
    assert Occupancy.of([], devices=1) is None
    assert Occupancy.of([stay(0, 1, 0)], devices=1) is None


def test_one_and_no_idle_time_are_shown_in_words_and_as_json():
    found = Occupancy.of([stay(0, 2, 1), stay(1, 5, 2)], devices=1)
    assert (
        found.text
        == "idle for 25% of the time (waiting for compilers 1.0 s, for the search 0.0 s) after a start-up of 1.0 s"
    )
    assert found.to_json() == {
        "idle_share": 0.25,
        "start_up_s": 1.0,
        "busy_s": 3.0,
        "compilers_s": 1.0,
        "coordinator_s": 0.0,
    }


class Executing:
    def __init__(self):
        self.futures = []

    def submit(self, trial):
        self.futures.append(Future())
        return self.futures[-1]

    submit_round = submit

    def devices(self):
        return [type("Device", (), {"sku": "gpu"})()]


def test_an_executor_is_metered_by_the_working_phases_of_what_it_gives(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(occupancy.time, "monotonic", lambda: now[0])
    inner = Executing()
    metered = MeteredExecutor(inner)
    for submit in (metered.submit, metered.submit, metered.submit_round, metered.submit, metered.submit):
        submit(None)
    one = Measurement(metrics={"latency_ms": Samples((1.0,))}, phase_s={"wait": 5.0, "prepare": 1.0, "measure": 1.0})
    broken = Failure(kind=FailureKind.TIMEOUT, message="", phase_s={"load": 9.0, "warm_up": 2.0})
    for at_s, future, result in zip((3.0, 6.0, 10.0), inner.futures, (one, broken, (one, one)), strict=False):
        now[0] = at_s
        future.set_result(result)
    inner.futures[3].cancel()
    inner.futures[4].set_exception(RuntimeError())
    found = metered.occupancy("gpu")
    assert (found.start_up_s, found.busy_s, found.compilers_s, found.coordinator_s) == (1, 8, 1, 0)
