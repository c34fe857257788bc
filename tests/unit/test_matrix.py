from concurrent.futures import Future
from math import inf, log2

import pytest

from autotune import Config, Problem, SearchSpace, best_config, integer, lookup, minimize, snapshot
from autotune.comparison import MOST_SEATS, SPARE_ROUNDS, Comparison
from autotune.errors import UserError
from autotune.lookup import Match, refresh
from autotune.matrix import Matrix, outward
from autotune.measurement import Conditions, FailureKind, Measurement
from autotune.objective import Objective
from autotune.registry import Registry
from autotune.selection.contest import LEAST_ROUNDS
from autotune.study import Study
from tests.unit.answering import DEVICE, AnsweringExecutor, failed, measured, plan

SIZES = (1, 2, 4, 64, 128, 256)
SPACE = SearchSpace(x=integer(0, 9, default=5))


@pytest.fixture
def registry():
    with Registry.memory() as one:
        yield one


class ProblemExecutor(AnsweringExecutor):
    """Gives `answer(problem, config)`; in the n-th round `answer_round(problem, config, n)`.

    ends_at: the trial, or the round, at which the user interrupts it.
    """

    ends_at = (None, None)

    def submit(self, trial):
        self.trials.append(trial)
        return self._done(self.answer(trial.problem, trial.config))

    def submit_round(self, round):  # noqa: A002
        self.rounds.append(round)
        number = len(self.rounds)
        return self._done(tuple(self.answer_round(trial.problem, trial.config, number) for trial in round.trials))

    def _done(self, answer):
        future = Future()
        ended = (len(self.trials), None) == self.ends_at or (None, len(self.rounds)) == self.ends_at
        future.set_exception(KeyboardInterrupt()) if ended else future.set_result(answer)
        return future


def optimum(problem):
    """Small problems want x=2, large ones x=7."""
    return 2 if problem.n < 16 else 7


def latency(problem, config):
    """A tenth worse for each step from the optimum; 3 is nearly as good as 2."""
    steps = abs(config.x - optimum(problem))
    return measured((1 + 0.1 * steps if config.x != 3 else 1.005 if problem.n < 16 else 1.4) * problem.n)


def run(
    registry,
    answer=latency,
    *,
    answer_round=None,
    ends_at=(None, None),
    sizes=SIZES,
    snapshots=None,
    at_most=None,
    slots=1,
    **options,
):
    executor = ProblemExecutor(answer, slots)
    executor.ends_at = ends_at
    executor.answer_round = answer_round or (lambda problem, config, _: answer(problem, config))
    plans = [plan(SPACE, problem=Problem(n=n), **{"trials": 10} | options) for n in sizes]
    return Matrix(plans, executor, registry, snapshots, at_most=at_most).run(), executor


def of(problem, trials):
    return [trial.config.x for trial in trials if trial.problem == problem]


# What is chosen


def test_two_kinds_of_problems_get_two_configurations_and_a_rule(registry):
    result, _ = run(registry)
    portfolio = result.portfolio
    assert result.state == "complete"
    assert portfolio.rule.configs == (Config(x=2), Config(x=7))
    assert [portfolio.rule.pick(Problem(n=n)).x for n in (1, 3, 8, 64, 200)] == [2, 2, 2, 7, 7]
    assert [(pick.best.x, pick.config, pick.loss) for pick in portfolio.picks] == [(2, 0, 0)] * 3 + [(7, 1, 0)] * 3
    assert [pick.value for pick in portfolio.picks] == pytest.approx(SIZES)
    assert portfolio.missing == ()
    one, two = portfolio.sizes
    assert one.worst > 0.2
    assert (two.mean, two.worst) == (0, 0)
    assert registry.portfolios() == [portfolio]
    assert (portfolio.workload, portfolio.sku, portfolio.gpus) == ("sample", DEVICE.sku, 1)


def test_at_most_one_is_the_one_that_loses_least_on_all(registry):
    result, _ = run(registry, at_most=1)
    assert len(result.portfolio.rule.configs) == 1
    assert result.portfolio.loss.mean == pytest.approx(result.portfolio.sizes[0].mean)
    assert result.portfolio.loss.worst > 0.02


def test_the_portfolio_answers_lookups_between_the_tuned_problems(registry, home):
    run(registry, snapshots=home / "snapshots")
    refresh()
    assert best_config("sample", sku=DEVICE.sku, n=2) == Config(x=2)
    assert best_config("sample", sku=DEVICE.sku, n=300) == Config(x=7)
    assert [lookup("sample", sku=DEVICE.sku, n=n).kind for n in (2, 300, 1000)] == [
        Match.EXACT,
        Match.RULE,
        Match.NONE,
    ]
    refresh()


