import contextlib
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from autotune.errors import RegistryError
from autotune.registry import Registry
from tests.unit.registry.samples import KEY, script, start, trial

HOLD = """
import sys, time
from autotune.registry import Registry
with Registry.open(sys.argv[1]) as registry, registry.claim(int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_study_is_driven_by_one_process_and_free_when_it_is_killed(registry, url):
    study = start(registry)
    with script(HOLD, url, study.id) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RegistryError, match=rf"study 1 \(matmul .* on h200\) .* process {holder.pid}\b"),
            registry.claim(1),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 5  # a PostgreSQL server needs a moment to notice
    while time.monotonic() < deadline_s:
        with contextlib.suppress(RegistryError), registry.claim(study.id):
            return
    pytest.fail("the claim outlived its process")


def test_a_worker_that_outlives_its_study_does_not_keep_the_claim(sqlite_path):
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        study = start(registry)
        with registry.claim(study.id):
            worker = subprocess.Popen(["sleep", "60"], close_fds=False)
        with registry.claim(study.id):
            pass
        worker.kill()
        worker.wait()
    assert list(sqlite_path.parent.glob("*.lock")) == []


def test_a_claim_is_exclusive_within_a_process_too(registry):
    study, other = start(registry), start(registry, replace(KEY, version="other"))
    with registry.claim(study.id), registry.claim(other.id):
        with pytest.raises(RegistryError, match="being run by"), registry.claim(study.id):
            pass
        registry.record(study.id, trial(0))
    with registry.claim(study.id):
        pass


def test_an_error_inside_a_claim_is_left_alone_and_ends_it(registry):
    study = start(registry)
    with pytest.raises(ModuleNotFoundError, match="of the user"), registry.claim(study.id):
        raise ModuleNotFoundError("of the user")
    with registry.claim(study.id):
        pass


def test_many_claim_at_once_and_one_at_a_time_gets_it(sqlite_path):
    inside, most = [], []

    def drive(_):
        with Registry.open(f"sqlite:///{sqlite_path}") as registry:
            for _ in range(30):
                with contextlib.suppress(RegistryError), registry.claim(1):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        start(registry)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(drive, range(4)))
    assert set(most) == {1}


RECORD = """
import sys
from autotune.measurement import Measurement, Samples
from autotune.registry import RecordedTrial, Registry
from autotune.values import Config
with Registry.open(sys.argv[1]) as registry, registry.claim(1):
    for number in range(len(registry.trials(1)), 100_000):
        outcome = Measurement(metrics={"latency_ms": Samples((1.0,))})
        config = Config(a=number)
        trial = RecordedTrial(number=number, config=config, outcome=outcome, origin="search", finished_at="")
        registry.record(1, trial)
        print(number, flush=True)
"""


def test_what_was_recorded_survives_a_kill_at_any_moment(sqlite_path):
    url = f"sqlite:///{sqlite_path}"
    with Registry.open(url) as registry:
        start(registry)
    for kill in range(3):
        with script(RECORD, url) as process:
            seen = [int(process.stdout.readline()) for _ in range(50 + 37 * kill)]
            process.send_signal(signal.SIGKILL)
            seen += [int(line) for line in process.stdout.read().split("\n") if line]
        with Registry.open(url) as registry:
            numbers = [one.number for one in registry.trials(1)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) in (seen[-1] + 1, seen[-1] + 2)
