import pytest

from autotune import Config, Problem, SearchSpace, boolean, choice, integer, maximize, minimize, power_of_two
from autotune.errors import UserError
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.sampler import STRATEGIES, Sampler

SPACE = SearchSpace(
    block=power_of_two(16, 256), warps=choice(1, 2, 4, 8), prefetch=boolean(), depth=integer(1, 4).when(prefetch=True)
).where(lambda config: config.block >= 16 * config.warps, reason="a warp needs 16 rows")


def measured(value, **metrics):
    return Measurement(metrics={"latency_ms": Samples((value,)), **{k: Samples((v,)) for k, v in metrics.items()}})


def failed(kind=FailureKind.RUNTIME):
    return Failure(kind=kind, message="it broke")


def cost(config):
    """Smooth, with its best at block 64, 4 warps, prefetch 2 deep."""
    return 1 + abs(config.block - 64) / 64 + abs(config.warps - 4) + abs(config.get("depth", 0) - 2)


def sampler(space=SPACE, objective=None, **options):
    return Sampler(space.bind(Problem(), None), objective or minimize(), **options)


def run(one, trials, outcome=lambda config: measured(cost(config))):
    asked = []
    for _ in range(trials):
        proposal = one.ask()
        if proposal is None:
            break
        asked.append(proposal.config)
        one.tell(proposal, outcome(proposal.config))
    return asked


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_proposes_only_valid_configurations_and_none_twice_until_all_are_asked(name):
    space = SearchSpace(a=choice("x", "y", "z"), b=integer(1, 6)).where(lambda config: config.a != "z" or config.b > 2)
    valid = space.bind(Problem(), None)
    asked = run(sampler(space, name=name), valid.size + 5, lambda config: measured(config.b))
    assert len(asked) == len(set(asked)) == valid.size == 16
    assert set(asked) == set(valid)


def test_the_same_seed_gives_the_same_search_and_another_seed_another():
    assert run(sampler(seed=3), 30) == run(sampler(seed=3), 30)
    assert run(sampler(seed=3), 30) != run(sampler(seed=4), 30)


def test_default_and_seeds_come_first_in_their_order_and_only_once():
    one = sampler()
    first, second = list(SPACE.bind(Problem(), None))[5:7]
    one.enqueue([first], "default")
    one.enqueue([second, first], "seed")
    proposals = [one.ask() for _ in range(3)]
    assert [(p.config, p.origin) for p in proposals[:2]] == [(first, "default"), (second, "seed")]
    assert proposals[2].origin == "search"


def test_what_is_remembered_is_not_asked_again_and_steers_the_search():
    configs = list(SPACE.bind(Problem(), None))
    one = sampler()
    for config in configs[:-3]:
        one.remember(config, "search", measured(cost(config)))
    assert set(run(one, 10)) == set(configs[-3:])
    assert len(one.optuna_study.trials) == len(configs)


def test_configurations_in_flight_are_not_proposed_again():
    one = sampler()
    proposals = [one.ask() for _ in range(40)]
    assert len({p.config for p in proposals}) == 40


def test_the_model_learns_to_avoid_failures():
    space = SearchSpace(a=integer(0, 19), b=integer(0, 19))

    def outcome(config):  # everything with a large `a` fails, although it would be the fastest
        return failed() if config.a >= 10 else measured(30.0 - config.a + config.b)

    def failing_share(name):
        late = [config for seed in range(5) for config in run(sampler(space, name=name, seed=seed), 100, outcome)[50:]]
        return sum(config.a >= 10 for config in late) / len(late)

    assert failing_share("auto") < failing_share("random") - 0.1


def test_a_lost_trial_teaches_nothing():
    one = sampler()
    proposal = one.ask()
    one.tell(proposal, failed(FailureKind.LOST))
    (trial,) = one.optuna_study.trials
    assert trial.state.name == "FAIL"


def test_bounds_of_the_objective_steer_the_search_to_where_they_hold():
    space = SearchSpace(batch=integer(1, 400))
    objective = maximize("tokens_per_s", {"p99_ms": 100})

    def outcome(config):
        return measured(1.0, tokens_per_s=float(config.batch), p99_ms=float(config.batch))

    asked = run(sampler(space, objective, seed=2), 60, outcome)
    assert 90 <= max(c.batch for c in asked if c.batch <= 100) <= 100
    assert sum(c.batch <= 150 for c in asked[30:]) >= 20  # of 30; uniform draws would give 11


def test_finds_a_better_configuration_than_the_same_number_of_uniform_draws():
    space = SearchSpace(a=integer(0, 30), b=integer(0, 30), c=integer(0, 30))

    def best(name, seed):
        def outcome(config):
            return measured(1 + (config.a - 7) ** 2 + (config.b - 23) ** 2 + (config.c - 11) ** 2)

        return min(outcome(c).medians["latency_ms"] for c in run(sampler(space, name=name, seed=seed), 60, outcome))

    seeds = range(5)
    assert sum(best("auto", s) for s in seeds) < sum(best("random", s) for s in seeds)


def test_an_unknown_strategy_is_named_with_the_nearest():
    with pytest.raises(UserError, match="no sampler 'tpi'; did you mean 'tpe'"):
        sampler(name="tpi")


def test_optuna_sees_the_real_parameters():
    one = sampler()
    run(one, 12)
    trial = one.optuna_study.trials[0]
    assert trial.params.keys() == {"block", "warps", "prefetch", "depth"}
    assert Config(one.optuna_study.best_trial.params)["warps"] in (1, 2, 4, 8)
