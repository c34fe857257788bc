"""Turns: the configurations of a round called in turn in this process, so that their readings pair up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.bench.body import OnError
from autotune.bench.leftovers import Present, charged
from autotune.bench.memory import release_memory
from autotune.bench.phases import WAIT, OnPhase
from autotune.bench.seat import Broken, NoRoom, OnTurn, Seat, Watchers
from autotune.bench.throttle import united, unknown, watched
from autotune.device import Device, conditions
from autotune.device.lock import exclusive
from autotune.measurement import Conditions, Failure, Outcome
from autotune.objective import LATENCY_MS
from autotune.round import LEAST_PASSES, Round
from autotune.trial import Effort
from autotune.workload import Workload


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the parts of a round take."""

    cap_s: float
    """For the readings of one configuration; the least number of passes is made all the same."""
    reading_s: float
    """One reading is the median of as many calls as fit into this, and of one at least."""
    first_steady_s: float
    """How long all are called in turn before the first round of a study, at most: until the clocks are steady."""
    steady_s: float
    """The same before a later round, which finds the device warm."""
    window_s: float
    """Of each of the two series of calls whose times are compared to tell whether clocks are steady."""


PACES = {
    Effort.FULL: Pace(cap_s=1.0, reading_s=0.004, first_steady_s=1.0, steady_s=0.2, window_s=0.05),
    Effort.QUICK: Pace(cap_s=0.25, reading_s=0.002, first_steady_s=0.25, steady_s=0.05, window_s=0.0125),
}
STEADY = 0.01
"""Two series whose times differ by less than this share are of equal clocks."""
ENERGY_FACTOR, ENERGY_SHARE = 5, 0.25
"""Where every reading holds one of the energy, whose counter is slow: the cap is so many times longer, and that reading
may take this share of the cap as it was."""
MOST_RETAKEN = 3
"""Passes of one round that are taken again because something began to hold the clocks back in them."""
READINGS_A_TURN = 3
"""Where bodies do not fit into memory together: preparing one again for each reading would cost too much."""


def perform_round(
    workload: Workload,
    round: Round,  # noqa: A002 - the word
    device: Device,
    on_phase: OnPhase,
    on_turn: OnTurn = lambda _: None,
    on_error: OnError = lambda _: None,
) -> tuple[Outcome, ...]:
    """Prepare every trial, call them in turn until clocks are steady, read them pass by pass, verify each.

    An outcome for each trial, in their order; Measurements have equally many samples, the i-th of each from one pass.
    One that fails is out, and the others go on; where it breaks the process they are LOST. Bodies that do not fit into
    memory together are prepared again for each of their turns. on_turn: called with the index of the trial that is
    worked on next. The rest is as for `perform`.
    """
    with exclusive(device, lambda holder: on_phase(WAIT)):
        present = Present.now()
        watchers = Watchers(_unrepeated(on_phase), on_turn, on_error)
        outcomes = _perform(workload, round, device, watchers)
        left = present.left_over(workload.path)
        release_memory(failed=any(isinstance(outcome, Failure) for outcome in outcomes))
        return tuple(charged(outcome, left) for outcome in outcomes)


def _perform(workload: Workload, asked: Round, device: Device, watchers: Watchers) -> tuple[Outcome, ...]:
    seats = _seats(workload, asked, device, watchers)
    try:
        return _together(seats, asked, device)
    except NoRoom:
        _close(seats)
        release_memory(failed=True)
    finally:
        _close(seats)
    seats = _seats(workload, asked, device, watchers)
    try:
        return _one_by_one(seats, asked, device)
    finally:
        _close(seats)


def _together(seats: Sequence[Seat], asked: Round, device: Device) -> tuple[Outcome, ...]:
    """All bodies alive at once; raises NoRoom where memory does not suffice for that."""
    pace, state = PACES[asked.trials[0].effort], Conditions()
    try:
        for seat in seats:
            seat.open()
        _steady(seats, pace, pace.first_steady_s if asked.number == 1 else pace.steady_s)
        state = _passes(seats, asked.passes, pace, device)
        for seat in seats:
            seat.verify()
    except Broken as broken:
        for seat in seats:
            if not seat.verified:
                seat.lose(broken)
    return tuple(seat.outcome(state) for seat in seats)


