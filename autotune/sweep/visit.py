"""Visit: one target of a night, from what it is due for to its result; who is visited when is in `work`."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from autotune.executor import Executor
from autotune.measurement import Failure
from autotune.plan import Plan
from autotune.registry import Registry
from autotune.study import Study, StudyResult
from autotune.sweep.budget import Item, cost_s
from autotune.sweep.due import Due, DueKind
from autotune.sweep.night import Deed, Result
from autotune.sweep.past import Past
from autotune.sweep.reading import readings_of_study
from autotune.sweep.recheck import Recheck, recheck
from autotune.values import Config

ROOM_FOR_SEEDS = 10
"""Trials beyond those that a study has had, where it is judged anew: the incumbent must be among them."""
WAITS = "it comes first the next night"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Everything that is needed for it."""

    item: Item
    executor: Executor
    registry: Registry
    """Where winners are put."""
    in_production: Config | None
    """What ran until now."""
    night: int
    check: Callable[[], None]
    """Called now and then; raises KeyboardInterrupt where the sweep is interrupted."""
    has_room_for: Callable[[float], bool]
    """Whether the budget has so many seconds left."""

    def pay(self) -> Result:
        """Measure it again, or tune it, or first the one and then the other."""
        if self.item.due.kind not in (DueKind.SOFT_STALE, DueKind.CANARY):
            return self._tune(self.item)
        found = recheck(self.item.plan, self.item.past, self.executor, self.night, self.check)
        if found.failure:
            return result(self.item, Deed.FAILED, message=found.failure)
        if found.change:
            return self._follow(found)
        return replace(result(self.item, Deed.RECHECKED), readings=found.readings)

    def _follow(self, found: Recheck) -> Result:
        """The order is another one: tuned tonight, or the next night where the budget does not allow it."""
        due = Due(target=self.item.due.target, kind=DueKind.HARD_STALE, reasons=(found.change, *self.item.due.reasons))
        changed = replace(self.item, due=due)
        if self.has_room_for(cost_s(self.item.plan, due.kind, self.registry.studies(self.item.plan.workload.name))):
            return self._tune(changed)
        return replace(result(changed, Deed.OUT_OF_BUDGET, message=WAITS), readings=found.readings)

    def _tune(self, item: Item) -> Result:
        study = Study(
            _with_room(item.plan, item.past), self.executor, self.registry, None, lambda *_: self.check(), anew=True
        )
        done = study.run()
        if done.verdict is None:
            self.check()
            return result(item, Deed.FAILED, message="the infrastructure failed in too many rounds of its finalists")
        return self._tuned(item, done, study.valid.default)

    def _tuned(self, item: Item, done: StudyResult, default: Config) -> Result:
        verdict, progress = done.verdict, done.progress
        assert verdict is not None
        rounds = self.registry.measured_again(done.study_id)
        here = self.executor.devices()
        tonight = progress.trials[len(progress.trials) - progress.measured_now :]
        failed = [one.outcome.kind.value for one in tonight if isinstance(one.outcome, Failure)]
        return replace(
            result(item, Deed.TUNED, message=verdict.reason),
            readings=readings_of_study(rounds, verdict, self.in_production, default, item.plan, here),
            verdict=verdict,
            study=done.study_id,
            trials=len(tonight),
            failures=Counter(f"{kind} on {platform.node()}" for kind in failed),
        )


def result(item: Item, deed: Deed, message: str = "") -> Result:
    """What can be said of a target whatever was done about it."""
    objective = item.plan.workload.objective
    return Result(
        due=item.due,
        deed=deed,
        metric=objective.metric,
        direction=objective.direction,
        toolchain=item.plan.key.toolchain,
        message=message,
    )


def _with_room(plan: Plan, past: Past) -> Plan:
    """Where the very same study was judged before, so that its trials may be used up: with room for today's seeds."""
    study, trials = past.study, plan.budget.trials
    if study is None or trials is None or study.key.digest != plan.key.digest:
        return plan
    return replace(plan, budget=replace(plan.budget, trials=max(trials, study.trials + ROOM_FOR_SEEDS)))
