from dataclasses import replace

import pytest

from autotune import Config, Problem, SearchSpace, choice, integer, lookup, maximize, minimize
from autotune.errors import WorkloadError
from autotune.measurement import FailureKind, Measurement
from autotune.registry import Registry
from autotune.study import LOST_RETRIES, Study
from tests.unit.answering import AnsweringExecutor, failed, measured, plan


@pytest.fixture
def registry():
    with Registry.memory() as one:
        yield one


def tune(registry, answer, *, slots=1, snapshots=None, watch=lambda *_: None, **options):
    executor = AnsweringExecutor(answer, slots)
    result = Study(plan(**options), executor, registry, snapshots, watch).run()
    return result, [trial.config for trial in executor.trials]


def latency(config):
    return measured(1.0 + abs(config.x - 3))


def test_the_default_is_measured_first_and_is_what_speedup_means(registry):
    result, asked = tune(registry, latency)
    assert asked[0] == {"x": 9}
    assert result.progress.default.config == {"x": 9}
    assert result.progress.best.config == {"x": 3}
    assert result.progress.speedup == 7.0
    assert (result.tuned.config, result.tuned.baseline, result.tuned.value) == ({"x": 3}, 7.0, 1.0)


def test_the_same_plan_resumes_and_measures_nothing_twice(registry):
    _, first = tune(registry, latency, trials=4)
    result, second = tune(registry, latency, trials=7)
    assert len(first) == 4
    assert len(second) == 3
    assert not set(first) & set(second)
    assert len(result.progress.trials) == 7
    assert result.progress.measured_now == 3
    again, third = tune(registry, latency, trials=7)
    assert third == []
    assert again.progress.best.config == result.progress.best.config


@pytest.mark.parametrize("change", [{"version": "v2"}, {"problem": Problem(n=2)}, {"effort": "quick"}])
def test_another_version_problem_or_effort_is_another_study(registry, change):
    from autotune.trial import Effort

    if "effort" in change:
        change = {"effort": Effort.QUICK}
    tune(registry, latency, trials=10)
    _, asked = tune(registry, latency, trials=10, **change)
    assert len(asked) == 10


def test_every_kind_of_failure_is_recorded_and_ends_nothing(registry):
    kinds = list(FailureKind)

    def answer(config):
        return failed(kinds[config.x]) if config.x < len(kinds) else latency(config)

    result, _ = tune(registry, answer)
    assert result.state == "complete"
    assert dict(result.progress.failures) == dict.fromkeys(kinds, 1)
    assert len(result.progress.trials) == 10


def test_a_lost_trial_is_run_again_before_it_counts(registry):
    lost = []

    def answer(config):
        if config.x == 3 and len(lost) < LOST_RETRIES:
            lost.append(config)
            return failed(FailureKind.LOST)
        return latency(config)

    result, asked = tune(registry, answer)
    assert asked.count(Config(x=3)) == 1 + LOST_RETRIES
    assert result.progress.best.config == {"x": 3}
    assert not result.progress.failures


def test_trials_in_flight_count_against_the_budget(registry):
    result, asked = tune(registry, latency, slots=4, trials=8)
    assert len(asked) == len(result.progress.trials) == 8


def test_the_budget_in_seconds_counts_earlier_runs(registry):
    result, _ = tune(registry, latency, trials=None, seconds=1.4)
    assert len(result.progress.trials) == 10  # every configuration: answering takes no time
    _, asked = tune(registry, latency, trials=None, seconds=1.4, space=SearchSpace(x=integer(0, 9, default=9)))
    assert asked == []  # ten trials of half a second are on record


def test_a_plateau_ends_the_search(registry):
    space = SearchSpace(x=integer(0, 99))
    result, _ = tune(registry, lambda config: measured(1.0), space=space, trials=None, plateau=5)
    assert len(result.progress.trials) == 6


def test_the_default_stays_where_the_gain_is_within_the_noise(registry):
    result, _ = tune(registry, lambda config: measured(1.0 - 0.02 * (config.x == 3), spread=0.05))
    assert result.progress.best.config == {"x": 3}
    assert result.tuned.is_default
    assert result.tuned.config == {"x": 9}


def test_the_default_stays_where_the_gain_is_certain_but_not_worth_it(registry):
    result, _ = tune(registry, lambda config: measured(1.0 - 0.005 * (config.x == 3)))
    assert result.tuned.is_default


def test_nothing_is_promoted_where_nothing_keeps_the_bounds(registry):
    objective = maximize("tokens_per_s", {"p99_ms": 1})
    result, _ = tune(registry, lambda config: measured(1.0, tokens_per_s=5, p99_ms=2), objective=objective)
    assert result.progress.best is None
    assert result.tuned is None
    assert registry.current() == []


def test_a_default_that_breaks_a_bound_never_stays(registry):
    def answer(config):
        return measured(1.0, tokens_per_s=100 + (config.x == 9), p99_ms=200 if config.x == 9 else 50)

    result, _ = tune(registry, answer, objective=maximize("tokens_per_s", {"p99_ms": 100}))
    assert not result.tuned.is_default


