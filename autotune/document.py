"""Documents: studies and results as plain JSON, for machines and for replay; what people are shown is in `report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autotune.matrix import MatrixResult
from autotune.measurement import Measurement
from autotune.objective import Objective
from autotune.portfolio.portfolio import Portfolio
from autotune.registry.generations import Changeover, Generation
from autotune.registry.records import RecordedRound, RecordedTrial, StudyRecord
from autotune.roofline import peak_shares
from autotune.study import StudyResult
from autotune.sweep.agenda import Agenda
from autotune.tuned_config import TunedConfig

RESULTS_SCHEMA = "autotune-results/1"
STUDY_SCHEMA = "autotune-study/1"
AGENDA_SCHEMA = "autotune-agenda/1"


def results_document(results: Sequence[StudyResult], matrices: Sequence[MatrixResult] = ()) -> dict[str, Any]:
    """What `autotune study --json` prints; with what matrix studies ended with, where that was asked for."""
    matrix = {"matrices": [matrix_document(one) for one in matrices]} if matrices else {}
    return {"schema": RESULTS_SCHEMA, "studies": [result_document(result) for result in results], **matrix}


def matrix_document(result: MatrixResult) -> dict[str, Any]:
    """How a matrix study ended; its studies stand beside it."""
    portfolio = result.portfolio.to_json() if result.portfolio else None
    return {"state": result.state, "portfolio": portfolio, "unpublished": result.unpublished}


def portfolio_row(portfolio: Portfolio, superseded_at: str | None) -> dict[str, Any]:
    """One portfolio: what `autotune show --portfolios --json` lists."""
    return {**portfolio.to_json(), "superseded_at": superseded_at}


def result_document(result: StudyResult) -> dict[str, Any]:
    """A study's result as plain values for JSON."""
    progress, plan = result.progress, result.progress.plan
    best, default = progress.best, progress.default
    return {
        "study": result.study_id,
        "state": result.state,
        "workload": plan.workload.name,
        "version": plan.workload.version,
        "problem": plan.problem,
        "sku": plan.device.sku,
        "device": plan.device.to_json(),
        "toolchain": dict(plan.key.toolchain),
        "objective": plan.workload.objective.text,
        "effort": plan.effort.value,
        "valid_configs": progress.valid_size,
        "trials": len(progress.trials),
        "measured_now": progress.measured_now,
        "failures": {kind.value: count for kind, count in progress.failures.items()},
        "elapsed_s": round(progress.elapsed_s, 3),
        "default": {"config": progress.default_config, "value": plan.value(default), "metrics": _medians(default)},
        "best": {"config": best.config, "value": plan.value(best), "metrics": _medians(best)} if best else None,
        "speedup": result.tuned.speedup if result.tuned and result.promoted else progress.speedup,
        "peak_shares": peak_shares(plan.workload, plan.problem, plan.device, result.medians),
        "tuned": result.tuned.to_json() if result.tuned else None,
        "promoted": result.promoted,
        "verdict": result.verdict.to_json() if result.verdict else None,
        "occupancy": result.occupancy.to_json() if result.occupancy else None,
        "unpublished": result.unpublished,
    }


def agenda_document(agenda: Agenda) -> dict[str, Any]:
    """What `autotune sweep --dry-run --json` prints."""
    return {
        "schema": AGENDA_SCHEMA,
        "started_at": agenda.started_at,
        "items": [
            {
                "workload": item.due.target.workload,
                "problem": item.due.target.problem,
                "sku": item.due.target.sku,
                "gpus": item.due.target.gpus,
                "due": item.due.kind.value,
                "reasons": list(item.due.reasons),
                "gpu_s": round(item.cost_s, 3),
                "promise": round(item.promise, 4),
                "within_budget": item.affordable,
            }
            for item in agenda.items
        ],
        "missing": list(agenda.missing),
    }


def study_document(
    study: StudyRecord, trials: Sequence[RecordedTrial], rounds: Sequence[RecordedRound] = ()
) -> dict[str, Any]:
    """One recorded study with all its trials and rounds, in the form that `--executor replay:FILE` reads."""
    key, objective = study.key, Objective.parse(study.key.objective)
    names = dict.fromkeys(name for trial in trials for name in trial.config)
    values = {name: list(dict.fromkeys(t.config[name] for t in trials if name in t.config)) for name in names}
    return {
        "schema": STUDY_SCHEMA,
        "study": study.id,
        "workload": key.workload,
        "version": key.version,
        "problem": key.problem,
        "sku": key.sku,
        "device": study.device,
        "toolchain": dict(key.toolchain),
        "objective": {
            "metric": objective.metric,
            "direction": objective.direction,
            "subject_to": dict(objective.subject_to),
        },
        "parameters": values,
        "trials": [
            {
                "number": trial.number,
                "origin": trial.origin,
                "finished_at": trial.finished_at,
                "config": trial.config,
                "outcome": trial.outcome.to_json(),
            }
            for trial in trials
        ],
        "rounds": [
            {
                "number": one.number,
                "recorded_at": one.recorded_at,
                "members": [
                    {"config": config, "outcome": outcome.to_json()} for config, outcome in one.outcomes.items()
                ],
            }
            for one in rounds
        ],
        "verdict": study.verdict.to_json() if study.verdict else None,
    }


def study_row(study: StudyRecord) -> dict[str, Any]:
    """One study without its trials: what `autotune show --studies --json` lists."""
    key = study.key
    return {
        "study": study.id,
        "workload": key.workload,
        "version": key.version,
        "problem": key.problem,
        "sku": key.sku,
        "gpus": key.gpus,
        "objective": key.objective,
        "effort": key.effort,
        "cache": key.cache,
        "toolchain": dict(key.toolchain),
        "state": study.state,
        "trials": study.trials,
        "failures": study.failures,
        "elapsed_s": study.elapsed_s,
        "updated_at": study.updated_at,
        "verdict": study.verdict.to_json() if study.verdict else None,
    }


def tuned_row(tuned: TunedConfig, superseded_at: str | None) -> dict[str, Any]:
    """One winner: what `autotune show --json` lists."""
    return {**tuned.to_json(), "superseded_at": superseded_at}


def generation_row(generation: Generation) -> dict[str, Any]:
    """One generation: what `autotune show --generations --json` lists."""
    return asdict(generation)


def changeover_document(changeover: Changeover) -> dict[str, Any]:
    """What `autotune rollback --json` prints."""
    return {
        "generations": list(changeover.generations),
        "changes": [
            {
                "before": change.before.to_json() if change.before else None,
                "after": change.after.to_json() if change.after else None,
            }
            for change in changeover.changes
        ],
        "left": [tuned.to_json() for tuned in changeover.left],
    }


def _medians(trial: RecordedTrial | None) -> dict[str, float]:
    return trial.outcome.medians if trial and isinstance(trial.outcome, Measurement) else {}
