"""Study: the loop that tunes one workload for one problem on one SKU; it knows neither Optuna, SQL nor the terminal."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from autotune import publication
from autotune.errors import SnapshotError
from autotune.executor import Executor
from autotune.final import Final
from autotune.lookup import refresh
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.occupancy import MeteredExecutor, Occupancy
from autotune.plan import Plan
from autotune.progress import Progress, Watch
from autotune.registry import RecordedTrial, Registry, StudyRecord
from autotune.sampler import Proposal, Sampler
from autotune.space.valid_set import ValidSet
from autotune.tuned_config import TunedConfig
from autotune.values import Config
from autotune.verdict import Verdict
from autotune.warm_start import WarmStart, check, told, warm_start

LOST_RETRIES = 2
"""How often a configuration is tried again after the infrastructure failed under it."""
PLATEAU_GAIN = 0.01
"""An improvement of the best by less than this share does not end a plateau."""
TICK_S = 0.25
"""How often the watcher hears of time passing while no trial ends."""

State = Literal["running", "complete", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """A finished or interrupted study."""

    study_id: int
    progress: Progress
    state: State
    tuned: TunedConfig | None
    """What is current after it; None where nothing is."""
    promoted: bool
    """Whether that was measured by this study's rounds; otherwise it is what an earlier study found."""
    verdict: Verdict | None
    """Who won, and why; None where it was interrupted."""
    occupancy: Occupancy | None = None
    """Of the devices in this run; None where nothing was measured."""
    unpublished: str = ""
    """Why the snapshot could not be written; the registry has the winner all the same."""

    @property
    def medians(self) -> Mapping[str, float]:
        """Of each metric: the winner's in its rounds; of the best of the search where this study promoted nothing."""
        if self.tuned and self.promoted:
            return cast("Mapping[str, float]", self.tuned.provenance["metrics"])
        best = self.progress.best.outcome if self.progress.best else None
        return best.medians if isinstance(best, Measurement) else {}