def test_several_trials_at_once_end_the_same(registry):
    assert run(registry, slots=4)[0].portfolio.rule.configs == (Config(x=2), Config(x=7))


def test_a_larger_value_may_be_better(registry):
    def score(problem, config):
        return measured(1.0, score=100 / latency(problem, config).medians["latency_ms"])

    result, _ = run(registry, score, objective=Objective("score", "maximize"))
    assert result.portfolio.rule.configs == (Config(x=2), Config(x=7))
    assert result.portfolio.sizes[0].worst > 0.2


# What is measured


def test_the_middle_problem_is_first_and_its_winner_seeds_its_neighbours(registry):
    _, executor = run(registry, trials=10, sampler="random")
    problems = list(dict.fromkeys(trial.problem.n for trial in executor.trials))
    assert problems[0] in (4, 64)
    assert problems == [problem.n for problem in outward([Problem(n=n) for n in SIZES])]
    second = of(Problem(n=problems[1]), executor.trials)
    assert second[:2] == [5, 2] if problems[0] == 4 else second[:2] == [5, 7]


def test_every_candidate_is_tried_for_every_problem_beyond_the_budget_and_none_twice(registry):
    result, executor = run(registry, trials=3, sampler="random")
    candidates = {config["x"] for config in result.portfolio.provenance["candidates"]}
    for study in result.studies:
        tried = of(study.progress.plan.problem, executor.trials)
        assert candidates <= set(tried)
        assert len(tried) == len(set(tried)) == study.progress.measured_now == len(study.progress.trials)


def test_what_is_best_elsewhere_and_was_not_found_here_wins_here_too(registry):
    """Searches of two trials find the optimum for one problem at most."""
    result, _ = run(registry, lambda problem, config: measured(1.0 + abs(config.x - 2)), trials=3, sampler="random")
    best = min(
        trial.config.x for one in result.studies for trial in one.progress.trials if trial.config == one.tuned.config
    )
    assert {one.tuned.config.x for one in result.studies} == {best}
    assert {one.tuned.config.x for one in result.studies} == {current.config.x for current in registry.current()}
    assert result.portfolio.rule.configs == (Config(x=best),)


def test_what_may_be_near_a_winner_met_it_in_rounds_and_what_is_far_behind_did_not(registry):
    result, executor = run(registry)
    for study in result.studies:
        winner, problem = study.tuned.config, study.progress.plan.problem
        rounds = [{trial.config for trial in one.trials} for one in executor.rounds if one.trials[0].problem == problem]
        met = {x: sum({winner, Config(x=x)} <= members for members in rounds) for x in range(10)}
        readings = {x: latency(problem, Config(x=x)).medians["latency_ms"] / problem.n for x in range(10)}
        candidates = {config["x"] for config in result.portfolio.provenance["candidates"]} - {winner.x}
        assert all(met[x] >= LEAST_ROUNDS for x in candidates if readings[x] <= 1.25)
        assert not any(met[x] for x in candidates if readings[x] > 1.5)
        assert all(len(members) <= max(MOST_SEATS, 10) for members in rounds)


def test_losses_are_paired_comparisons_that_drift_does_not_touch(registry):
    def drifting(problem, config, number):
        return measured(latency(problem, config).medians["latency_ms"] * (1 + 0.3 * (number % 7)))

    result, _ = run(registry, answer_round=drifting, at_most=1)
    calm, _ = run(Registry.memory(), at_most=1)
    losses, expected = ([pick.loss for pick in one.portfolio.picks] for one in (result, calm))
    assert losses == pytest.approx(expected, abs=1e-6)


def test_the_same_again_measures_nothing_and_stores_nothing(registry):
    first, _ = run(registry, trials=4)
    second, executor = run(registry, trials=4)
    assert (executor.trials, executor.rounds) == ([], [])
    assert second.portfolio == first.portfolio
    assert len(registry.portfolio_history()) == 1


def test_another_number_of_configurations_is_chosen_from_what_is_measured(registry):
    run(registry, trials=4)
    result, executor = run(registry, trials=4, at_most=1)
    assert executor.trials == []
    assert len(executor.rounds) <= LEAST_ROUNDS * len(SIZES)  # what each problem gets, measured anew
    assert all(len(one.trials) == 2 for one in executor.rounds)
    assert len(result.portfolio.rule.configs) == 1
    assert registry.portfolios() == [result.portfolio]


