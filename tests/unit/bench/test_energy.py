"""Energy of a call, on a device whose counter and whose time are made up."""

import pytest

from autotune.bench import energy
from autotune.bench.energy import energy_per_call
from autotune.device import cpu_device


class Board:
    """Draws so many watts in a call, in what surrounds it, and idle; the counter moves every `every_s` only."""

    def __init__(self, call_w=400.0, around_w=100.0, call_s=1e-3, around_s=5e-4, every_s=0.1):
        self.call_w, self.around_w, self.call_s, self.around_s, self.every_s = (
            call_w,
            around_w,
            call_s,
            around_s,
            every_s,
        )
        self.now_s, self.joules, self.shown, self.calls = 0.0, 0.0, (0.0, 0.0), 0

    def run(self, call, count):
        self.now_s += count * (self.around_s + (self.call_s if call else 0))
        self.joules += count * (self.around_w * self.around_s + (self.call_w * self.call_s if call else 0))
        self.calls += count if call else 0

    def energy_j(self, device):
        if self.now_s - self.shown[0] >= self.every_s:
            self.shown = self.now_s, self.joules
        return self.shown[1]


@pytest.fixture
def made(monkeypatch):
    def make(**properties):
        board = Board(**properties)
        monkeypatch.setattr(energy, "energy_j", board.energy_j)
        monkeypatch.setattr(energy.time, "monotonic", lambda: board.now_s)
        return board

    return make


def measured(board, cap_s=1.0):
    return energy_per_call(lambda: None, board, cpu_device(), cap_s)


def test_what_surrounds_the_calls_is_subtracted(made):
    samples = measured(made())
    assert len(samples.values) == 2
    assert samples.median == pytest.approx(0.4, rel=0.001)


def test_a_short_call_is_measured_over_many(made):
    board = made(call_s=5e-6, around_s=3e-5)
    assert measured(board).median == pytest.approx(0.002, rel=0.02)
    assert board.calls > 1000


def test_a_call_longer_than_a_window_is_measured_over_a_few(made):
    board = made(call_s=2.0, around_s=0.0)
    assert measured(board).median == pytest.approx(800)
    assert board.calls < 10


def test_where_nothing_surrounds_the_calls_nothing_is_subtracted_and_there_are_more_readings(made):
    samples = measured(made(around_s=0.0))
    assert samples.median == pytest.approx(0.4)
    assert len(samples.values) == 4


def test_one_window_is_measured_however_short_the_time(made):
    assert len(measured(made(), cap_s=0.01).values) == 1


def test_a_device_that_tells_nothing_has_none(monkeypatch):
    monkeypatch.setattr(energy, "energy_j", lambda device: None)
    assert measured(Board()) is None


def test_a_counter_that_stands_still_is_given_up(made):
    board = made(every_s=1e9)
    assert measured(board) is None
    assert board.now_s < 2
