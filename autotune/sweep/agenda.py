"""Agenda: what a night has to do and in which order, before anything of it is done; `--dry-run` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotune.executor import Executor
from autotune.plan import Plan
from autotune.registry import Registry
from autotune.sweep.budget import Item, cost_s, promise, spend
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.decision import Tonight, decide
from autotune.sweep.dependencies import toolchain_parts
from autotune.sweep.discovery import Discovery
from autotune.sweep.night import Deed, Night, Result
from autotune.sweep.past import Memory, target_of

NIGHTS_REMEMBERED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """Of one night."""

    started_at: str
    items: tuple[Item, ...]
    """In the order in which they are done; those that the budget does not reach among them."""
    done: tuple[Result, ...] = ()
    """What the same night did before it was interrupted; what failed is tried again, and not among them."""
    spent_s: float = 0.0
    """Seconds of devices that it took, with what failed."""
    missing: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Of the night."""
        return Tonight(started_at=self.started_at).number


def agenda(
    discovery: Discovery,
    configuration: SweepConfiguration,
    executor: Executor,
    registry: Registry,
    history: Sequence[Night],
    unfinished: Night | None,
    now: str,
) -> Agenda:
    """Of a night that begins now, or of the one that was left unfinished.

    history: nights that are over, the newest first.
    """
    tonight = Tonight(started_at=unfinished.started_at if unfinished else now)
    here = executor.devices()
    plans, absent = discovery.plans(here, configuration)
    memory = Memory(registry, history, [device.sku for device in here])
    done = _done(unfinished)
    parts = {plan.workload.path: toolchain_parts(plan.workload.path) for plan in plans}
    items = []
    for plan in (plan for plan in plans if target_of(plan).text not in done):
        past = memory.of(plan)
        due = decide(plan, past, parts[plan.workload.path], tonight, configuration)
        cost = cost_s(plan, due.kind, memory.studies)
        items.append(Item(plan=plan, due=due, past=past, cost_s=cost, promise=promise(due, past)))
    spent_s = sum(result.gpu_s for result in unfinished.results) if unfinished else 0.0
    budget_s = None if configuration.budget_gpu_s is None else max(0.0, configuration.budget_gpu_s - spent_s)
    return Agenda(
        started_at=tonight.started_at,
        items=tuple(spend(items, budget_s)),
        done=tuple(done.values()),
        spent_s=spent_s,
        missing=(*discovery.unusable, *absent, *_vanished(plans, history, [device.sku for device in here])),
    )


def _done(unfinished: Night | None) -> dict[str, Result]:
    """By target."""
    results = unfinished.results if unfinished else ()
    return {one.due.target.text: one for one in results if one.deed is not Deed.FAILED}


def _vanished(plans: Sequence[Plan], history: Sequence[Night], here: Sequence[str]) -> list[str]:
    """SKUs that the last night had for these workloads, and that are not there tonight."""
    if not history:
        return []
    names = {plan.workload.name for plan in plans}
    then = {one.due.target.sku for one in history[0].results if one.due.target.workload in names}
    return [
        f"SKU {sku} was there in the night of {history[0].started_at}, and is not" for sku in sorted(then - {*here})
    ]
