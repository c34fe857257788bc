from dataclasses import replace
from itertools import accumulate

import pytest

from autotune import Config, Problem, SearchSpace, choice, integer, lookup, maximize, minimize
from autotune.errors import WorkloadError
from autotune.measurement import Conditions, FailureKind, Measurement
from autotune.registry import Registry
from autotune.selection.contest import LEAST_ROUNDS, MOST_ROUNDS
from autotune.study import LOST_RETRIES, Study
from autotune.verdict import VerdictKind
from tests.unit.answering import AnsweringExecutor, failed, measured, plan


@pytest.fixture
def registry():
    with Registry.memory() as one:
        yield one


def tune(registry, answer, *, slots=1, snapshots=None, watch=lambda *_: None, answer_round=None, **options):
    executor = AnsweringExecutor(answer, slots, answer_round)
    result = Study(plan(**options), executor, registry, snapshots, watch).run()
    return result, [trial.config for trial in executor.trials]


def rounds_of(registry, answer, **options):
    """The rounds that a study asked for."""
    executor = AnsweringExecutor(answer, answer_round=options.pop("answer_round", None))
    Study(plan(**options), executor, registry, None).run()
    return executor.rounds


def noisy(value, config, number, share=0.05):
    """Up in one round and down in the next, each configuration by its own turn."""
    return measured(value * (1 + share * (-1) ** (number + config.x % 2)))


def latency(config):
    return measured(1.0 + abs(config.x - 3))


def test_the_default_is_measured_first_and_is_what_speedup_means(registry):
    result, asked = tune(registry, latency)
    assert asked[0] == {"x": 9}
    assert result.progress.default.config == {"x": 9}
    assert result.progress.best.config == {"x": 3}
    assert result.progress.speedup == 7.0
    assert (result.tuned.config, result.tuned.baseline, result.tuned.value) == ({"x": 3}, 7.0, 1.0)
    assert result.tuned.speedup == pytest.approx(7.0)


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
    def in_rounds(config, number):  # 2 % better in the mean, but not in every round
        return noisy(1.0 - 0.02 * (config.x == 4), config, number)

    result, _ = tune(registry, lambda c: measured(1.0 - 0.02 * (c.x == 4)), answer_round=in_rounds)
    assert result.progress.best.config == {"x": 4}
    assert result.tuned.config == {"x": 9}
    assert result.tuned.is_default
    assert (result.verdict.kind, result.verdict.rounds) == (VerdictKind.DEFAULT, MOST_ROUNDS)


def test_a_single_pass_never_crowns_a_winner(registry):
    fast = lambda config: measured(0.5 if config.x == 3 else 1.0)  # noqa: E731 - a lucky reading of the search
    result, _ = tune(registry, fast, answer_round=lambda config, number: measured(1.0))
    assert result.progress.best.config == {"x": 3}
    assert result.tuned.is_default
    assert "Nothing was shown to beat the default by more than 1 %" in result.verdict.reason


def test_the_winner_is_the_one_of_the_rounds_and_so_are_its_value_and_speedup(registry):
    def in_rounds(config, number):
        drift = 1 + 0.1 * number  # common to all
        return measured({3: 0.9, 4: 0.8}.get(config.x, 1.0) * drift)

    result, _ = tune(registry, lambda c: measured({3: 0.70, 4: 0.72}.get(c.x, 0.9)), answer_round=in_rounds)
    assert result.progress.best.config == {"x": 3}
    tuned, verdict = result.tuned, result.verdict
    assert (tuned.config, verdict.winner, verdict.kind) == ({"x": 4}, {"x": 4}, VerdictKind.PROMOTED)
    assert tuned.speedup == pytest.approx(1 / 0.8)
    assert tuned.interval[0] < tuned.value < tuned.interval[1]
    assert verdict.over_default.mean == pytest.approx(0.2)
    assert tuned.verdict == verdict == registry.studies()[0].verdict
    assert verdict.reason.startswith("It beats the default by 20.0 % (20.0 to 20.0) in ")


def test_every_round_holds_the_default_and_the_incumbent_and_has_inputs_of_its_own(registry):
    tune(registry, latency)
    rounds = rounds_of(registry, latency, version="v2", seed=7)
    assert [one.number for one in rounds] == list(range(1, len(rounds) + 1))
    assert all({9, 3} <= {trial.config.x for trial in one.trials} for one in rounds)
    seeds = [{trial.seed for trial in one.trials} for one in rounds]
    assert seeds == [{7 + number} for number in range(1, len(rounds) + 1)]
    assert all(trial.rival is None for one in rounds for trial in one.trials)