def test_a_search_that_goes_on_is_chosen_from_anew(registry):
    run(registry, trials=4)
    result, executor = run(registry, trials=10)
    assert executor.trials
    assert registry.portfolios() == [result.portfolio]


def compared(registry, executor, *candidates):
    """One problem's winner, x=2, with candidates that were tried for it."""
    result = Study(plan(SPACE, trials=10), executor, registry, None).run()
    comparison = Comparison(result, [Config(x=x) for x in candidates], executor, registry, lambda *_: None)
    comparison.run()
    return comparison


def test_a_loss_is_stated_from_rounds_that_chose_nothing(registry):
    executor = ProblemExecutor(latency)
    executor.answer_round = lambda problem, config, _: measured({2: 1.0, 3: 1.001, 4: 1.001}.get(config.x, 2.0))
    comparison = compared(registry, executor, 2, 3, 4)
    assert comparison.winner == Config(x=2)
    assert comparison.values == pytest.approx({Config(x=2): 1.0, Config(x=3): 1.001, Config(x=4): 1.001})
    executor.answer_round = lambda problem, config, _: latency(problem, config)
    count = len(executor.rounds)
    assert comparison.again(Config(x=4))[Config(x=4)] == pytest.approx(1.2)
    assert comparison.again(Config(x=2)) == {Config(x=2): 1.0}
    assert len(executor.rounds) == count + LEAST_ROUNDS


def test_what_fails_when_its_loss_is_to_be_stated_is_out(registry):
    executor = ProblemExecutor(latency)
    executor.answer_round = lambda problem, config, _: latency(problem, config)
    comparison = compared(registry, executor, 2, 3, 4)
    executor.answer_round = lambda problem, config, _: failed() if config.x == 3 else latency(problem, config)
    assert comparison.again(Config(x=3)) is None
    assert comparison.values.keys() == {Config(x=2), Config(x=4)}
    executor.answer_round = lambda problem, config, _: failed() if config.x == 2 else latency(problem, config)
    assert comparison.again(Config(x=4)) is None
    assert comparison.winner not in (Config(x=2), Config(x=3))


def test_then_another_is_chosen(registry):
    with Registry.memory() as other:
        calm, executor = run(other, at_most=1)
    last, (chosen,) = executor.rounds[-1], calm.portfolio.rule.configs
    problem, count = last.trials[0].problem, len(executor.rounds)

    def fails_at_last(problem_, config, number):
        return failed() if number == count and config == chosen else latency(problem_, config)

    result, executor = run(registry, answer_round=fails_at_last, at_most=1)
    assert len(executor.rounds) > count
    assert result.portfolio.rule.configs != (chosen,)
    assert result.portfolio.rule.pick(problem) != chosen
    assert result.portfolio.loss.uncovered == 0


# What goes wrong


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("kind", ["trials", "rounds"])
def test_an_interrupted_one_stores_no_portfolio_and_the_same_command_goes_on(registry, kind, share):
    with Registry.memory() as other:
        whole, executor = run(other, trials=4)
    count = max(1, round(share * len(getattr(executor, kind))))
    result, first = run(registry, trials=4, ends_at=(count, None) if kind == "trials" else (None, count))
    assert (result.state, result.portfolio, registry.portfolios()) == ("interrupted", None, [])
    again, second = run(registry, trials=4)
    assert again.state == "complete"
    assert again.portfolio.loss.worst <= whole.portfolio.loss.worst + 0.02
    recorded = first.trials[:-1] if kind == "trials" else first.trials
    asked = [(trial.problem.n, trial.config) for trial in (*recorded, *second.trials)]
    assert len(asked) == len(set(asked))


def test_a_problem_for_which_nothing_runs_is_missing_and_gets_nothing(registry):
    def answer(problem, config):
        return failed() if problem.n == 4 else latency(problem, config)

    result, _ = run(registry, answer)
    portfolio = result.portfolio
    assert (result.state, portfolio.missing) == ("complete", (Problem(n=4),))
    assert [pick.problem.n for pick in portfolio.picks] == [1, 2, 64, 128, 256]
    assert [portfolio.rule.pick(Problem(n=n)) for n in (2, 3, 4)] == [Config(x=2), Config(x=2), None]


def test_where_nothing_runs_at_all_there_is_no_portfolio(registry):
    result, _ = run(registry, lambda *_: failed())
    assert (result.state, result.portfolio, registry.portfolios()) == ("complete", None, [])