def _one_by_one(seats: Sequence[Seat], asked: Round, device: Device) -> tuple[Outcome, ...]:
    """One body alive at a time, prepared anew for each of its turns, and verified in the first."""
    pace, states = PACES[asked.trials[0].effort], [conditions(device)]
    until_s = time.perf_counter() + pace.cap_s * len(seats)
    turn, read = 0, 0
    try:
        while _alive(seats) and read < asked.passes and (read < LEAST_PASSES or time.perf_counter() < until_s):
            count = min(READINGS_A_TURN, asked.passes - read)
            for seat in _in_order(_alive(seats), turn):
                states.append(_one_turn(seat, count, pace, device, verify=turn == 0))
            turn, read = turn + 1, read + count
    except Broken as broken:
        for seat in seats:
            seat.lose(broken)
    state = _merged(states[1:], known=states[0].throttle)
    return tuple(seat.outcome(state) for seat in seats)


def _one_turn(seat: Seat, count: int, pace: Pace, device: Device, *, verify: bool) -> Conditions:
    seat.open()
    state = _watched_reads([seat] * count, pace, device)
    if verify:
        seat.verify()
    seat.close()
    return state


def _steady(seats: Sequence[Seat], pace: Pace, cap_s: float) -> None:
    """Call all in turn until two series of calls in succession take equally long, or the time is up."""
    until_s = time.perf_counter() + cap_s
    before: dict[int, float] = {}
    while window := _window(seats, pace, until_s):
        if before.keys() == window.keys() and abs(sum(window.values()) / sum(before.values()) - 1) < STEADY:
            return
        before = window


def _window(seats: Sequence[Seat], pace: Pace, until_s: float) -> dict[int, float]:
    """The median latency of each that is alive, by index; nothing where the time is up before all had a turn."""
    readings: dict[int, list[float]] = {seat.index: [] for seat in seats}
    end_s = time.perf_counter() + pace.window_s
    while time.perf_counter() < end_s:
        for seat in _alive(seats):
            if time.perf_counter() + max(pace.reading_s, seat.each_s) > until_s:
                return {}
            if row := seat.time(pace.reading_s):
                readings[seat.index].append(row[LATENCY_MS])
    return {seat.index: statistics.median(readings[seat.index]) for seat in _alive(seats)}


def _passes(seats: Sequence[Seat], most: int, pace: Pace, device: Device) -> Conditions:
    """Read each once a pass, every other pass the other way round."""
    known, states, retaken = conditions(device).throttle, list[Conditions](), 0
    cap_s = pace.cap_s * (ENERGY_FACTOR if any(seat.reads_energy for seat in seats) else 1)
    until_s = time.perf_counter() + cap_s * len(_alive(seats))
    while _alive(seats) and len(states) < most:
        if len(states) >= LEAST_PASSES and time.perf_counter() > until_s:
            break
        state = _watched_reads(_in_order(_alive(seats), len(states)), pace, device)
        if unknown(state, known) and retaken < MOST_RETAKEN:
            retaken += 1
            for seat in _alive(seats):
                seat.readings.pop()
        else:
            states.append(state)
    return _merged(states, known)


def _watched_reads(order: Sequence[Seat], pace: Pace, device: Device) -> Conditions:
    def read() -> None:
        for seat in order:
            seat.read(pace.reading_s, pace.cap_s * ENERGY_SHARE)

    return watched(read, device)[1]


def _merged(states: Sequence[Conditions], known: tuple[str, ...]) -> Conditions:
    """The last conditions with all that was seen; what was not there at the start has disturbed the passes after it."""
    if not states:
        return Conditions()
    state = replace(states[-1], throttle=united(*(each.throttle for each in states)))
    return replace(state, disturbed=unknown(state, known))


def _seats(workload: Workload, asked: Round, device: Device, watchers: Watchers) -> list[Seat]:
    seats = [Seat(index, trial, workload, device, watchers) for index, trial in enumerate(asked.trials)]
    for seat in seats:
        seat.company = [other for other in seats if other is not seat]
    return seats


def _alive(seats: Sequence[Seat]) -> list[Seat]:
    return [seat for seat in seats if seat.alive]


def _in_order(seats: list[Seat], number: int) -> list[Seat]:
    return seats[::-1] if number % 2 else seats


def _close(seats: Sequence[Seat]) -> None:
    for seat in seats:
        seat.close()


def _unrepeated(on_phase: OnPhase) -> OnPhase:
    """Called only where the phase is another: it may be sent to another process, and turns are many."""
    last = ""

    def changed(name: str) -> None:
        nonlocal last
        if name != last:
            last = name
            on_phase(name)

    return changed