def test_a_trial_knows_the_best_so_far_and_what_held_the_clocks_back(registry):
    def capped(config):
        return replace(latency(config), conditions=Conditions(throttle=("sw_power_cap",)))

    executor = AnsweringExecutor(capped)
    Study(plan(trials=4), executor, registry, None).run()
    first, *others = executor.trials
    assert (first.rival, first.known_throttle) == (None, None)
    bests = list(accumulate([1.0 + abs(t.config.x - 3) for t in executor.trials], min))
    assert [trial.rival for trial in others] == bests[:-1]
    assert {trial.known_throttle for trial in others} == {("sw_power_cap",)}


def test_a_configuration_that_fails_on_fresh_inputs_wins_nothing(registry):
    def in_rounds(config, number):
        return failed(FailureKind.INCORRECT) if config.x == 3 and number == 2 else latency(config)

    result, _ = tune(registry, latency, answer_round=in_rounds)
    assert result.tuned.config.x in (2, 4)
    (study,) = registry.studies()
    assert registry.rounds(study.id, Config(x=3))[-1].kind is FailureKind.INCORRECT
    assert len(registry.rounds(study.id, Config(x=3))) == 3


def test_a_complete_study_with_a_verdict_measures_nothing_again_not_even_rounds(registry):
    first, _ = tune(registry, latency)
    assert rounds_of(registry, latency) == []
    again, _ = tune(registry, latency)
    assert (again.verdict, again.tuned, again.promoted) == (first.verdict, first.tuned, True)
    assert again.state == "complete"