def test_what_fails_for_a_problem_is_not_picked_for_it(registry):
    def answer(problem, config):
        return failed() if (problem.n, config.x) == (128, 7) else latency(problem, config)

    portfolio = run(registry, answer)[0].portfolio
    picks = {pick.problem.n: portfolio.rule.pick(pick.problem).x for pick in portfolio.picks}
    assert picks[128] in (6, 8)
    assert portfolio.loss.uncovered == 0


def test_what_fails_when_it_is_measured_again_is_not_picked_either(registry):
    def again(problem, config, _):
        return failed() if (problem.n, config.x) == (1, 2) else latency(problem, config)

    portfolio = run(registry, answer_round=again)[0].portfolio
    picks = {pick.problem.n: portfolio.rule.pick(pick.problem).x for pick in portfolio.picks}
    assert (picks[1], portfolio.picks[0].best.x) == (3, 3)
    assert portfolio.picks[0].loss < 0.02


def test_what_breaks_a_bound_is_not_picked(registry):
    def answer(problem, config):
        return measured(latency(problem, config).medians["latency_ms"], error=float(config.x == 7))

    portfolio = run(registry, answer, objective=minimize("latency_ms", {"error": 0.5}))[0].portfolio
    assert Config(x=7) not in portfolio.rule.configs
    assert portfolio.loss.uncovered == 0


def test_a_study_whose_rounds_are_lost_stays_open_and_so_does_the_matrix(registry):
    result, _ = run(registry, answer_round=lambda *_: failed(FailureKind.LOST))
    assert (result.state, result.portfolio, len(result.studies)) == ("interrupted", None, 1)


def test_a_candidate_that_is_always_disturbed_is_taken_by_its_reading_in_the_search(registry):
    def disturbed(problem, config, number):
        throttle = ("power",) if config.x == 3 else ()
        one = latency(problem, config)
        return Measurement(metrics=one.metrics, conditions=Conditions(throttle=throttle, disturbed=throttle))

    result, executor = run(registry, answer_round=disturbed)
    assert result.portfolio.rule.configs == (Config(x=2), Config(x=7))
    most_of_a_contest, compared = 30, SPARE_ROUNDS + 2 * LEAST_ROUNDS
    assert len(executor.rounds) <= len(SIZES) * (2 * most_of_a_contest + compared)


def test_a_snapshot_that_cannot_be_written_costs_no_result(registry, tmp_path):
    (tmp_path / "file").write_text("")
    result, _ = run(registry, snapshots=tmp_path / "file")
    assert registry.portfolios() == [result.portfolio]
    assert "cannot be written" in result.unpublished


def test_the_snapshot_holds_the_portfolio_beside_the_winners(registry, tmp_path):
    result, _ = run(registry, snapshots=tmp_path)
    path = snapshot.path_of(tmp_path, DEVICE.sku, "sample")
    assert snapshot.portfolios(path) == [result.portfolio]
    assert len(snapshot.read(path)) == len(SIZES)


def test_a_mistake_is_said_in_one_sentence(registry):
    with pytest.raises(UserError, match=r"takes several problems, and sample has one here \(n=1\); declare more, or"):
        run(registry, sizes=[1])
    with pytest.raises(UserError, match="at most 0 configurations leave none"):
        run(registry, at_most=0)
    plans = [plan(problem=Problem(n=1)), plan(problem=Problem(m=1))]
    with pytest.raises(UserError, match="have the same dimensions, and sample has n=1 and m=1"):
        Matrix(plans, ProblemExecutor(latency), registry, None)


# In which order


def test_the_order_goes_outwards_from_the_middle():
    sizes = [problem.n for problem in outward([Problem(n=2**power) for power in range(7)])]
    assert sizes[0] == 8
    spread = [max(map(log2, sizes[:count])) - min(map(log2, sizes[:count])) for count in range(1, 8)]
    assert spread == [*range(7)]


def test_what_cannot_be_compared_comes_after_with_a_middle_of_its_own():
    problems = [Problem(n=n, dtype=dtype) for dtype in ("bfloat16", "float8") for n in (1, 10, 100)]
    problems.append(Problem(n=1000, dtype="bfloat16"))
    ordered = outward(problems)
    assert [one.dtype for one in ordered] == ["bfloat16"] * 4 + ["float8"] * 3
    assert ordered[4].n == 10
    assert sorted(one.text for one in ordered) == sorted(one.text for one in problems)
    assert outward([Problem(n=1), Problem(n=1.0), Problem(n=inf)])[0].text == "n=1"