class Study:
    """Tunes one workload for one problem on one SKU; the same plan resumes where an earlier run stopped.

    also: configurations that are tried first, right after the default; those that are not valid here are left out.
    known: what it begins from, in place of what the registry knows.
    anew: a verdict on record is not enough, its finalists are measured again.
    """

    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        registry: Registry,
        snapshots: Path | None,
        watch: Watch = lambda *_: None,
        *,
        also: Iterable[Config] = (),
        known: WarmStart | None = None,
        anew: bool = False,
    ) -> None:
        self._anew = anew
        self._plan, self._executor, self._registry = plan, MeteredExecutor(executor), registry
        self._snapshots, self._watch = snapshots, watch
        self._valid = plan.workload.space.bind(plan.problem, plan.device)
        check(registry, plan)
        self._sampler = Sampler(self._valid, plan.workload.objective, name=plan.sampler, seed=plan.seed)
        self._also = [config for config in also if config in self._valid]
        self._given, self._known = known, known or WarmStart()
        self._trials: list[RecordedTrial] = []
        self._default: RecordedTrial | None = None
        self._best: RecordedTrial | None = None
        self._incumbent: TunedConfig | None = None
        self._incumbent_trial: RecordedTrial | None = None
        self._since_improvement = 0
        self._lost: Counter[Config] = Counter()
        self._running: dict[Future[Outcome], Proposal] = {}
        self._resumed, self._elapsed_before_s, self._started_s = 0, 0.0, time.monotonic()

    @property
    def plan(self) -> Plan:
        """What it was asked for."""
        return self._plan

    @property
    def valid(self) -> ValidSet:
        """The configurations that it searches."""
        return self._valid

    def run(self) -> StudyResult:
        """Search until the budget is spent, measure the finalists again in rounds, then promote the winner.

        On KeyboardInterrupt the study is left as it stands and the state says so; nothing is promoted.
        """
        plan = self._plan
        record = self._registry.study(
            plan.key,
            path=plan.workload.path,
            device=plan.device,
            default_config=self._valid.default,
            seed=plan.seed,
            sampler=plan.sampler,
        )
        with self._registry.claim(record.id):
            self._resume(record.id, record.elapsed_s)
            verdict: Verdict | None = None
            try:
                self._search(record.id)
                verdict = self._select(record)
            except KeyboardInterrupt:
                self._withdraw()
            finally:
                self._registry.close_study(record.id, "complete" if verdict else "interrupted", self._elapsed_s)
            tuned, unpublished = self._current(), self._publish()
        return StudyResult(
            study_id=record.id,
            progress=self.progress,
            state="complete" if verdict else "interrupted",
            tuned=tuned,
            promoted=bool(tuned and verdict and tuned.verdict == verdict),
            verdict=verdict,
            occupancy=self._executor.occupancy(plan.device.sku),
            unpublished=unpublished,
        )

    @property
    def progress(self) -> Progress:
        """Where the study stands now."""
        now_s = time.monotonic() - self._started_s
        return Progress(
            plan=self._plan,
            trials=tuple(self._trials),
            running=len(self._running),
            measured_now=len(self._trials) - self._resumed,
            elapsed_s=self._elapsed_before_s + now_s,
            elapsed_now_s=now_s,
            default=self._default,
            best=self._best,
            default_config=self._valid.default,
            valid_size=self._valid.size,
            planned=self._planned,
            begins_from=told(self._known.sources),
        )

    def _search(self, study_id: int) -> None:
        """THE loop: ask, submit, wait, record, tell."""
        while True:
            for proposal in self._proposals():
                self._submit(proposal)
            if not self._running:
                return
            done, _ = wait(self._running, timeout=TICK_S, return_when=FIRST_COMPLETED)
            for future in done:
                self._conclude(study_id, self._running.pop(future), future.result())
            if not done:
                self._watch(self.progress, None)

    def _submit(self, proposal: Proposal) -> None:
        trial = self._plan.trial(
            proposal.config, rival=self._plan.value(self._best), known_throttle=self._known_throttle
        )
        self._running[self._executor.submit(trial)] = proposal

    def _proposals(self) -> Iterator[Proposal]:
        """New proposals while the budget lasts and the executor has room."""
        while len(self._running) < self._executor.slots(self._plan.device.sku) and self._budget_left():
            proposal = self._sampler.ask()
            if proposal is None:
                return
            yield proposal

    def _conclude(self, study_id: int, proposal: Proposal, outcome: Outcome) -> None:
        """Record first, so that a kill right after loses nothing; then learn. A lost trial is run again."""
        if isinstance(outcome, Failure) and outcome.kind is FailureKind.LOST:
            self._lost[proposal.config] += 1
            if self._lost[proposal.config] <= LOST_RETRIES:
                self._submit(proposal)
                return
        trial = RecordedTrial(
            number=self._trials[-1].number + 1 if self._trials else 0,  # a failover may have cost one in between
            config=proposal.config,
            outcome=outcome,
            origin=proposal.origin,
            finished_at=_now(),
        )
        self._registry.record(study_id, trial)
        self._sampler.tell(proposal, outcome)
        self._note(trial)
        self._watch(self.progress, trial)

    def _resume(self, study_id: int, elapsed_s: float) -> None:
        """Learn what other studies and earlier runs know; queue the default and the seeds in front of the search."""
        self._incumbent = self._current()
        self._known = self._given or warm_start(self._registry, self._plan, self._valid)
        self._sampler.warm_start(self._known.prior)
        for trial in self._registry.trials(study_id):
            self._sampler.remember(trial.config, trial.origin, trial.outcome)
            self._note(trial)
        self._resumed = len(self._trials)
        # A killed run did not write its time; its trials took at least this.
        self._elapsed_before_s = max(elapsed_s, sum(t.outcome.elapsed_s for t in self._trials))
        self._sampler.enqueue([self._valid.default], "default")
        self._sampler.enqueue([*self._also, *self._seeds()], "seed")
        self._started_s = time.monotonic()

    def _seeds(self) -> list[Config]:
        """The incumbent, what the workload's author believes in, winners for other problems and SKUs; valid here.

        A strategy that learns from a prior tries those winners itself, and stops where the first ones disappoint.
        """
        incumbent = [self._incumbent.config] if self._incumbent else []
        winners = () if self._known.prior and self._sampler.learns_from_priors else self._known.winners
        return [c for c in dict.fromkeys([*incumbent, *self._plan.workload.seeds, *winners]) if c in self._valid]

    def _note(self, trial: RecordedTrial) -> None:
        """Take a trial into the account: the default, the best so far, the plateau."""
        self._trials.append(trial)
        self._since_improvement += 1
        if trial.config == self._valid.default:
            self._default = trial
        if self._incumbent and trial.config == self._incumbent.config:
            self._incumbent_trial = trial
        value, best = self._plan.value(trial), self._plan.value(self._best)
        if value is None or not self._plan.feasible(trial):
            return
        gain = math.inf if best is None else self._plan.workload.objective.gain(value, over=best)
        if gain > 0:
            self._best = trial
        if gain > PLATEAU_GAIN:
            self._since_improvement = 0

    def _budget_left(self) -> bool:
        budget, planned = self._plan.budget, len(self._trials) + len(self._running)
        return planned == 0 or not (  # the default is measured whatever the budget
            (budget.trials is not None and planned >= budget.trials)
            or (budget.seconds is not None and self._elapsed_s >= budget.seconds)
            or (budget.plateau is not None and self._since_improvement >= budget.plateau)
        )

    @property
    def _planned(self) -> int | None:
        bounds = [self._plan.budget.trials, self._valid.size if self._valid.exact else None]
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._started_s

    def _withdraw(self) -> None:
        for future in self._running:
            future.cancel()
        self._running.clear()

    def _select(self, study: StudyRecord) -> Verdict | None:
        """Who wins; None where the rounds that say so could not be had."""
        if not self._anew and study.verdict and study.verdict.trials == len(self._trials):
            return study.verdict  # nothing was measured since
        incumbent = self._incumbent.config if self._incumbent and self._incumbent.config in self._valid else None
        final = Final(
            study.id, self._executor, self._registry, self.progress, incumbent, self._known_throttle, self._watch
        )
        return final.run()

    @property
    def _known_throttle(self) -> tuple[str, ...] | None:
        """What held the clocks back for the incumbent, or else for the default; None before they are measured."""
        known = [trial.outcome for trial in (self._incumbent_trial, self._default) if trial]
        measured = [outcome for outcome in known if isinstance(outcome, Measurement)]
        return measured[0].conditions.throttle if measured else None

    def _publish(self) -> str:
        """Write what is current for lookups; why that was not possible, which must not cost the result."""
        if self._snapshots is None:
            return ""
        try:
            publication.write(self._registry, self._snapshots, self._plan.workload.name, self._plan.device.sku)
        except SnapshotError as error:
            return str(error)
        finally:
            refresh()
        return ""

    def _current(self) -> TunedConfig | None:
        """What is current for this problem by the same measure."""
        plan, objective = self._plan, self._plan.workload.objective
        current = self._registry.current(plan.workload.name, plan.device.sku, plan.problem)
        measure = (objective.metric, objective.direction, plan.workload.cache)
        comparable = (t for t in current if t.gpus == plan.gpus and t.problem.text == plan.problem.text)
        return next((t for t in comparable if (t.metric, t.direction, t.cache) == measure), None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
