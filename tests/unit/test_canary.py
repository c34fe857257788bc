"""The canary: when a device is asked whether it still works, and what becomes of one that does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from autotune.device import cpu_device
from autotune.errors import ExecutorError
from autotune.event import EventKind
from autotune.executors import local
from autotune.executors.canary import CANARY, IN_A_ROW, Suspicion, canary_trial
from autotune.executors.inline import InlineExecutor
from autotune.executors.local import LocalExecutor
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
from tests.waiting import eventually

CARELESS = Path(__file__).parents[1] / "workloads/careless.py"
BAD = '''
import autotune
from autotune import SearchSpace, choice

@autotune.workload(space=SearchSpace(on=choice("cpu", "gpu")))
def canary(problem, config):
    """Fails."""
    yield lambda: None
    assert False, "two and two is five"
'''
LOST = Failure(kind=FailureKind.LOST, message="killed")
GOOD = Measurement(metrics={"latency_ms": Samples((1.0,))})


def trial(mode="good", n=0):
    return Trial(
        workload=find(load(CARELESS), "careless").reference,
        problem=Problem(),
        config=Config(mode=mode, n=n) if n else Config(mode=mode),
        sku=cpu_device().sku,
        effort=Effort.QUICK,
    )


def failure(kind):
    return Failure(kind=kind, message="")


def test_one_lost_trial_is_reason_enough():
    assert Suspicion().note([trial()], [LOST], replaced=True)
    assert not Suspicion().note([trial(), trial()], [LOST, failure(FailureKind.RUNTIME)], replaced=True)


@pytest.mark.parametrize("kind", [FailureKind.RUNTIME, FailureKind.TIMEOUT])
def test_several_configurations_in_a_row_that_cost_a_worker_are_reason_enough(kind):
    suspicion = Suspicion()
    noted = [suspicion.note([trial(n=n)], [failure(kind)], replaced=True) for n in range(2 * IN_A_ROW)]
    assert noted == [False, False, True] * 2
    same = Suspicion()
    assert not any(same.note([trial()], [failure(kind)], replaced=True) for _ in range(9))


def test_a_good_one_between_them_clears_the_device():
    suspicion = Suspicion()
    for n in range(9):
        assert not suspicion.note([trial(n=n)], [failure(FailureKind.RUNTIME)], replaced=True)
        assert not suspicion.note([trial(n=n)], [GOOD], replaced=False)


def test_the_canary_of_a_sound_device_is_well():
    with InlineExecutor() as executor:
        outcome = executor.submit(canary_trial(CANARY, cpu_device())).result()
    assert isinstance(outcome, Measurement), outcome


def test_a_sound_device_is_used_on_and_its_worker_named():
    with LocalExecutor(local.ExecutorOptions(device="cpu"), canary=CANARY) as executor:
        assert executor.submit(trial("kills_itself")).result(60).kind is FailureKind.LOST
        assert isinstance(executor.submit(trial()).result(60), Measurement)
        (event,) = executor.events
    assert event.kind is EventKind.REPLACED
    assert event.device == cpu_device().uuid
    assert "SIGKILL" in event.message


def test_a_device_that_fails_its_canary_is_used_no_more_and_its_equal_is(monkeypatch, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(BAD)
    present = [cpu_device(), replace(cpu_device(), index=1, uuid="CPU-second")]
    monkeypatch.setattr(local, "devices", lambda: present)
    with LocalExecutor(canary=bad) as executor:
        assert executor.submit(trial("kills_itself")).result(60).kind is FailureKind.LOST
        assert eventually(lambda: len(executor.devices()) == 1)
        assert executor.slots(present[0].sku) == 1
        event = executor.events[-1]
        assert event.kind is EventKind.QUARANTINED
        assert event.device in {device.uuid for device in present} - {executor.devices()[0].uuid}
        assert "two and two is five" in event.message
        assert isinstance(executor.submit(trial()).result(60), Measurement)
        assert executor.submit(trial("kills_itself")).result(60).kind is FailureKind.LOST
        assert eventually(lambda: not executor.devices())
        with pytest.raises(ExecutorError, match="is used no more: its canary failed"):
            executor.submit(trial()).result(60)
        assert executor.slots(present[0].sku) == 0
