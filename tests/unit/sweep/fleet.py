"""A fleet that answers at once, from any thread, and a folder of workloads whose bodies are never run on it."""

import threading
from dataclasses import replace

from autotune.registry import Registry
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.discovery import discover
from autotune.sweep.ledger import Ledger
from autotune.sweep.sweep import Sweep
from tests.unit.answering import DEVICE, AnsweringExecutor, measured

SOURCE = """
import autotune
from autotune import Problem, SearchSpace, integer
{imports}

@autotune.workload(space=SearchSpace(x=integer(0, 4, default=4)), problems=[{problems}])
def {name}(problem, config):
    yield lambda: None
"""


def write(folder, name, imports="", problems="Problem(n=1)"):
    path = folder / f"{name}.py"
    path.write_text(SOURCE.format(name=name, imports=imports, problems=problems))
    return path


class Fleet(AnsweringExecutor):
    """Devices of some SKUs; `value(trial)` is the latency, or an exception, or an outcome."""

    def __init__(self, value=lambda trial: 1.0 + trial.config.x, skus=("h200",)):
        super().__init__(None)
        self.value, self._turn = value, threading.Lock()
        self._here = [replace(DEVICE, sku=sku, uuid=f"GPU-{n}", index=n) for n, sku in enumerate(skus)]

    def devices(self):
        return self._here

    def submit(self, trial):
        with self._turn:
            self.answer = lambda config: self._outcome(trial)
            return super().submit(trial)

    def submit_round(self, round):  # noqa: A002
        with self._turn:
            answers = {trial.config: trial for trial in round.trials}
            self.answer_round = lambda config, number: self._outcome(answers[config])
            return super().submit_round(round)

    def tuned(self):
        """Which workloads were searched since the last call."""
        names = {trial.workload.name for trial in self.trials}
        self.trials.clear()
        return names

    def _outcome(self, trial):
        value = self.value(trial)
        return measured(value, spread=0.001) if isinstance(value, float) else value


class Night:
    """A registry and its nights in a folder, and sweeps over them."""

    def __init__(self, folder, executor=None, **configuration):
        self.folder, self.executor = folder, executor or Fleet()
        self.kernels = folder / "kernels"
        self.kernels.mkdir(exist_ok=True)
        self.registry = Registry.open(f"sqlite:///{folder / 'registry.db'}")
        self.published = []
        self.nightly = self.registry
        quiet = {"canary_share": 0.0, "full_every_nights": 0}
        self.configuration = SweepConfiguration(**{"paths": (self.kernels,), **quiet, **configuration})

    def ledger(self):
        return Ledger(self.nightly, self.registry, self.publish)

    def publish(self, number):
        self.published.append(number)
        self.registry.publish(number)

    def sweep(self, tell=lambda *_: None, **changes):
        configuration = replace(self.configuration, **changes)
        found = discover(configuration)
        return Sweep(found, configuration, self.executor, self.registry, self.ledger(), tell=tell).run()
