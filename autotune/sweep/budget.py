"""What the seconds of a night's devices are spent on: the greatest expected gain for each; nobody waits for ever."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.plan import Plan
from autotune.registry import StudyRecord
from autotune.sweep.due import Due, DueKind
from autotune.sweep.past import Past

TRIAL_S = 2.0
"""Of a trial, where no study of the workload says how long one takes."""
PLANNED_TRIALS = 100
"""Where seconds alone bound a study, and a trial's share of them is asked for."""
RECHECK_TRIALS = 12
"""As much as which a recheck costs: three configurations in three to eight rounds."""

NEVER_TUNED = 0.5
"""The gain to be expected, as a share of the time: of what nobody has tuned."""
HARD_STALE_LEAST, HARD_STALE_MOST = 0.05, 0.45
SOFT_STALE = 0.02
CANARY = 0.005
OWN_CHANGE, TOOLCHAIN_CHANGE = 1.0, 0.5
"""Which share of the last gain may be had anew: where the workload itself changed, and where a tool did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A target with what it is due for, what that costs and what it promises."""

    plan: Plan
    due: Due
    past: Past
    cost_s: float
    """Seconds of devices."""
    promise: float
    """The gain to be expected, as a share of the time."""
    affordable: bool = True


def cost_s(plan: Plan, kind: DueKind, studies: Sequence[StudyRecord]) -> float:
    """Seconds of devices, by what earlier studies of the workload took, the nearest first."""
    if kind is DueKind.FRESH:
        return 0.0
    near, budget = _nearest(plan, studies), plan.budget
    trial_s = statistics.median(one.elapsed_s / one.trials for one in near) if near else TRIAL_S
    if kind in (DueKind.SOFT_STALE, DueKind.CANARY):
        elapsed_s = RECHECK_TRIALS * trial_s
    else:
        most = [count for count in (budget.trials, max((one.trials for one in near), default=None)) if count]
        by_trials = [trial_s * min(most)] if most else []
        by_time = [] if budget.seconds is None else [budget.seconds]
        elapsed_s = min([*by_trials, *by_time], default=PLANNED_TRIALS * trial_s)
    return elapsed_s * max(1, plan.gpus)


def promise(due: Due, past: Past) -> float:
    """The gain to be expected: of the never tuned the most, then by how far the last tuning went and what changed."""
    if due.kind is DueKind.NEVER_TUNED:
        return NEVER_TUNED
    if due.kind is DueKind.HARD_STALE:
        own = any(reason.startswith(("its ", "SKU ")) for reason in due.reasons)
        share = OWN_CHANGE if own else min(1.0, TOOLCHAIN_CHANGE * len(due.reasons))
        return min(HARD_STALE_MOST, HARD_STALE_LEAST + share * past.gain)
    return {DueKind.SOFT_STALE: SOFT_STALE, DueKind.CANARY: CANARY}.get(due.kind, 0.0)


def ranked(items: Sequence[Item]) -> list[Item]:
    """The longest waiting first, then the greatest promise per second; the fresh, who cost nothing, at the end."""
    return sorted(
        items,
        key=lambda item: (
            item.due.kind is DueKind.FRESH,
            -item.past.waited,
            -item.promise / max(item.cost_s, 1e-9),
            item.due.target.text,
        ),
    )


def spend(items: Sequence[Item], budget_s: float | None) -> list[Item]:
    """The items in the order in which they are done, each with whether the budget reaches it.

    The first is always done: one that costs more than a whole night would never be.
    """
    left_s, decided = float("inf") if budget_s is None else budget_s, list[Item]()
    for item in ranked(items):
        affordable = item.cost_s <= left_s or not decided
        if affordable:
            left_s -= item.cost_s
        decided.append(replace(item, affordable=affordable))
    return decided


def _nearest(plan: Plan, studies: Sequence[StudyRecord]) -> list[StudyRecord]:
    """Those of the same problem on the same SKU; else of the same SKU; else of the workload anywhere."""
    of_workload = [one for one in studies if one.key.workload == plan.workload.name and one.verdict and one.trials]
    of_sku = [one for one in of_workload if one.key.sku == plan.device.sku]
    of_target = [one for one in of_sku if one.key.problem.text == plan.problem.text]
    return of_target or of_sku or of_workload
