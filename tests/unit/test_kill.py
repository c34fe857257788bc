"""A study survives SIGKILL of its whole process tree, or of the coordinator alone, at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autotune.registry import Registry
from autotune.settings import Settings

TRIALS = 60
WORKLOAD = """
import os, time
import autotune
from autotune import SearchSpace, integer

@autotune.workload(space=SearchSpace(x=integer(0, 79)), objective=autotune.maximize("score"), gpus=0)
def sample(problem, config):
    with open(os.environ["SAMPLE_LOG"], "a") as log:
        log.write(f"{config.x}\\n")
    time.sleep(0.02)
    yield lambda: {"score": config.x}
"""


def descendants(pid):
    """Every process below `pid`, whatever its session."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pids, within_s=3.0):
    deadline = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.fixture
def study(tmp_path, home, monkeypatch):
    path, log = tmp_path / "sample.py", tmp_path / "log"
    path.write_text(WORKLOAD)
    log.touch()
    monkeypatch.setenv("SAMPLE_LOG", str(log))
    return [sys.executable, "-m", "autotune", "study", str(path), "--quick", "--json", "--trials", str(TRIALS)]


def recorded():
    """x of every trial on record, in order; empty before there is a registry."""
    url = Settings.from_environment().database
    if not Path(url.removeprefix("sqlite:///")).exists():
        return []
    with Registry.open(url) as registry:
        return [trial.config["x"] for study in registry.studies() for trial in registry.trials(study.id)]


@pytest.mark.slow
def test_twenty_kills_of_the_whole_tree_lose_repeat_and_leave_nothing(study):
    moments, log = random.Random(20), Path(os.environ["SAMPLE_LOG"])
    for kill in range(20):
        before = recorded()
        executed_before = len(log.read_text().split())
        with subprocess.Popen(study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            # The first kills hit the start-up, the creation of the registry and the first trials; the rest anything.
            time.sleep(0.15 * kill if kill < 10 else moments.uniform(0.9, 1.7))
            tree = [process.pid, *descendants(process.pid)]
            for pid in tree:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        after = recorded()
        assert gone(tree)
        assert after[: len(before)] == before, "a finished trial was lost"
        # What is executed beyond the trials that are missing is their rounds, which a killed study measures anew.
        executed = [int(x) for x in log.read_text().split()[executed_before:]][: TRIALS - len(before)]
        assert not set(executed) & set(before), "a finished trial was repeated"
    before, executed_before = recorded(), len(log.read_text().split())
    done = subprocess.run(study, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["studies"][0]
    assert result["trials"] == TRIALS
    assert result["measured_now"] == TRIALS - len(before)
    executed = [int(x) for x in log.read_text().split()]
    assert executed[executed_before:][: TRIALS - len(before)] == recorded()[len(before) :]
    assert len(set(recorded())) == TRIALS
    assert result["verdict"]["winner"] == result["tuned"]["config"]
    assert subprocess.run(study, capture_output=True, timeout=120).returncode == 0
    assert len(log.read_text().split()) == len(executed), "what is complete with its verdict was measured again"


def test_workers_end_with_a_coordinator_that_is_killed_alone(study):
    with subprocess.Popen(study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not Path(os.environ["SAMPLE_LOG"]).read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        workers = descendants(process.pid)
        assert workers
        process.kill()
    assert gone(workers)


def test_a_study_that_runs_is_not_driven_by_a_second_coordinator(study):
    with subprocess.Popen(study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not Path(os.environ["SAMPLE_LOG"]).read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = subprocess.run(study, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2
        assert str(process.pid) in second.stderr
        process.terminate()
