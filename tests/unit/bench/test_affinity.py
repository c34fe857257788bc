"""Pinning on this machine: which calls are held on one core, and that the affinity is given back."""

import os
import subprocess
import threading
import time

import pytest

from autotune.bench.affinity import Pinning
from autotune.bench.host_clock import HostClock

needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is but one core"
)


def compute(seconds=0.002):
    """CPU time, not wall time: other processes may hold the core."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def watched(call, times=5):
    pinning = Pinning()
    for _ in range(times):
        with pinning.watch():
            call()
    return pinning


def proved_alone():
    """Where others keep the cores busy, a thread that computes may seem to wait, or its time be told late."""
    return next(filter(lambda pinning: pinning.safe, (watched(compute) for _ in range(50))))


def in_a_thread():
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()


def test_a_call_that_computes_alone_is_safe_to_pin():
    assert proved_alone().safe


@pytest.mark.parametrize(
    "call",
    [
        in_a_thread,
        lambda: (compute(), in_a_thread()),
        lambda: (compute(), subprocess.run(["true"], check=True)),
        lambda: time.sleep(0.005),
    ],
    ids=["thread", "and a thread", "and a process", "waits"],
)
def test_a_call_with_others_or_one_that_only_waits_is_not(call):
    assert not watched(call).safe


def test_a_thread_that_stays_is_seen_though_it_computes_nothing():
    ended = threading.Event()
    pinning = watched(lambda: (threading.Thread(target=ended.wait).start(), compute()), times=1)
    ended.set()
    assert not pinning.safe


def test_once_seen_with_others_a_call_stays_unpinned():
    pinning = proved_alone()
    with pinning.watch():
        in_a_thread()
    with pinning.watch():
        compute()
    assert not pinning.safe


@needs_two_cores
def test_the_thread_is_held_on_one_core_and_given_back():
    allowed = os.sched_getaffinity(0)
    pinning = proved_alone()
    with pinning.hold():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == allowed
    with pytest.raises(ZeroDivisionError), pinning.hold():
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == allowed


@needs_two_cores
def test_a_thread_that_is_started_all_the_same_gets_its_cores_too():
    allowed, ended, native = os.sched_getaffinity(0), threading.Event(), []
    with proved_alone().hold():
        thread = threading.Thread(target=lambda: (native.append(threading.get_native_id()), ended.wait()))
        thread.start()
        while not native:
            time.sleep(0.001)
    assert os.sched_getaffinity(native[0]) == allowed
    ended.set()
    thread.join()


@needs_two_cores
def test_an_affinity_that_the_call_chooses_is_left_to_it():
    allowed = os.sched_getaffinity(0)
    try:
        with proved_alone().hold():
            [held] = os.sched_getaffinity(0)
            other = {min(allowed - {held})}
            os.sched_setaffinity(0, other)
        assert os.sched_getaffinity(0) == other
    finally:
        os.sched_setaffinity(0, allowed)


@needs_two_cores
def test_calls_are_timed_on_one_core_and_what_waits_is_not():
    clock, cores = HostClock(), []
    clock._pinning = proved_alone()
    clock.take(lambda: cores.append(len(os.sched_getaffinity(0))), 1, lambda _: None)
    clock.run(lambda: cores.append(len(os.sched_getaffinity(0))), 1)
    assert cores == [1, 1]
    waiting = HostClock()
    waiting.warm_up(lambda: time.sleep(0.005))
    waiting.take(lambda: cores.append(len(os.sched_getaffinity(0))), 1, lambda _: None)
    assert cores[-1] > 1
