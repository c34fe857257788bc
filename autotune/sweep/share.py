"""Share: one study's part of an executor that several use; what its trials cost is added up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autotune.device import Device
from autotune.executor import Executor
from autotune.measurement import Outcome
from autotune.round import Round
from autotune.trial import Trial


class Shares:
    """Who uses the executor now; of a SKU's slots each of its users has an equal part."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._users = executor, Counter[str]()

    @contextmanager
    def of(self, sku: str) -> Iterator[ExecutorShare]:
        """A part for the time of the block."""
        self._users[sku] += 1
        try:
            yield ExecutorShare(self._executor, self._users)
        finally:
            self._users[sku] -= 1


class ExecutorShare:
    """An executor with fewer slots than it has; whoever holds it does not close it."""

    def __init__(self, executor: Executor, users: Counter[str]) -> None:
        self._executor, self._users = executor, users
        self._adding = threading.Lock()
        self.gpu_s = 0.0
        """Seconds that devices worked for it, those of all its GPUs together."""

    def devices(self) -> Sequence[Device]:
        """As the executor's."""
        return self._executor.devices()

    def expect(self, path: Path) -> None:
        """As the executor's."""
        self._executor.expect(path)

    def slots(self, sku: str) -> int:
        """An equal part, and one at least where there is any."""
        slots = self._executor.slots(sku)
        return min(slots, max(1, slots // max(1, self._users[sku])))

    def submit(self, trial: Trial) -> Future[Outcome]:
        """As the executor's."""
        future = self._executor.submit(trial)
        future.add_done_callback(lambda done: self._add(done, trial.gpus))
        return future

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """As the executor's."""
        future = self._executor.submit_round(round)
        future.add_done_callback(lambda done: self._add(done, round.trials[0].gpus))
        return future

    def close(self) -> None:
        """The others go on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def _add(self, done: Future[Any], gpus: int) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        result = done.result()
        outcomes = result if isinstance(result, tuple) else (result,)
        with self._adding:
            self.gpu_s += max(1, gpus) * sum(outcome.elapsed_s for outcome in outcomes)
