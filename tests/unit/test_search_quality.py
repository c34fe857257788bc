"""The benchmark of searches: what a judge calls, and what is made of recordings for it."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from autotune.cli.stage import Stage, Way
from autotune.errors import UserError
from autotune.executors.recording import load
from autotune.measurement import Measurement
from autotune.scoring import best_so_far
from benchmarks import optuna_search, search_quality
from benchmarks.failing import with_failures
from benchmarks.search_quality import Run, prior_of, run, siblings_of, strategy

PATH = Path(__file__).parents[1] / "data" / "recordings" / "convolution-A100.json.gz"


class Spent(Exception):
    pass


class Judge:
    """Counts as the judge does: distinct evaluations up to a budget."""

    def __init__(self, rows, budget):
        self.rows, self.budget, self.order = rows, budget, []

    def __call__(self, row):
        if row not in self.rows:
            raise KeyError(row)
        if row not in self.order:
            if len(self.order) >= self.budget:
                raise Spent
            self.order.append(row)
        return self.rows[row]


def judged(count=6):
    """A space with a name that no parameter may have, and a corner that fails."""
    rows = {(x, y, "a b"): math.inf if x + y < 2 else 1.0 + abs(x - 3) + y for x in range(count) for y in range(count)}
    names = ["x", "values", "loop-order"]
    values = {"x": list(range(count)), "values": list(range(count)), "loop-order": ["a b"]}
    return SimpleNamespace(name="toy", names=names, values=values, valid=list(rows)), rows


@pytest.mark.parametrize("budget", [10, 36])
def test_the_strategy_spends_the_whole_budget_and_begins_with_the_middle(budget):
    space, rows = judged()
    judge = Judge(rows, budget)
    strategy(space, judge, budget, 0)
    assert len(judge.order) == budget
    assert judge.order[0] == (2, 2, "a b")
    again = Judge(rows, budget)
    strategy(space, again, budget, 0)
    assert again.order == judge.order


def test_a_budget_that_ends_early_ends_the_strategy():
    space, rows = judged()
    judge = Judge(rows, 5)
    with pytest.raises(Spent):
        strategy(space, judge, 10, 0)
    assert len(judge.order) == 5


def test_what_was_made_to_fail_lies_together_and_is_always_the_same():
    recording = load(PATH)
    failing = with_failures(recording, 0.6)
    ran, left = (
        {config for config, outcome in one.outcomes.items() if isinstance(outcome, Measurement)}
        for one in (recording, failing)
    )
    assert left < ran
    assert len(left) == pytest.approx(0.4 * len(ran), abs=1)
    assert with_failures(recording, 0.6).outcomes == failing.outcomes
    valid = recording.space.bind(recording.problem, recording.device)
    around = [(config in left, other in left) for config in ran for other in valid.neighbours(config) if other in ran]
    alike = sum(one == other for one, other in around) / len(around)
    assert alike > 0.6  # 0.52 where it is left to chance


def test_a_peer_is_scored_by_its_distinct_configurations():
    found = run(Run(path=PATH, strategy="optuna:tpe", seed=0, way=Way(trials=30)))
    stage = Stage.load(PATH)
    picks = stage.picks(found)
    assert len(picks) == 30
    assert picks == best_so_far(stage.space, picks)
    assert found.picked == found.picks[-1]


def test_a_peer_of_optuna_measures_every_configuration_once():
    stage = Stage.load(PATH)
    valid = stage.workload.space.bind(stage.recording.problem, stage.recording.device)
    asked = []
    optuna_search.search("tpe", valid, lambda config: asked.append(config) or 1.0, 25, 0)
    assert len(set(asked)) == len(asked) == 25
    with pytest.raises(UserError, match="optuna:tpee; did you mean 'tpe'"):
        optuna_search.search("tpee", valid, lambda config: 1.0, 25, 0)


def test_siblings_are_recordings_of_the_same_kernel():
    paths = [Path(f"{name}.json.gz") for name in ("gemm-A100", "gemm-W6600", "gemm_v1-A100", "pnpoly-A100")]
    assert siblings_of(paths[0], paths) == (paths[1],)


def test_a_prior_holds_what_siblings_recorded_and_shuffled_the_same_values_elsewhere():
    outcomes = Stage.load(PATH).outcomes
    (told,) = prior_of([PATH], shuffled=False, seed=1).sources.values()
    (shuffled,) = prior_of([PATH], shuffled=True, seed=1).sources.values()
    assert told == outcomes
    assert shuffled != outcomes
    assert sorted(map(str, shuffled.values())) == sorted(map(str, outcomes.values()))


def test_peers_take_no_noise(monkeypatch):
    monkeypatch.setattr("sys.argv", ["search_quality", str(PATH), "--strategies", "optuna:tpe", "--noise", "0.05"])
    with pytest.raises(UserError, match="without noise and prior"):
        search_quality.main()


def test_the_document_has_every_strategy_with_its_recordings(monkeypatch, tmp_path):
    out = tmp_path / "found.json"
    words = [str(PATH), "--strategies", "random,optuna:tpe", "--seeds", "2", "--trials", "60", "--jobs", "1"]
    monkeypatch.setattr("sys.argv", ["search_quality", *words, "--out", str(out)])
    search_quality.main()
    found = search_quality.json.loads(out.read_text())
    assert list(found["strategies"]) == ["random", "optuna:tpe"]
    assert found["strategies"]["random"]["seeds"] == 2
    assert list(found["strategies"]["random"]["recordings"]) == ["convolution-A100"]
    assert {"device", "versions", "command", "date", "trials"} <= found.keys()
