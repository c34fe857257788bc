"""The compile pool with a compiler that sleeps, refuses, hangs and crashes: each costs its own trial and no other."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.ahead import Compiled
from autotune.device import cpu_device
from autotune.executors import compile_pool, proc
from autotune.executors.compile_limit import CompileLimit
from autotune.executors.compile_pool import CompilePool
from autotune.measurement import FailureKind
from autotune.trial import Trial
from autotune.values import Config, Problem
from autotune.workload import load
from tests.waiting import eventually

WORKLOADS = Path(__file__).parents[1] / "workloads"
DEVICE = replace(cpu_device(), shared_memory_per_block_bytes=1000)


@pytest.fixture
def pool():
    running = CompilePool(DEVICE, 2)
    yield running
    running.close()


@pytest.fixture
def trial(tmp_path):
    [workload] = load(WORKLOADS / "own_compiler.py")

    def asked(mode="good", n=0, *, seconds=0.0, timeout_s=20.0, file=None):
        reference = workload.reference if file is None else replace(workload.reference, path=file)
        problem = Problem(folder=str(tmp_path), seconds=seconds)
        config = Config(mode=mode, n=n)
        return Trial(workload=reference, problem=problem, config=config, sku=DEVICE.sku, timeout_s=timeout_s)

    return asked


def server_of(pool):
    [server] = [p.pid for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid]
    return server


OUTCOMES = [
    ("refuses", FailureKind.COMPILE, ["CompileException: no such instruction", "own_compiler.py:"]),
    ("large", FailureKind.INVALID, ["2000 bytes of shared memory", "at most 1000 bytes"]),
    ("crashes", FailureKind.COMPILE, ["the compiler died of SIGSEGV"]),
    ("killed", FailureKind.LOST, ["SIGKILL"]),
    ("hangs", FailureKind.TIMEOUT, ["killed after 1.", "the limit is 1 s: timeout_s=1"]),
]


def test_each_failure_of_a_compiler_is_told_as_what_it_is_and_costs_nobody_else(pool, trial):
    asked = [pool.submit(trial(mode, timeout_s=1.0 if mode == "hangs" else 20.0)) for mode, *_ in OUTCOMES]
    beside = [pool.submit(trial(n=n)) for n in range(3)]
    for (_, kind, said), future in zip(OUTCOMES, asked, strict=True):
        failure = future.result(20).failure
        assert failure.kind is kind, failure
        assert failure.phase == "compile"
        assert failure.phase_s["compile"] > 0
        for words in said:
            assert words in failure.message
    assert [future.result(20).binary.digest for future in beside] == ["good-0", "good-1", "good-2"]
    assert pool.serves


def test_what_is_no_compilers_refusal_is_left_to_the_device(pool, trial):
    for mode in ("nothing", "bug", "exits"):
        compiled = pool.submit(trial(mode)).result(20)
        assert (compiled.binary, compiled.failure) == (None, None)


def test_the_crash_is_kept_for_its_reader(pool, trial):
    assert "own_compiler.py" in pool.submit(trial("crashes")).result(20).failure.details


def test_a_hung_compiler_is_killed_by_what_others_took_and_blocks_nobody(pool, trial, monkeypatch):
    for n in range(6):
        pool.submit(trial(n=n, seconds=0.11)).result(20)
    started = time.monotonic()
    hung = pool.submit(trial("hangs"))
    while not hung.done():
        assert pool.submit(trial("same", n=1)).result(1).binary.digest == "the same"
    assert 2 <= time.monotonic() - started < 5
    assert "nine of ten of the 6 compilations before took 0." in hung.result().failure.message


def test_a_cancelled_compilation_is_ended_and_what_waits_is_never_started(pool, trial, tmp_path):
    wanted = [True]
    futures = [pool.submit(trial("good", n=n, seconds=30.0), lambda: not wanted[0]) for n in range(4)]
    assert eventually(lambda: pool.serves)
    wanted[0] = False
    assert all(future.result(3).binary is None for future in futures)
    assert not list(tmp_path.glob("good-*"))


def test_at_most_so_many_compile_at_once_in_the_order_of_submission(pool, trial, tmp_path):
    futures = [pool.submit(trial(n=n, seconds=0.2)) for n in range(6)]
    for future in futures:
        future.result(20)
    made = sorted(tmp_path.glob("good-*"), key=lambda path: path.stat().st_mtime_ns)
    pairs = [{path.name for path in made[i : i + 2]} for i in (0, 2, 4)]
    assert pairs == [{"good-0", "good-1"}, {"good-2", "good-3"}, {"good-4", "good-5"}]
    assert len({path.read_text() for path in made}) == 6  # a process each


def test_nothing_new_is_compiled_while_there_is_no_room(trial, tmp_path):
    room = [False]
    pool = CompilePool(DEVICE, 2, room=lambda: room[0])
    try:
        future = pool.submit(trial())
        assert eventually(lambda: pool.serves)
        time.sleep(3 * compile_pool.LOOK_S)
        assert not future.done()
        room[0] = True
        assert future.result(5).binary
    finally:
        pool.close()


def test_a_killed_server_loses_only_what_it_compiled_and_is_replaced(pool, trial):
    assert pool.submit(trial(n=1)).result(20).binary
    first = server_of(pool)
    running, later = pool.submit(trial(n=2, seconds=30.0)), None
    os.kill(first, signal.SIGKILL)
    assert running.result(5).binary is None
    later = pool.submit(trial(n=3))
    assert later.result(20).binary
    assert server_of(pool) != first


def test_a_server_that_dies_again_and_again_is_given_up(pool, trial, monkeypatch):
    monkeypatch.setattr(compile_pool, "MOST_DEATHS", 1)
    for _ in range(2):
        pool.submit(trial(n=1)).result(20)
        os.kill(server_of(pool), signal.SIGKILL)
        pool.submit(trial(n=1)).result(20)
    assert eventually(lambda: pool.serves is False)
    assert "died 2 times" in pool.reason
    assert pool.submit(trial(n=2)).result(0).binary is None


def test_a_file_that_cannot_be_loaded_or_has_no_compiler_is_left_to_the_device(trial, tmp_path):
    good = WORKLOADS / "good.py"
    for file, said in ((tmp_path / "missing.py", "there is no file"), (good, "there is no workload")):
        pool = CompilePool(DEVICE, 1)
        compiled = pool.submit(trial(file=file)).result(20)
        assert (compiled.binary, compiled.failure, pool.serves) == (None, None, False)
        assert said in pool.reason
        pool.close()


def test_a_file_that_ends_its_process_costs_one_server(trial, tmp_path):
    file = tmp_path / "ends.py"
    file.write_text(
        "import os, pathlib\npathlib.Path(__file__).with_name(f'loaded-{os.getpid()}').touch()\nos._exit(3)\n"
    )
    pool = CompilePool(DEVICE, 1)
    assert pool.submit(trial(file=file)).result(20) == Compiled()
    assert (pool.serves, pool.reason) == (False, "its process died while it loaded the file")
    assert len(list(tmp_path.glob("loaded-*"))) == 1
    pool.close()


def test_closing_leaves_no_process_and_resolves_what_waits(pool, trial):
    futures = [pool.submit(trial("hangs", n=n)) for n in range(4)]
    assert eventually(lambda: pool.serves)
    session = server_of(pool)
    assert eventually(lambda: len(proc.members(session)) == 3)
    pool.close()
    assert all(future.result(0).binary is None for future in futures)
    assert not proc.members(session)


class TestTheLimit:
    def test_is_the_trials_own_until_enough_is_known(self):
        limit = CompileLimit()
        for _ in range(4):
            limit.note(0.5)
            assert limit.seconds(60) == 60
        limit.note(0.5)
        assert limit.seconds(60) == 2.0

    def test_is_four_times_the_ninetieth_percentile_and_never_more_than_the_trials_own(self):
        limit = CompileLimit()
        for seconds in (9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0):
            limit.note(seconds)
        assert limit.seconds(60) == 12.0
        assert limit.seconds(10) == 10
        assert "9" not in limit.reason(60)
        assert "10 compilations before took 3 s or less" in limit.reason(60)