def test_more_trials_make_the_verdict_out_of_date(registry):
    first, _ = tune(registry, latency, trials=3)
    result, _ = tune(registry, latency)
    assert result.verdict.trials == 10
    numbers = [one.number for one in registry.measured_again(result.study_id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > first.verdict.rounds


def test_rounds_that_were_interrupted_promote_nothing_and_are_measured_anew(registry):
    def interrupted(config, number):
        return KeyboardInterrupt() if number == 2 else latency(config)

    result, _ = tune(registry, latency, answer_round=interrupted)
    assert (result.state, result.tuned, result.verdict) == ("interrupted", None, None)
    assert len(result.progress.trials) == 10
    assert [one.number for one in registry.measured_again(result.study_id)] == [1]
    executor = AnsweringExecutor(latency)
    result = Study(plan(), executor, registry, None).run()
    assert (result.state, result.tuned.config, executor.trials) == ("complete", {"x": 3}, [])
    assert [one.number for one in registry.measured_again(result.study_id)][:3] == [1, 2, 3]
    assert executor.rounds[0].number == 1
    assert executor.rounds[0].trials[0].seed == 2  # the first round's inputs were used already


def test_rounds_that_are_lost_again_and_again_leave_the_study_open(registry):
    result, _ = tune(registry, latency, answer_round=lambda config, number: failed(FailureKind.LOST))
    assert (result.state, result.tuned, result.verdict) == ("interrupted", None, None)
    result, asked = tune(registry, latency)
    assert (result.state, result.tuned.config, asked) == ("complete", {"x": 3}, [])


def test_a_budget_in_seconds_does_not_cut_the_rounds(registry):
    result, asked = tune(registry, latency, trials=None, seconds=0.0)
    assert asked == [{"x": 9}]
    assert (result.tuned.is_default, result.verdict.rounds) == (True, LEAST_ROUNDS)


def test_a_warm_cache_is_another_study_with_no_cold_incumbent(registry):
    tune(registry, latency)
    warm = plan()
    warm = replace(warm, workload=replace(warm.workload, cache="warm"))
    assert warm.key.digest != plan().key.digest
    executor = AnsweringExecutor(lambda c: measured(1.0))
    result = Study(warm, executor, registry, None).run()
    assert len(executor.trials) == 10
    assert result.tuned.cache == "warm"
    assert result.tuned.is_default  # x=3, the cold winner, is no incumbent here


@pytest.mark.parametrize(
    "outcome", [failed(FailureKind.INCORRECT), measured(1.0, p99_ms=3.0)], ids=["fails", "breaks a bound"]
)
def test_where_the_only_finalist_drops_out_the_next_best_meet_at_once(registry, outcome):
    """Both faster ones are far better than the default, and too far apart to be finalists at the same time."""

    def answer(config):
        return measured({3: 1.0, 4: 2.0}.get(config.x, 9.0), p99_ms=1.0)

    def again(config, number):
        return outcome if config.x == 3 else answer(config)

    asked = rounds_of(registry, answer, answer_round=again, objective=minimize(subject_to={"p99_ms": 2.0}))
    members = [{trial.config.x for trial in one.trials} for one in asked]
    assert members == [{9, 3}, {9, 4}, {9, 4}, {9, 4}]
    (tuned,) = registry.current()
    assert tuned.config == {"x": 4}


def test_finalists_that_all_drop_out_leave_the_default_measured_to_the_end(registry):
    result, _ = tune(registry, latency, answer_round=lambda c, _: failed() if c.x != 9 else latency(c))
    assert (result.verdict.kind, result.verdict.rounds, result.tuned.config) == (VerdictKind.DEFAULT, 3, {"x": 9})


def test_a_winner_that_was_stored_without_rounds_is_replaced_by_what_they_say_of_it(registry):
    """As an earlier version leaves a study: complete, its winner from a single pass."""
    study_id = tune(registry, latency, trials=9)[0].study_id
    (winner,) = registry.current()
    registry.promote(replace(winner, verdict=None, value=0.1, speedup=70.0), study_id)
    result, _ = tune(registry, latency, trials=10)
    assert (result.verdict.kind, result.promoted) == (VerdictKind.INCUMBENT, True)
    assert registry.current() == [result.tuned]
    assert (result.tuned.value, result.tuned.verdict) == (winner.value, result.verdict)


def test_what_is_told_of_the_winner_is_what_the_rounds_say_and_not_the_lucky_reading_of_another(registry):
    def again(config, number):
        return measured(2.0)

    result, _ = tune(registry, lambda c: measured(1.0 if c.x == 3 else 2.0), answer_round=again)
    assert result.progress.best.config == {"x": 3}
    assert (result.tuned.config, result.medians) == ({"x": 9}, {"latency_ms": 2.0})


def test_a_winner_of_a_later_study_is_not_taken_for_this_ones(registry):
    tune(registry, latency)
    later = tune(registry, lambda c: measured(2 * latency(c).medians["latency_ms"]), version="v2")[0].tuned
    result, asked = tune(registry, latency)
    assert (asked, result.tuned, result.promoted) == ([], later, False)


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


def test_an_interrupt_keeps_what_was_measured_promotes_nothing_and_the_same_plan_goes_on(registry):
    def interrupted(config):
        return KeyboardInterrupt() if len(seen) == 3 else (seen.append(config) or latency(config))

    seen = []
    result, _ = tune(registry, interrupted)
    assert result.state == "interrupted"
    assert len(result.progress.trials) == 3
    assert result.tuned is None
    assert registry.current() == []
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
    assert result.verdict.kind is VerdictKind.INCUMBENT
    assert "unseen" in result.verdict.reason
    assert registry.current() == [first.tuned]


def test_an_incumbent_that_is_as_good_stays_and_one_that_is_beaten_goes(registry):
    tune(registry, latency)

    def later(config):  # x=4 is now a touch faster than the incumbent x=3, x=5 far faster
        return measured({3: 1.0, 4: 0.995, 5: 0.5}.get(config.x, 2.0) if five or config.x != 5 else 2.0)

    five = False
    result, _ = tune(registry, later, version="v2")
    assert (result.tuned.config, result.promoted) == ({"x": 3}, True)
    assert (result.verdict.kind, result.tuned.version) == (VerdictKind.INCUMBENT, "v2")
    five = True
    result, _ = tune(registry, later, version="v3")
    assert result.tuned.config == {"x": 5}
    assert result.verdict.over_incumbent.mean == pytest.approx(0.5)


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


def test_what_is_to_be_tried_also_comes_right_after_the_default_and_not_where_it_is_invalid(registry):
    executor = AnsweringExecutor(latency)
    also = [Config(x=7), Config(x=99), Config(x=1)]
    result = Study(plan(trials=3), executor, registry, None, also=also).run()
    assert [trial.config.x for trial in executor.trials] == [9, 7, 1]
    assert [trial.origin for trial in result.progress.trials] == ["default", "seed", "seed"]
