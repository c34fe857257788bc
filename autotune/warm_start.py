"""WarmStart: what other studies of a workload know that this one may begin from; how it is used is in `search`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from autotune.distance import distance
from autotune.errors import UserError
from autotune.measurement import Failure, FailureKind
from autotune.plan import Plan
from autotune.registry import RecordedTrial, Registry, StudyRecord
from autotune.search import Prior
from autotune.space.valid_set import ValidSet
from autotune.values import Config

AUTO, NONE = "auto", "none"
FEWEST_TRIALS = 8
"""A study with fewer measured configurations that are valid here says little about where to look."""
MOST_SOURCES = 4
"""The most similar studies; more of them add little, and the model weighs each."""
MOST_SEEDS = 8
"""Winners from elsewhere that are measured first, where the search itself makes nothing of a prior."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Measurements of sibling studies, to be minimised, and their winners; both valid here."""

    sources: tuple[StudyRecord, ...] = ()
    """The most similar first."""
    prior: Prior | None = None
    """None where there is no source."""
    winners: tuple[Config, ...] = ()
    """For other problems and on other SKUs, the most similar first."""


def check(registry: Registry, plan: Plan) -> None:
    """Raises UserError where `plan.warm_start` names a study that is not there, or one with another objective."""
    if plan.warm_start not in (AUTO, NONE):
        _named(registry, plan)


def warm_start(registry: Registry, plan: Plan, valid: ValidSet) -> WarmStart:
    """As `plan.warm_start` says: what `auto` finds of the same workload, nothing, or one named study.

    Raises UserError where the named study knows no configuration that is valid here.
    """
    if plan.warm_start == NONE:
        return WarmStart()
    winners = tuple(_winners(registry, plan, valid))
    if plan.warm_start == AUTO:
        found = ((study, _values(registry, study, plan, valid)) for study in _siblings(registry, plan))
        known = list(islice(((study, values) for study, values in found if len(values) >= FEWEST_TRIALS), MOST_SOURCES))
    else:
        study = _named(registry, plan)
        known = [(study, _values(registry, study, plan, valid))]
        if not known[0][1]:
            raise UserError(
                f"study {study.id} knows no configuration that is valid for {plan.workload.name} {plan.problem.text} "
                f"on {plan.device.sku}; --warm-start auto looks for studies that do."
            )
    if not known:
        return WarmStart(winners=winners)
    prior = Prior({f"study {study.id}": values for study, values in known})
    return WarmStart(tuple(study for study, _ in known), prior, winners)


def _named(registry: Registry, plan: Plan) -> StudyRecord:
    """The study that `--warm-start STUDY` names. Raises UserError where it has another objective."""
    study = registry.find_study(plan.warm_start)
    if study.key.objective != plan.key.objective:
        raise UserError(
            f"study {study.id} is to {study.key.objective}, this one to {plan.key.objective}; their values say nothing "
            f"about each other. Use --warm-start auto or none, or a study with the same objective."
        )
    return study


def _siblings(registry: Registry, plan: Plan) -> list[StudyRecord]:
    """Its other studies with the same objective: on the same SKU first, of the nearest problem, the newest."""
    here = plan.key
    others = (study for study in registry.studies(plan.workload.name) if study.key.digest != here.digest)
    alike = [study for study in others if study.key.objective == here.objective and study.trials >= FEWEST_TRIALS]
    alike.sort(key=lambda study: study.updated_at, reverse=True)
    return sorted(alike, key=lambda study: (study.key.sku != here.sku, distance(here.problem, study.key.problem)))


def _values(registry: Registry, study: StudyRecord, plan: Plan, valid: ValidSet) -> dict[Config, float | None]:
    """What the study measured, by configurations of this space; None where one failed."""
    values: dict[Config, float | None] = {}
    for trial in registry.trials(study.id):
        config = _adopted(trial.config, valid)
        if config is not None and _tells(trial):
            values.setdefault(config, _value(trial, plan))
    return values


def _tells(trial: RecordedTrial) -> bool:
    """Whether it says something about the configuration."""
    return not (isinstance(trial.outcome, Failure) and trial.outcome.kind is FailureKind.LOST)


def _value(trial: RecordedTrial, plan: Plan) -> float | None:
    objective = plan.workload.objective
    if isinstance(trial.outcome, Failure) or not objective.feasible(trial.outcome.medians):
        return None
    value = trial.outcome.medians[objective.metric]
    return value if objective.direction == "minimize" else -value


def _adopted(config: Config, valid: ValidSet) -> Config | None:
    """The configuration in this space: what it lacks, as an older version did, takes its default; None if invalid."""
    if config in valid:
        return config
    known = {name: value for name, value in config.items() if name in valid.space.parameters}
    try:
        adopted = valid.space.without_inactive(valid.space.checked({**valid.default, **known}))
    except UserError:  # a value that is not declared any more
        return None
    return adopted if adopted in valid else None


def _winners(registry: Registry, plan: Plan, valid: ValidSet) -> Iterator[Config]:
    """Of other problems and SKUs, the most similar first."""
    siblings = registry.siblings(plan.workload.name, problem=plan.problem, sku=plan.device.sku)
    adopted = (_adopted(tuned.config, valid) for tuned in siblings)
    yield from list(dict.fromkeys(config for config in adopted if config is not None))[:MOST_SEEDS]


def told(sources: Sequence[StudyRecord]) -> str:
    """Where a study begins, for its reader; empty where it begins with nothing."""
    listed = ", ".join(f"{f'{study.key.problem.text} '.lstrip()}on {study.key.sku}" for study in sources)
    trials = sum(study.trials for study in sources)
    return f"begins from {trials:,} trials of other studies: {listed}" if sources else ""
