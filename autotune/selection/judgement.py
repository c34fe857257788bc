"""Judgement: what a contest that is over says, as a verdict with its reason and as the configuration to be stored."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import UTC, datetime

import autotune
from autotune.objective import Objective
from autotune.progress import Progress
from autotune.selection.contest import PRACTICAL_GAIN, Contest
from autotune.tuned_config import TunedConfig
from autotune.values import Config
from autotune.verdict import Gain, Verdict, VerdictKind

THRESHOLD = f"{100 * PRACTICAL_GAIN:g} %"


def judge(contest: Contest, progress: Progress, incumbent: Config | None) -> Verdict:
    """The verdict of a contest that is over and was not abandoned.

    incumbent: what was current before, where it could be measured here.
    """
    default = progress.default_config
    winner = contest.winner or contest.standing
    if winner is None:
        return _nothing(contest, progress)
    runner_up = contest.runner_up(to=winner)

    def gain(over: Config | None) -> Gain | None:
        there = over is not None and over != winner and over in contest.members
        return contest.gain(winner, over) if there and over is not None else None

    verdict = Verdict(
        kind=_kind(contest, winner, default),
        winner=winner,
        reason="",
        over_default=gain(default),
        over_incumbent=gain(incumbent),
        over_runner_up=gain(runner_up),
        runner_up=runner_up,
        rounds=contest.evidence.rounds,
        pairs=contest.evidence.pairs(winner),
        disturbed=contest.disturbed,
        trials=len(progress.trials),
        decided_at=_now(),
    )
    return _explained(verdict, contest, progress)


def unseen(progress: Progress, incumbent: Config) -> Verdict:
    """The verdict of a study that ended before the incumbent was measured again: nothing is put in its place."""
    return Verdict(
        kind=VerdictKind.INCUMBENT,
        winner=incumbent,
        reason="The study ended before the incumbent was measured again, and nothing is put in its place unseen.",
        trials=len(progress.trials),
        decided_at=_now(),
    )


def tuned_config(verdict: Verdict, contest: Contest, progress: Progress, study_id: int) -> TunedConfig | None:
    """What is stored of the winner: its value and interval from the rounds, its speed-up from the pairs."""
    plan, objective, winner = progress.plan, progress.plan.workload.objective, verdict.winner
    if winner is None:
        return None
    values, default = contest.evidence.values(winner), progress.default_config
    baseline = contest.evidence.values(default).median if default in contest.members else None
    comparable = baseline is not None and contest.evidence.feasible(default)
    trial = next(trial for trial in progress.trials if trial.config == winner)
    return TunedConfig(
        workload=plan.workload.name,
        version=plan.workload.version,
        problem=plan.problem,
        sku=plan.device.sku,
        gpus=plan.gpus,
        config=winner,
        metric=objective.metric,
        direction=objective.direction,
        cache=plan.workload.cache,
        value=values.median,
        interval=values.interval,
        baseline=baseline,
        baseline_config=default,
        speedup=_speedup(objective, verdict, values.median, baseline) if comparable else None,
        toolchain=plan.key.toolchain,
        measured_at=verdict.decided_at,
        verdict=verdict,
        provenance={
            "study": study_id,
            "trial": trial.number,
            "trials": len(progress.trials),
            "failures": sum(progress.failures.values()),
            "metrics": contest.evidence.medians(winner),
            "effort": plan.effort.value,
            "objective": objective.text,
            "device": plan.device.name,
            "host": platform.node(),
            "autotune": autotune.__version__,
        },
    )


def _kind(contest: Contest, winner: Config, default: Config) -> VerdictKind:
    if winner == default:
        return VerdictKind.DEFAULT
    return VerdictKind.PROMOTED if winner == contest.winner else VerdictKind.INCUMBENT


def _explained(verdict: Verdict, contest: Contest, progress: Progress) -> Verdict:
    """With its reason."""
    beaten = {"the default": verdict.over_default, "the incumbent": verdict.over_incumbent}
    numbers = " and ".join(f"{name} by {gain.text}" for name, gain in beaten.items() if gain)
    where = f"in {verdict.pairs} pairs of {verdict.rounds} rounds"
    if verdict.kind is VerdictKind.PROMOTED:
        reason = f"It beats {numbers} {where}" if numbers else f"It is the best of those that ran, {where}"
    elif verdict.winner == contest.winner and numbers:
        reason = f"The default beats {numbers} {where}, and nothing else beats the default by {THRESHOLD}"
    else:
        rival, gain = _in_the_way(verdict, contest, progress.default_config)
        reason = f"Nothing was shown to beat {rival} by more than {THRESHOLD}"
        if gain is not None:
            reason += f": the best other gains {gain.text} {where}"
    return replace(verdict, reason=f"{reason}{_about_default(contest, progress.default_config)}.")


def _in_the_way(verdict: Verdict, contest: Contest, default: Config) -> tuple[str, Gain | None]:
    """Whom the best other failed to beat, and its gain over it; the default may stand in its way to the incumbent."""
    stays = "the incumbent" if verdict.kind is VerdictKind.INCUMBENT else "the default"
    if verdict.runner_up is None or verdict.winner is None:
        return stays, None
    gains = {stays: contest.gain(verdict.runner_up, over=verdict.winner)}
    if default in contest.members and default not in (verdict.winner, verdict.runner_up):
        gains["the default"] = contest.gain(verdict.runner_up, over=default)
    return min(gains.items(), key=lambda item: item[1].low)


def _about_default(contest: Contest, default: Config) -> str:
    """Why it was no rival, if it was none."""
    if default not in contest.members:
        return "; the default failed"
    return "" if contest.evidence.feasible(default) else "; the default breaks the bounds"


def _nothing(contest: Contest, progress: Progress) -> Verdict:
    failed = [f"{config.text}: {failure.message.rstrip('.')}" for config, failure in contest.failures.items()]
    again = f"; measured again, {failed[0]}" if failed else ""
    return Verdict(
        kind=VerdictKind.NOTHING,
        winner=None,
        reason=f"No configuration runs and keeps the bounds, of {len(progress.trials)}{again}.",
        disturbed=contest.disturbed,
        trials=len(progress.trials),
        decided_at=_now(),
    )


def _speedup(objective: Objective, verdict: Verdict, value: float, baseline: float | None) -> float | None:
    """How many times better than the default, from the pairs; None where a ratio makes no sense."""
    if baseline is None or objective.speedup(value, baseline) is None:
        return None
    gain = verdict.over_default.mean if verdict.over_default else 0.0
    return objective.speedup(1 - gain if objective.direction == "minimize" else 1 + gain, 1.0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
