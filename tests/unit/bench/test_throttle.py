"""Measuring again where something holds the clocks back that was not there for the rival."""

import pytest

from autotune.bench import throttle
from autotune.bench.throttle import undisturbed
from autotune.device import cpu_device
from autotune.measurement import Conditions

CAP, HOT = "sw_power_cap", "hw_thermal_slowdown"


@pytest.fixture
def measure(monkeypatch):
    """Measures under the reasons given for each time before and after it; gives the number of the measurement."""
    paused, now_s = [], [0.0]
    monkeypatch.setattr(throttle.time, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(throttle.time, "sleep", lambda seconds: paused.append(seconds) if seconds else None)

    def prepare(*reasons, known=(), took_s=0.01, extra_s=0.3):
        seen = iter(reasons)
        monkeypatch.setattr(throttle, "conditions", lambda device: Conditions(throttle=next(seen), power_w=700.0))
        times = []

        def once():
            now_s[0] += took_s
            times.append(1)
            return len(times)

        number, state = undisturbed(once, cpu_device(), known, extra_s)
        return number, state, [seconds for seconds in paused if seconds]

    return prepare


def test_what_was_seen_before_and_after_is_kept(measure):
    number, state, _ = measure((CAP,), (CAP, HOT), known=None)
    assert (number, state.throttle, state.disturbed) == (1, (CAP, HOT), ())
    assert state.power_w == 700.0


def test_known_reasons_disturb_nobody(measure):
    number, state, _ = measure((), (CAP,), known=(CAP,))
    assert (number, state.throttle, state.disturbed) == (1, (CAP,), ())


def test_a_new_reason_that_goes_away_leaves_no_trace(measure):
    number, state, paused = measure((), (HOT,), (), ())
    assert (number, state.throttle, state.disturbed) == (2, (), ())
    assert paused == [throttle.PAUSE_S]


def test_a_new_reason_that_stays_is_marked_after_two_repeats(measure):
    number, state, paused = measure(*[(CAP,)] * 6)
    assert (number, state.throttle, state.disturbed) == (3, (CAP,), (CAP,))
    assert not paused  # the configuration draws that power whenever it runs


def test_repeats_end_with_the_time_for_them(measure):
    number, state, _ = measure(*[(CAP,)] * 6, took_s=0.2, extra_s=0.3)
    assert (number, state.disturbed) == (2, (CAP,))
    assert measure(*[(CAP,)] * 6, took_s=0.5, extra_s=0.3)[0] == 1
