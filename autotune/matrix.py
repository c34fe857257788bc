"""Matrix: one workload tuned for many problems on one SKU, and few configurations chosen for all; one is `study`."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import autotune
from autotune import publication
from autotune.comparison import Comparison
from autotune.distance import distance
from autotune.errors import SnapshotError, UserError
from autotune.executor import Executor
from autotune.lookup import refresh
from autotune.plan import Budget, Plan
from autotune.portfolio.losses import Losses
from autotune.portfolio.portfolio import Pick, Portfolio
from autotune.portfolio.rule import Rule
from autotune.portfolio.sizes import MOST, Sized, sizes, smallest_enough
from autotune.progress import Watch
from autotune.registry import Registry
from autotune.study import State, Study, StudyResult
from autotune.values import Config, Problem

FEW_BEST = 4
"""Of each problem; those that are among them on most problems become candidates beside the winners."""
MOST_CANDIDATES = 24
"""Each is measured for every problem. Winners beyond that number are candidates all the same."""

Begin = Callable[[Study], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixResult:
    """A finished or interrupted matrix study."""

    studies: tuple[StudyResult, ...]
    """In the order in which the problems were given; those that were reached."""
    state: State
    portfolio: Portfolio | None
    """None where it was interrupted, or no problem has a winner."""
    unpublished: str = ""
    """Why the portfolio's snapshot could not be written; the registry has it all the same."""


class Matrix:
    """Tunes every plan's problem, each with what was learnt from its neighbours, then measures the best for all.

    plans: of one workload on one device, for different problems with the same dimensions. at_most: how many
    configurations; None is as few as lose less than `sizes.ENOUGH`. begin: told of each study that is about to run.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        executor: Executor,
        registry: Registry,
        snapshots: Path | None,
        watch: Watch = lambda *_: None,
        *,
        at_most: int | None = None,
        begin: Begin = lambda _: None,
    ) -> None:
        _check(plans, at_most)
        self._plans, self._executor, self._registry, self._snapshots = plans, executor, registry, snapshots
        self._watch, self._at_most, self._begin = watch, at_most, begin
        self._studies = {plan.problem.text: self._study(plan) for plan in plans}
        self._results: dict[str, StudyResult] = {}

    @property
    def results(self) -> tuple[StudyResult, ...]:
        """Of the studies so far, in the order of the plans."""
        return tuple(self._results[plan.problem.text] for plan in self._plans if plan.problem.text in self._results)

    def run(self) -> MatrixResult:
        """Search for each problem; try what is good elsewhere; compare in rounds; choose. The same command goes on.

        On KeyboardInterrupt all is left as it stands: what the studies found counts, and no portfolio is stored.
        """
        portfolio, unpublished, finished = None, "", False
        try:
            finished = self._search() and self._cross(candidates := self._candidates())
            if finished:
                portfolio = self._up_to_date() or self._chosen(candidates)
        except KeyboardInterrupt:
            finished = False
        if portfolio is not None:
            self._registry.promote_portfolio(portfolio)
            unpublished = self._publish(portfolio)
        state: State = "complete" if finished else "interrupted"
        return MatrixResult(studies=self.results, state=state, portfolio=portfolio, unpublished=unpublished)

    def _search(self) -> bool:
        """A study per problem, the middle one first: its winner seeds its neighbours'. False where that ended early."""
        return all(
            self._run(self._studies[problem.text]) for problem in outward([plan.problem for plan in self._plans])
        )

    def _cross(self, candidates: Sequence[Config]) -> bool:
        """Each candidate tried for each problem: what is best there too wins there by the rules of a study."""
        return all(self._try(study, candidates) for study in self._studies.values())

    def _try(self, study: Study, candidates: Sequence[Config]) -> bool:
        """Beyond the budget, which is the search's; nothing else is tried."""
        trials = self._results[study.plan.problem.text].progress.trials
        known = {trial.config for trial in trials}
        new = [config for config in candidates if config in study.valid and config not in known]
        if not new:
            return True
        budget = Budget(trials=len(trials) + len(new))
        return self._run(self._study(replace(study.plan, budget=budget), new))

    def _run(self, study: Study) -> bool:
        """Whether it came to an end."""
        self._begin(study)
        result, text = study.run(), study.plan.problem.text
        before = self._results[text].progress.measured_now if text in self._results else 0
        progress = replace(result.progress, measured_now=before + result.progress.measured_now)
        self._results[text] = replace(result, progress=progress)
        return result.state == "complete"

    def _study(self, plan: Plan, also: Sequence[Config] = ()) -> Study:
        return Study(plan, self._executor, self._registry, self._snapshots, self._watch, also=also)

    def _candidates(self) -> list[Config]:
        """The winners, then what is among the best of most problems; the same as before where nothing was searched."""
        before = self._stored()
        if before and before.provenance["trials"] == self._trials():
            return [Config(config) for config in before.provenance["candidates"]]
        winners = list(dict.fromkeys(one.winner for one in self._comparisons(()) if one.winner is not None))
        good = Counter(config for result in self.results for config in _best(result))
        others = [config for config, _ in good.most_common() if config not in winners]
        return [*winners, *others[: max(0, MOST_CANDIDATES - len(winners))]]

    def _comparisons(self, candidates: Sequence[Config]) -> list[Comparison]:
        return [Comparison(result, candidates, self._executor, self._registry, self._watch) for result in self.results]

    def _up_to_date(self) -> Portfolio | None:
        """What is stored, where it knows all trials and was chosen by the same wish."""
        before = self._stored()
        known = before and (before.provenance["trials"], before.provenance["at_most"])
        return before if known == (self._trials(), self._at_most) else None

    def _chosen(self, candidates: Sequence[Config]) -> Portfolio | None:
        """Compared in rounds, chosen, and measured anew: what was chosen by its readings reads well by luck too."""
        comparisons = self._comparisons(candidates)
        for one in comparisons:
            one.run()
        while any(one.values for one in comparisons):
            columns = [(plan.problem, one.values) for plan, one in zip(self._plans, comparisons, strict=True)]
            found = sizes(Losses.of(self._plans[0].workload.objective, columns), self._at_most or MOST)
            chosen = found[-1] if self._at_most else smallest_enough(found)
            picks = self._picks(chosen.rule, comparisons)
            if picks is not None:
                return self._portfolio(chosen, found, picks, candidates, comparisons)
        return None

    def _picks(self, rule: Rule, comparisons: Sequence[Comparison]) -> list[Pick] | None:
        """What each problem gets, its loss measured anew; None where something failed at that, which is then out."""
        picks: list[Pick] = []
        for plan, one in zip(self._plans, comparisons, strict=True):
            if one.winner is None:
                continue
            number = rule.number(plan.problem)
            values = one.again(one.winner if number is None else rule.configs[number])
            if values is None:
                return None
            picks.append(_pick(plan, one.winner, values, rule, number))
        return picks

    def _portfolio(
        self,
        chosen: Sized,
        found: Sequence[Sized],
        picks: Sequence[Pick],
        candidates: Sequence[Config],
        comparisons: Sequence[Comparison],
    ) -> Portfolio:
        plan = self._plans[0]
        objective = plan.workload.objective
        return Portfolio(
            workload=plan.workload.name,
            version=plan.workload.version,
            sku=plan.device.sku,
            gpus=plan.gpus,
            metric=objective.metric,
            direction=objective.direction,
            cache=plan.workload.cache,
            rule=chosen.rule,
            picks=tuple(picks),
            sizes=tuple(sized.loss for sized in found),
            missing=tuple(plan.problem for plan, one in zip(self._plans, comparisons, strict=True) if not one.winner),
            toolchain=plan.key.toolchain,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            provenance={
                "at_most": self._at_most,
                "trials": self._trials(),
                "candidates": list(candidates),
                "compared_in_rounds": sum(one.from_rounds for one in comparisons),
                "effort": plan.effort.value,
                "objective": objective.text,
                "device": plan.device.name,
                "host": platform.node(),
                "autotune": autotune.__version__,
            },
        )

    def _trials(self) -> dict[str, int]:
        """By the number of each study; with as many there is nothing new."""
        return {str(result.study_id): len(result.progress.trials) for result in self.results}

    def _stored(self) -> Portfolio | None:
        """The current one of the same version and measure."""
        plan, objective = self._plans[0], self._plans[0].workload.objective
        wanted = (plan.gpus, objective.metric, objective.direction, plan.workload.cache, plan.workload.version)
        current = self._registry.portfolios(plan.workload.name, plan.device.sku)
        return next((p for p in current if (p.gpus, p.metric, p.direction, p.cache, p.version) == wanted), None)

    def _publish(self, portfolio: Portfolio) -> str:
        """Write it for lookups; why that was not possible, which must not cost the result."""
        if self._snapshots is None:
            return ""
        try:
            publication.write(self._registry, self._snapshots, portfolio.workload, portfolio.sku)
        except SnapshotError as error:
            return str(error)
        finally:
            refresh()
        return ""


