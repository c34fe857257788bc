"""Recheck: incumbent, default and runner-up measured in turn, to see whether their order still holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import TypeVar

from autotune.executor import Executor
from autotune.plan import Plan
from autotune.round import Round
from autotune.selection import Contest
from autotune.sweep.night import Reading
from autotune.sweep.past import Past
from autotune.sweep.reading import readings_of_rounds
from autotune.values import Config

TICK_S = 0.25
"""How often it is asked whether the sweep was interrupted, while a round is under way."""
MOST_RUNNERS_UP = 2
"""With more of them rounds would be spent on choosing among them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """What came of it."""

    readings: tuple[Reading, ...] = ()
    change: str = ""
    """What is no longer as it was, in a clause: it is to be tuned. Empty where the order holds."""
    failure: str = ""
    """Why nothing can be said; empty where something can."""


def recheck(plan: Plan, past: Past, executor: Executor, night: int, check: Callable[[], None]) -> Recheck:
    """Rounds until a `Contest` with the incumbent, the default and the runner-up is over; nothing is promoted.

    past: has a winner. night: its number, which the inputs are drawn by. check: raises where the sweep is interrupted.
    """
    assert past.tuned is not None
    incumbent, valid = past.tuned.config, plan.workload.space.bind(plan.problem, plan.device)
    if incumbent not in valid:
        return Recheck(change=f"the incumbent {incumbent.text} is not valid any more")
    default, others = valid.default, [one for one in _runners_up(past) if one in valid]
    contest = Contest(plan.workload.objective, others[:MOST_RUNNERS_UP], default, incumbent)
    while not contest.over:
        seed = plan.seed + 1000 * night + contest.number  # inputs of no other night
        trials = tuple(replace(plan.trial(config), seed=seed) for config in contest.members)
        outcomes = _await(executor.submit_round(Round(trials=trials, number=contest.number)), check)
        contest.take(outcomes)
    if contest.abandoned:
        return Recheck(failure="the infrastructure failed in too many of its rounds")
    rounds = [dict(one) for one in contest.evidence.readings]
    roles = {"incumbent": incumbent, "default": default}
    readings = readings_of_rounds(rounds, roles, plan, executor.devices())
    return Recheck(readings=readings, change=_change(contest, incumbent))


def _change(contest: Contest, incumbent: Config) -> str:
    if incumbent in contest.failures:
        return f"the incumbent fails: {contest.failures[incumbent].message.rstrip('.')}"
    if contest.winner is not None and contest.winner != incumbent:
        gain = contest.gain(contest.winner, over=incumbent)
        return f"{contest.winner.text} beats the incumbent by {gain.text}"
    if contest.standing != incumbent:
        return "the incumbent breaks the objective's bounds"
    return ""


def _runners_up(past: Past) -> list[Config]:
    """Whom the last verdicts saw next to the winner; the winner itself where another one was put in its place."""
    verdicts = [past.study.verdict if past.study else None, past.tuned.verdict if past.tuned else None]
    seen = [config for one in verdicts if one is not None for config in (one.winner, one.runner_up)]
    incumbent = past.tuned.config if past.tuned else None
    return [config for config in dict.fromkeys(seen) if config is not None and config != incumbent]


def _await(future: Future[T], check: Callable[[], None]) -> T:
    try:
        while not wait([future], timeout=TICK_S).done:
            check()
        check()
        return future.result()
    except BaseException:
        future.cancel()
        raise
