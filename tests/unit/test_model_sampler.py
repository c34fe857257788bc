import optuna
import pytest

from autotune import Config, Problem, SearchSpace, boolean, choice, integer, power_of_two
from autotune.sampler.model_sampler import ModelSampler
from autotune.sampler.valid_sampler import FAILED

SPACE = SearchSpace(
    block=power_of_two(16, 256), warps=choice(1, 2, 4, 8), prefetch=boolean(), depth=integer(1, 4).when(prefetch=True)
).where(lambda config: config.block >= 16 * config.warps, reason="a warp needs 16 rows")


@pytest.fixture
def valid():
    return SPACE.bind(Problem(), None)


def suggest(trial, sampler):
    """As somebody's own Optuna program would."""
    for name, distribution in sampler.distributions.items():
        trial.suggest_categorical(name, distribution.choices)
    return sampler.config(trial.params)


def cost(config):
    return 1 + abs(config.block - 64) / 64 + abs(config.warps - 4) + abs(config.get("depth", 0) - 2)


def optimize(study, sampler, trials, seen, objective=cost, **options):
    def run(trial):
        config = suggest(trial, sampler)
        seen.append(config)
        return objective(config)

    study.optimize(run, n_trials=trials, **options)


def test_it_serves_a_study_that_optuna_drives(valid):
    sampler, seen = ModelSampler(valid, seed=1), []
    study = optuna.create_study(sampler=sampler)
    optimize(study, sampler, 25, seen)
    assert len(set(seen)) == 25
    assert all(config in valid for config in seen)
    assert sampler.config(study.best_params) == Config(block=64, warps=4, prefetch=True, depth=2)


def test_maximising_is_minimising_the_negative(valid):
    found = []
    for direction, sign in (("minimize", 1), ("maximize", -1)):
        sampler, seen = ModelSampler(valid, seed=1), []
        study = optuna.create_study(sampler=sampler, direction=direction)
        optimize(study, sampler, 20, seen, lambda config, sign=sign: sign * cost(config))
        found.append(seen)
    assert found[0] == found[1]


def test_threads_may_ask_at_the_same_time(valid):
    sampler, seen = ModelSampler(valid), []
    optimize(optuna.create_study(sampler=sampler), sampler, 40, seen, n_jobs=4)
    assert len(set(seen)) == 40


def test_a_study_that_goes_on_in_another_process_repeats_nothing(valid, tmp_path):
    url, seen = f"sqlite:///{tmp_path / 'optuna.db'}", []
    for seed in range(3):  # each with a sampler that has seen nothing
        sampler = ModelSampler(valid, seed=seed)
        study = optuna.create_study(storage=url, study_name="one", load_if_exists=True, sampler=sampler)
        optimize(study, sampler, 12, seen)
    assert len(set(seen)) == 36


def test_trials_of_others_that_still_run_are_not_proposed(valid, tmp_path):
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    mine, theirs = ModelSampler(valid, seed=1), ModelSampler(valid, seed=1)
    first = optuna.create_study(storage=storage, study_name="one", sampler=mine)
    second = optuna.load_study(storage=storage, study_name="one", sampler=theirs)
    seen = [suggest(study.ask(), sampler) for _ in range(8) for study, sampler in ((first, mine), (second, theirs))]
    assert len(set(seen)) == 16


def test_what_was_enqueued_by_hand_counts_and_what_was_proposed_instead_may_come_again(valid):
    sampler, seen = ModelSampler(valid), []
    study = optuna.create_study(sampler=sampler)
    wanted = {"block": 256, "warps": 8, "prefetch": False, "depth": 1}
    study.enqueue_trial(wanted)
    optimize(study, sampler, 1, seen)
    assert seen == [Config(block=256, warps=8, prefetch=False)]
    optimize(study, sampler, valid.size - 1, seen)
    assert set(seen) == set(valid)


def test_an_exception_of_the_objective_is_a_failed_configuration(valid):
    sampler, seen = ModelSampler(valid, seed=2), []

    def breaks(config):
        if config.prefetch:
            raise ValueError("no prefetching here")
        return cost(config)

    optimize(optuna.create_study(sampler=sampler), sampler, 20, seen, breaks, catch=ValueError)
    share = sum(config.prefetch for config in seen[10:]) / 10
    assert share < 0.5  # four fifths of the valid configurations prefetch
    assert len(set(seen)) == 20


def test_constraints_of_the_trial_are_heeded(valid):
    sampler, seen = ModelSampler(valid, seed=2), []
    study = optuna.create_study(sampler=sampler)
    for _ in range(30):
        trial = study.ask()
        config = suggest(trial, sampler)
        seen.append(config)
        trial.set_constraint(FAILED, 0.0)
        trial.set_constraint("memory", 0.5 if config.block > 64 else 0.0)
        study.tell(trial, 100.0 / config.block)
    assert sum(config.block <= 64 for config in seen[10:]) >= 12


def test_with_nothing_left_it_gives_the_default(valid):
    sampler, seen = ModelSampler(valid), []
    optimize(optuna.create_study(sampler=sampler), sampler, valid.size + 2, seen)
    assert sampler.exhausted
    assert seen[-2:] == [valid.default] * 2


def test_optunas_own_tools_work_on_the_study(valid):
    sampler, seen = ModelSampler(valid), []
    study = optuna.create_study(sampler=sampler)
    optimize(study, sampler, 30, seen)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    assert set(optuna.importance.get_param_importances(study, evaluator=evaluator)) <= set(SPACE.parameters)
    assert study.best_trial.value == min(cost(config) for config in seen)
