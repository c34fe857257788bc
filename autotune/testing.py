"""ExecutorContract: the tests that every executor must pass, to be subclassed by whoever writes one; nothing else."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.errors import DeviceError
from autotune.executor import Executor
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.round import Round
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload, find, load

SOURCE = '''
import time

import autotune
from autotune import SearchSpace, choice


def raising(name, module, text):
    error = type(name, (RuntimeError,), {"__module__": module})
    def call():
        raise error(text)
    return call


CALLS = {
    "good": lambda: time.sleep(0.001),
    "slow": lambda: time.sleep(0.2),
    "hangs": lambda: time.sleep(600),
    "incorrect": lambda: None,
    "runtime": lambda: 1 / 0,
    "out_of_memory": lambda: bytearray(1 << 60),
    "invalid": raising("OutOfResources", "triton.runtime.errors", "shared memory, Required: 2, Hardware limit: 1"),
    "compile": raising("CompilationError", "triton.compiler.errors", "at 1:1: no such operation"),
}


@autotune.workload(space=SearchSpace(mode=choice(*CALLS)), timeout_s=1)
def contract(problem, config):
    """Good in one configuration, and each kind of failure in another."""
    yield CALLS[config.mode]
    assert config.mode != "incorrect", "the result is wrong"
'''

WAIT_S = 300.0


class ExecutorContract:
    """Subclass it with a fixture `executor` that yields an open executor with at least one device.

    An executor that cannot stop a hanging trial sets `enforces_timeout = False`, and says so in its documentation.
    """

    enforces_timeout = True

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        """A workload of the standard library alone, in a file of its own."""
        path = tmp_path / "contract.py"
        path.write_text(SOURCE, encoding="utf-8")
        return find(load(path), "contract")

    def test_devices_are_told_and_have_slots(self, executor: Executor) -> None:
        """Equal devices share a SKU; each SKU that is there has room for a trial."""
        assert executor.devices()
        assert all(executor.slots(device.sku) >= 1 for device in executor.devices())
        assert executor.slots("no-such-device") == 0

    def test_what_is_expected_may_come_to_nothing(self, executor: Executor, workload: Workload) -> None:
        """Also a file that is not there: who loads it is told so."""
        executor.expect(workload.path)
        executor.expect(workload.path.with_name("nowhere.py"))
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_a_good_trial_is_measured(self, executor: Executor, workload: Workload) -> None:
        """With its latency and the time of each phase."""
        outcome = _ask(executor, workload, "good")
        assert isinstance(outcome, Measurement), outcome
        assert 1.0 <= outcome.medians["latency_ms"] < 50
        assert {"prepare", "warm_up", "measure", "verify"} <= outcome.phase_s.keys()

    @pytest.mark.parametrize("kind", ["invalid", "compile", "runtime", "out_of_memory", "incorrect"])
    def test_a_failure_is_a_value_with_its_kind(self, executor: Executor, workload: Workload, kind: str) -> None:
        """The Future does not raise, and the next trial is measured."""
        outcome = _ask(executor, workload, kind)
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind(kind)
        assert outcome.message
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_a_hanging_trial_is_stopped(self, executor: Executor, workload: Workload) -> None:
        """After its own limit, and the next trial is measured."""
        if not self.enforces_timeout:
            pytest.skip("this executor sets no time limit")
        outcome = _ask(executor, workload, "hangs")
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.TIMEOUT
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_a_trial_that_has_not_started_can_be_withdrawn(self, executor: Executor, workload: Workload) -> None:
        """Where it has started already, it ends as usual."""
        futures = [executor.submit(_trial(executor, workload, "slow")) for _ in range(3)]
        withdrawn = futures[-1].cancel()
        assert isinstance(futures[0].result(WAIT_S), Measurement)
        if withdrawn:
            with pytest.raises(CancelledError):
                futures[-1].result(WAIT_S)
        else:
            assert isinstance(futures[-1].result(WAIT_S), Measurement)
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_a_round_gives_an_outcome_for_each_trial_in_order(self, executor: Executor, workload: Workload) -> None:
        """What is measured has a reading from each pass; a trial that fails is a value, and takes none with it."""
        trials = tuple(_trial(executor, workload, mode) for mode in ("slow", "runtime", "good", "incorrect"))
        asked = Round(trials=trials, number=1, passes=4)
        slow, raising, good, incorrect = executor.submit_round(asked).result(WAIT_S)
        assert isinstance(slow, Measurement), slow
        assert isinstance(good, Measurement), good
        lengths = {len(samples.values) for one in (slow, good) for samples in one.metrics.values()}
        assert len(lengths) == 1
        assert 1 <= lengths.pop() <= asked.passes
        assert slow.medians["latency_ms"] >= good.medians["latency_ms"]
        assert isinstance(raising, Failure)
        assert raising.kind is FailureKind.RUNTIME
        assert isinstance(incorrect, Failure)
        assert incorrect.kind is FailureKind.INCORRECT
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_a_hanging_trial_of_a_round_is_stopped(self, executor: Executor, workload: Workload) -> None:
        """It is blamed alone: the others are measured, or LOST with it."""
        if not self.enforces_timeout:
            pytest.skip("this executor sets no time limit")
        trials = tuple(_trial(executor, workload, mode) for mode in ("good", "hangs"))
        good, hanging = executor.submit_round(Round(trials=trials, number=1, passes=4)).result(WAIT_S)
        assert isinstance(hanging, Failure)
        assert hanging.kind is FailureKind.TIMEOUT
        assert isinstance(good, Measurement) or good.kind is FailureKind.LOST
        assert isinstance(_ask(executor, workload, "good"), Measurement)

    def test_an_unknown_device_is_refused(self, executor: Executor, workload: Workload) -> None:
        """At once, by name."""
        with pytest.raises(DeviceError, match="no-such-device"):
            executor.submit(replace(_trial(executor, workload, "good"), sku="no-such-device"))

    def test_closing_twice_is_closing_once(self, executor: Executor) -> None:
        """And a closed executor takes no trial."""
        executor.close()
        executor.close()


def _trial(executor: Executor, workload: Workload, mode: str) -> Trial:
    device = executor.devices()[0]
    return Trial(
        workload=workload.reference,
        problem=Problem(),
        config=Config(mode=mode),
        sku=device.sku,
        gpus=1 if device.kind == "gpu" else 0,
        timeout_s=workload.timeout_s if mode == "hangs" else WAIT_S,
        effort=Effort.QUICK,
    )


def _ask(executor: Executor, workload: Workload, mode: str) -> Outcome:
    return executor.submit(_trial(executor, workload, mode)).result(WAIT_S)