def test_the_incumbent_and_the_winners_for_other_problems_are_tried_right_after_the_default(registry):
    tune(registry, latency, problem=Problem(n=1))
    _, asked = tune(registry, latency, problem=Problem(n=2), trials=2)
    assert asked == [{"x": 9}, {"x": 3}]
    _, asked = tune(registry, latency, problem=Problem(n=1), version="v2", trials=2)
    assert asked == [{"x": 9}, {"x": 3}]


def test_the_winner_is_published_for_lookups(registry, home):
    from autotune import best_config

    result, _ = tune(registry, latency, snapshots=home / "snapshots")
    assert best_config("sample", n=1, sku="h200-sxm-141gb") == result.tuned.config
    assert lookup("sample", n=1, sku="h200-sxm-141gb").tuned == result.tuned


def test_an_interrupt_keeps_what_was_measured_and_the_same_plan_goes_on(registry):
    def interrupted(config):
        return KeyboardInterrupt() if len(seen) == 3 else (seen.append(config) or latency(config))

    seen = []
    result, _ = tune(registry, interrupted)
    assert result.state == "interrupted"
    assert len(result.progress.trials) == 3
    assert result.tuned is not None
    result, asked = tune(registry, latency)
    assert result.state == "complete"
    assert not set(seen) & set(asked)


def test_a_workload_that_changes_under_its_study_stops_it(registry):
    with pytest.raises(WorkloadError, match="changed"):
        tune(registry, lambda config: WorkloadError("sample.py changed while its study was running"))
    (study,) = registry.studies()
    assert study.state == "interrupted"


def test_watchers_hear_of_every_trial_with_the_state_after_it(registry):
    heard = []
    tune(registry, latency, watch=lambda progress, trial: heard.append((len(progress.trials), trial)))
    assert [count for count, trial in heard if trial] == list(range(1, 11))
    assert all(isinstance(trial.outcome, Measurement) for _, trial in heard if trial)


@pytest.mark.parametrize(
    ("objective", "value", "best"),
    [
        (maximize("score"), lambda x: x, 9),
        (maximize("score"), lambda x: x - 20, 9),
        (minimize("score"), lambda x: 1 - x, 9),
        (minimize("score"), lambda x: x, 0),
    ],
)
def test_metrics_at_or_below_zero_are_ranked_by_their_value(registry, objective, value, best):
    space = SearchSpace(x=integer(0, 9, default=4))
    result, _ = tune(
        registry, lambda config: measured(1.0, score=float(value(config.x))), space=space, objective=objective
    )
    assert result.progress.best.config == {"x": best}
    assert result.tuned.config == {"x": best}


def test_a_space_of_one_configuration_is_measured(registry):
    result, asked = tune(registry, lambda config: measured(1.0), space=SearchSpace(x=choice(7), y=choice("a")))
    assert asked == [{"x": 7, "y": "a"}]
    assert result.tuned.is_default


def test_the_default_is_measured_even_where_the_budget_is_nothing(registry):
    _, asked = tune(registry, latency, trials=None, seconds=0.0)
    assert asked == [{"x": 9}]


def test_an_incumbent_that_was_not_measured_again_stays(registry, home):
    first, _ = tune(registry, latency, snapshots=home / "snapshots")
    result, asked = tune(registry, latency, version="v2", trials=1, snapshots=home / "snapshots")
    assert asked == [{"x": 9}]
    assert result.tuned == first.tuned
    assert not result.promoted
    assert registry.current() == [first.tuned]


def test_an_incumbent_that_is_as_good_stays_and_one_that_is_beaten_goes(registry):
    tune(registry, latency)

    def later(config):  # x=4 is now a touch faster than the incumbent x=3, x=5 far faster
        return measured({3: 1.0, 4: 0.995, 5: 0.5}.get(config.x, 2.0) if five or config.x != 5 else 2.0)

    five = False
    result, _ = tune(registry, later, version="v2")
    assert (result.tuned.config, result.promoted) == ({"x": 3}, True)
    five = True
    result, _ = tune(registry, later, version="v3")
    assert result.tuned.config == {"x": 5}


def test_an_old_study_that_is_run_again_changes_nothing(registry):
    tune(registry, latency)
    with_five = tune(registry, lambda c: measured(0.5 if c.x == 5 else 2.0), version="v2")[0].tuned
    registry.promote(replace(with_five, measured_at="2999-01-01T00:00:00+00:00"), None)
    result, asked = tune(registry, latency)
    assert asked == []
    assert result.tuned.config == {"x": 5}
    assert not result.promoted


def test_there_is_no_speedup_over_a_default_that_breaks_a_bound(registry):
    def answer(config):
        return measured(1.0, score=5.0 if config.x == 9 else 3.0, p99_ms=3.0 if config.x == 9 else 1.0)

    result, _ = tune(registry, answer, objective=maximize("score", {"p99_ms": 1}))
    assert result.progress.speedup is None
    assert result.tuned.speedup is None


def test_a_snapshot_that_cannot_be_written_costs_no_result_and_is_never_overwritten(registry, home):
    from autotune.snapshot import path_of

    broken = path_of(home / "snapshots", "h200-sxm-141gb", "sample")
    broken.parent.mkdir(parents=True)
    broken.write_text("garbage")
    result, _ = tune(registry, latency, snapshots=home / "snapshots")
    assert str(broken) in result.unpublished
    assert registry.current() == [result.tuned]
    assert broken.read_text() == "garbage"
