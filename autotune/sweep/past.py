"""Past: what earlier nights and studies say of a target; what follows for tonight is in `decision` and `budget`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from autotune.plan import Plan
from autotune.registry import Registry, StudyRecord
from autotune.sweep.due import Due, Target
from autotune.sweep.night import Deed, Night, Result
from autotune.tuned_config import TunedConfig
from autotune.verdict import VerdictKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Of one target."""

    study: StudyRecord | None = None
    """The last that came to a verdict, whatever it was."""
    tuned: TunedConfig | None = None
    """What is current by the same measure; None where nothing is."""
    moved_from: str | None = None
    """The SKU under which the same device was known, where none is called so any more."""
    elsewhere: tuple[str, ...] = ()
    """SKUs on which it is tuned."""
    looked_at: str = ""
    """When it was last tuned or measured again; UTC, ISO 8601."""
    toolchain: Mapping[str, str] | None = None
    """At that time."""
    waited: int = 0
    """Nights in a row in which the budget did not reach it."""
    left_over: Due | None = None
    """What it was due for in the last of them."""

    @property
    def was_tuned(self) -> bool:
        """Whether a study, or an import, says what is best."""
        return self.study is not None or self.tuned is not None

    @property
    def has_nothing(self) -> bool:
        """Whether it was tuned, and no configuration ran."""
        verdict = self.study.verdict if self.study else None
        return verdict is not None and verdict.kind is VerdictKind.NOTHING

    @property
    def gain(self) -> float:
        """By how much the last tuning improved on the default; 0 where it did not."""
        speedup = self.tuned.speedup if self.tuned else None
        return max(0.0, 1 - 1 / speedup) if speedup else 0.0


def target_of(plan: Plan) -> Target:
    """What the plan is about, without how hard."""
    return Target(workload=plan.workload.name, problem=plan.problem, sku=plan.device.sku, gpus=plan.gpus)


def current(tuned: Iterable[TunedConfig], plan: Plan) -> TunedConfig | None:
    """Of what is current, that for the plan's target by the plan's measure."""
    return next((one for one in tuned if _is_current(one, plan)), None)


class Memory:
    """What the registry and the nights know, read once; `of` says what of it is about one plan.

    nights: the newest first. here: the SKUs of tonight.
    """

    def __init__(self, registry: Registry, nights: Sequence[Night], here: Sequence[str]) -> None:
        self.studies = registry.studies()
        self._tuned = registry.current()
        self._here = frozenset(here)
        self._results: dict[str, list[tuple[str, Result]]] = {}
        for night in nights:
            for result in night.results:
                self._results.setdefault(_key(result.due.target), []).append((night.ended_at, result))

    def of(self, plan: Plan) -> Past:
        """What is known of its target."""
        target = target_of(plan)
        alike = [one for one in self.studies if one.verdict and _is_about(one, plan)]
        own = [one for one in alike if one.key.sku == target.sku]
        study = max(own, key=_decided_at, default=None)
        tuned = current(self._tuned, plan)
        results = self._results.get(_key(target), [])
        looked_at, toolchain = _last_look(study, tuned, results)
        waiting = list(takewhile(lambda one: one[1].deed is Deed.OUT_OF_BUDGET, results))
        others = [one for one in alike if one.key.sku != target.sku]
        gone = [one.key.sku for one in others if one.device == plan.device.name and one.key.sku not in self._here]
        return Past(
            study=study,
            tuned=tuned,
            moved_from=gone[-1] if gone else None,
            elsewhere=tuple(dict.fromkeys(one.key.sku for one in others)),
            looked_at=looked_at,
            toolchain=toolchain,
            waited=len(waiting),
            left_over=waiting[0][1].due if waiting else None,
        )


def _key(target: Target) -> str:
    return target.text


def _is_about(study: StudyRecord, plan: Plan) -> bool:
    """On whatever SKU."""
    key = study.key
    asked = (plan.workload.name, plan.problem.text, plan.gpus, plan.workload.objective.text, plan.workload.cache)
    return (key.workload, key.problem.text, key.gpus, key.objective, key.cache) == asked


def _is_current(tuned: TunedConfig, plan: Plan) -> bool:
    objective = plan.workload.objective
    asked = (plan.workload.name, plan.problem.text, plan.device.sku, plan.gpus)
    measure = (objective.metric, objective.direction, plan.workload.cache)
    has = (tuned.workload, tuned.problem.text, tuned.sku, tuned.gpus)
    return has == asked and (tuned.metric, tuned.direction, tuned.cache) == measure


def _decided_at(study: StudyRecord) -> str:
    return study.verdict.decided_at if study.verdict else ""


def _last_look(
    study: StudyRecord | None, tuned: TunedConfig | None, results: Sequence[tuple[str, Result]]
) -> tuple[str, Mapping[str, str] | None]:
    """When, and under which toolchain: by its study, by what was imported, or by a night that measured it again."""
    looks: list[tuple[str, Mapping[str, str]]] = []
    if study is not None:
        looks.append((_decided_at(study), study.key.toolchain))
    elif tuned is not None:
        looks.append((tuned.measured_at, tuned.toolchain))
    looks += [(at, result.toolchain) for at, result in reversed(results) if result.deed is Deed.RECHECKED]
    looks.sort(key=lambda look: look[0])  # of two in one second the night's, which follows its studies
    return looks[-1] if looks else ("", None)