def outward(problems: Sequence[Problem]) -> list[Problem]:
    """The middle one first, then always the one that is nearest to those before it; of equals the first given."""
    left = list(problems)
    done: list[Problem] = []
    while left:
        near = min(left, key=lambda one: min((distance(one, other) for other in done), default=math.inf))
        if not any(distance(near, other) < math.inf for other in done):
            near = _middle(left)  # a first one, or a dtype of which none is done yet
        done.append(near)
        left = [one for one in left if one is not near]  # 1 and 1.0 are equal, and two problems
    return done


def _middle(problems: Sequence[Problem]) -> Problem:
    """The one that is comparable with most others, and nearest to those."""

    def remoteness(one: Problem) -> tuple[int, float]:
        apart = [distance(one, other) for other in problems]
        near = [gap for gap in apart if gap < math.inf]
        return len(apart) - len(near), math.fsum(near)

    return min(problems, key=remoteness)


def _check(plans: Sequence[Plan], at_most: int | None) -> None:
    name, problems = plans[0].workload.name, [plan.problem for plan in plans]
    if at_most is not None and at_most < 1:
        raise UserError(f"at most {at_most} configurations leave none; expected 1 or more: --at-most 4.")
    if len(problems) < 2:
        raise UserError(
            f"a matrix study takes several problems, and {name} has one here ({problems[0].text or 'no dimensions'}); "
            f"declare more, or give more with --problem k=v,…."
        )
    for problem in problems:
        if problem.keys() != problems[0].keys():
            raise UserError(
                f"the problems of a matrix study have the same dimensions, and {name} has {problems[0].text} and "
                f"{problem.text}; choose those that are alike with --problem k=v,…."
            )


def _best(result: StudyResult) -> list[Config]:
    """The few best of its search."""
    plan, objective = result.progress.plan, result.progress.plan.workload.objective
    able = [trial for trial in result.progress.trials if plan.feasible(trial)]
    ranked = sorted(able, key=lambda trial: plan.value(trial) or 0.0, reverse=objective.direction == "maximize")
    return [trial.config for trial in ranked[:FEW_BEST]]


def _pick(plan: Plan, winner: Config, values: Mapping[Config, float], rule: Rule, number: int | None) -> Pick:
    losses = Losses.of(plan.workload.objective, [(plan.problem, values)])
    loss = None if number is None else losses.rows[losses.configs.index(rule.configs[number])][0]
    return Pick(problem=plan.problem, best=winner, value=values[winner], config=number, loss=loss)
