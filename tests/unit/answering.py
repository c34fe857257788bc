"""An executor that answers at once from a function: the study's logic without processes or clocks."""

from concurrent.futures import Future
from pathlib import Path

from autotune import SearchSpace, integer
from autotune.device import Device
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.objective import Objective
from autotune.plan import Budget, Plan
from autotune.values import Problem
from autotune.workload import Workload

DEVICE = Device(
    kind="gpu", index=0, sku="h200-sxm-141gb", name="NVIDIA H200", uuid="GPU-0", arch="sm_90", memory_bytes=1,
    multiprocessors=132,
)  # fmt: skip


class AnsweringExecutor:
    """Gives `answer(config)` for each trial; holds `slots_` at once, answered when the newest is submitted.

    answer_round: gives the outcome of a configuration in a round of that number; by default it is that of its trial.
    """

    def __init__(self, answer, slots=1, answer_round=None):
        self.answer, self.slots_, self.trials, self._waiting = answer, slots, [], []
        self.answer_round, self.rounds = answer_round or (lambda config, number: answer(config)), []

    def devices(self):
        return [DEVICE]

    def expect(self, path): ...

    def slots(self, sku):
        return self.slots_

    def submit(self, trial):
        self.trials.append(trial)
        future = Future()
        self._waiting.append((future, trial))
        if len(self._waiting) == self.slots_:
            for waiting, one in self._waiting:
                answer = self.answer(one.config)
                waiting.set_exception(answer) if isinstance(answer, BaseException) else waiting.set_result(answer)
            self._waiting.clear()
        return future

    def submit_round(self, round):  # noqa: A002
        self.rounds.append(round)
        answers = [self.answer_round(trial.config, round.number) for trial in round.trials]
        future = Future()
        raised = [answer for answer in answers if isinstance(answer, BaseException)]
        future.set_exception(raised[0]) if raised else future.set_result(tuple(answers))
        return future

    def close(self): ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...


def body(problem, config):
    """Never run: the executor answers."""
    yield lambda: None


def measured(value, spread=0.0, **metrics):
    values = tuple(value * (1 + spread * step) for step in (-1, 0, 1, -1, 0, 1))
    return Measurement(
        metrics={"latency_ms": Samples(values), **{k: Samples((v,)) for k, v in metrics.items()}},
        phase_s={"measure": 0.5},
    )


def failed(kind=FailureKind.RUNTIME):
    return Failure(kind=kind, message="it broke")


def plan(space=None, objective=None, problem=None, version="v1", **options):
    problem = Problem(n=1) if problem is None else problem
    workload = Workload(
        name="sample",
        body=body,
        space=space or SearchSpace(x=integer(0, 9, default=9)),
        problems=(problem,),
        objective=objective or Objective(),
        path=Path(__file__),
        version=version,
    )
    budget = Budget(
        trials=options.pop("trials", 10), seconds=options.pop("seconds", None), plateau=options.pop("plateau", None)
    )
    return Plan(workload=workload, problem=problem, device=DEVICE, budget=budget, **options)
