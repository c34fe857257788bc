from dataclasses import replace

import pytest

from autotune import Config, SearchSpace, choice, integer, maximize, minimize
from autotune.errors import UserError
from autotune.measurement import Failure, FailureKind
from autotune.registry import RecordedTrial, Registry
from autotune.study import Study
from autotune.values import Problem
from autotune.warm_start import warm_start
from tests.unit.answering import AnsweringExecutor, failed, measured, plan

SPACE = SearchSpace(a=integer(0, 40), b=integer(0, 40))


@pytest.fixture
def registry():
    with Registry.memory() as registry:
        yield registry


def about(m, *, space=SPACE, sku=None, objective=None, **changes):
    """A plan for problem m."""
    base = plan(space=space, objective=objective or minimize(), **changes)
    device = replace(base.device, sku=sku) if sku else base.device
    return replace(base, problem=Problem(m=m), device=device)


def keep(registry, plan, outcomes):
    """A study with these outcomes, by configuration."""
    valid = plan.workload.space.bind(plan.problem, plan.device)
    study = registry.study(
        plan.key, path=plan.workload.path, device=plan.device, default_config=valid.default, seed=0, sampler="auto"
    )
    for number, (config, outcome) in enumerate(outcomes.items()):
        trial = RecordedTrial(number=number, config=config, outcome=outcome, origin="search", finished_at="2026-01-01")
        registry.record(study.id, trial)
    return study.id


def times(count=12, factor=1.0):
    return {Config(a=n, b=n): measured(factor * (1 + abs(n - 7))) for n in range(count)}


def known(registry, plan):
    return warm_start(registry, plan, plan.workload.space.bind(plan.problem, plan.device))


def test_the_measurements_of_other_problems_skus_and_versions_are_the_prior_the_most_similar_first(registry):
    far = keep(registry, about(4096), times())
    near = keep(registry, about(32), times())
    elsewhere = keep(registry, about(16, sku="a100-sxm-80gb"), times())
    found = known(registry, about(16))
    assert [study.id for study in found.sources] == [near, far, elsewhere]
    assert found.prior.sources[f"study {near}"][Config(a=7, b=7)] == 1.0


def test_none_knows_nothing_and_a_named_study_is_the_only_source(registry):
    keep(registry, about(32), times())
    one = keep(registry, about(4096), times())
    assert known(registry, replace(about(16), warm_start="none")).prior is None
    found = known(registry, replace(about(16), warm_start=str(one)))
    assert [study.id for study in found.sources] == [one]


def test_too_few_measurements_are_no_source_unless_named(registry):
    few = keep(registry, about(32), times(3))
    assert known(registry, about(16)).prior is None
    assert known(registry, replace(about(16), warm_start=str(few))).prior is not None


def test_values_are_to_be_minimised_failures_are_none_and_what_was_lost_is_left_out(registry):
    objective = maximize("latency_ms")
    lost = Failure(kind=FailureKind.LOST, message="the node went away")
    outcomes = {**times(), Config(a=39, b=1): failed(), Config(a=38, b=1): lost}
    keep(registry, about(32, objective=objective), outcomes)
    (values,) = known(registry, about(16, objective=objective)).prior.sources.values()
    assert values[Config(a=0, b=0)] == -8.0
    assert values[Config(a=39, b=1)] is None
    assert Config(a=38, b=1) not in values


def test_what_an_older_version_lacked_takes_its_default_and_what_is_gone_is_dropped(registry):
    keep(registry, about(32), times())
    newer = SearchSpace(a=integer(0, 9), b=integer(0, 40), stages=choice(1, 2, 3, default=2))
    (values,) = known(registry, about(16, space=newer)).prior.sources.values()
    assert set(values) == {Config(a=n, b=n, stages=2) for n in range(10)}


def test_another_objective_is_no_sibling_and_cannot_be_named(registry):
    other = keep(registry, about(32, objective=maximize("latency_ms")), times())
    assert known(registry, about(16)).prior is None
    with pytest.raises(UserError, match="their values say nothing about each other"):
        Study(replace(about(16), warm_start=str(other)), AnsweringExecutor(measured), registry, None)


def test_a_named_study_that_shares_no_configuration_is_refused(registry):
    other = keep(registry, about(32), times())
    elsewhere = about(16, space=SearchSpace(a=integer(100, 120), b=integer(0, 40)))
    with pytest.raises(UserError, match="knows no configuration that is valid"):
        known(registry, replace(elsewhere, warm_start=str(other)))


def test_a_study_that_begins_from_a_sibling_finds_the_best_in_fewer_trials(registry):
    def answer(config):
        return measured(1 + 0.05 * (config.a - 33) ** 2 + 0.04 * (config.b - 9) ** 2)

    def trials_needed(study):
        result = study.run()
        values = [trial.outcome.medians["latency_ms"] for trial in result.progress.trials]
        return next(n for n, value in enumerate(values) if value <= 1.05), result

    cold, _ = trials_needed(Study(about(64, trials=120), AnsweringExecutor(answer), registry, None))
    warm, result = trials_needed(Study(about(128, trials=30), AnsweringExecutor(answer), registry, None))
    assert warm <= max(2, cold / 3)
    assert result.progress.begins_from == "begins from 120 trials of other studies: m=64 on h200-sxm-141gb"
