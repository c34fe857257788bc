import json
import signal
import sys
from pathlib import Path

import pytest

from autotune import rehearsal
from autotune.cli import main
from autotune.cli.stage import Stage, Way
from autotune.executors.noise import Noise
from autotune.study import Study

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
A100, SMALL = RECORDINGS / "convolution-A100.json.gz", RECORDINGS / "kernel_tuner.json"


@pytest.fixture
def run(capsys):
    def run(*words):
        before = sys.argv
        sys.argv = ["autotune", "replay", *map(str, words)]
        try:
            with pytest.raises(SystemExit) as exit_:
                main()
        finally:
            sys.argv = before
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return exit_.value.code, out, err

    return run


@pytest.fixture(scope="module")
def stage():
    return Stage.load(A100)


def test_every_sampler_has_a_row_for_each_recording_and_one_for_all(run):
    words = ("--sampler", "random", "--sampler", "tpe", "--seeds", "2", "--trials", "55")
    code, out, err = run(A100, SMALL, *words)
    assert code == 0
    lines = [line.split() for line in out.splitlines()[2:]]
    rows = [(upper[0], lower[0], upper[1]) for upper, lower in zip(lines[::2], lines[1::2], strict=True)]
    each = [("convolution-A100", "2"), ("kernel_tuner", "2"), ("all", "4")]
    assert rows == [(name, sampler, count) for sampler in ("random", "tpe") for name, count in each]
    assert "convolution-A100 tpe: 2 studies" in err


def test_json_has_the_scores_that_the_table_shows(run):
    code, out, _ = run(A100, "--sampler", "random", "--seeds", "2", "--trials", "120", "--json")
    (card,) = json.loads(out)
    assert code == 0
    assert (card["recording"], card["sampler"], card["seeds"]) == ("convolution-A100", "random", 2)
    assert set(card["log_score"]) == set(card["score"]) == {"50", "100"}
    assert card["picked_over_best"] >= 1
    assert card["ms_per_trial"] > 0


def test_a_study_measures_what_autotune_study_would(stage):
    study = stage.study("random", 3, Way(trials=30))
    assert len(study.picks) == 30
    assert study.picks[0] == stage.workload.space.bind(stage.recording.problem, stage.recording.device).default
    values = [stage.recording.values[place] for place in stage.picks(study)]
    assert values == sorted(values, reverse=True)
    assert stage.recording.values[stage.position[study.picked]] == values[-1]
    assert stage.study("random", 3, Way(trials=30)).picks == study.picks


def test_with_many_in_flight_every_trial_of_the_budget_is_still_run(stage):
    one, many = (stage.study("random", 0, Way(trials=40, in_flight=count)) for count in (1, 8))
    assert len(many.picks) == 40
    assert many.picks != one.picks
    assert stage.study("random", 0, Way(trials=40, in_flight=8)).picks == many.picks


def test_a_whole_recording_can_be_searched_with_many_in_flight():
    small = Stage.load(SMALL)
    study = small.study("random", 0, Way(trials=400, in_flight=8))
    assert len(study.picks) == 40
    assert study.picks[-1] == small.recording.optimum


def test_noise_misleads_the_picks_which_are_scored_by_their_true_values(stage):
    loud = stage.study("random", 0, Way(trials=60, noise=Noise(0.5)))
    values = [stage.recording.values[place] for place in stage.picks(loud)]
    assert values != sorted(values, reverse=True)
    card = stage.scorecard("random", [loud], 60)
    assert card.picked_ratio == pytest.approx(stage.recording.values[stage.position[loud.picked]] / stage.space.best)


def test_an_interrupt_ends_it_with_what_is_there(run, monkeypatch):
    count = 0

    def interrupted(self):
        nonlocal count
        count += 1
        if count == 3:
            self._watch = raising
        return original(self)

    def raising(progress, trial):
        raise KeyboardInterrupt

    original = Study.run
    monkeypatch.setattr(rehearsal.Study, "run", interrupted)
    code, out, _ = run(A100, "--sampler", "random", "--seeds", "5", "--trials", "50", "--json")
    (card,) = json.loads(out)
    assert code == 130
    assert card["seeds"] == 2


def test_interrupted_before_the_first_study_ends_it_shows_nothing(run, monkeypatch):
    monkeypatch.setattr(Stage, "study", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(A100, "--json")[:2] == (130, "")


def test_the_picture_gets_a_panel_for_each_recording(run, monkeypatch, tmp_path):
    drawn = []
    fake = type(sys)("autotune.plot")
    fake.CurvePanel = lambda **fields: fields
    fake.search_curves = lambda path, panels: drawn.append((path, panels))
    monkeypatch.setitem(sys.modules, "autotune.plot", fake)
    path = tmp_path / "curves.svg"
    code, _, _ = run(A100, SMALL, "--sampler", "random", "--seeds", "2", "--trials", "60", "--plot", path)
    ((where, panels),) = drawn
    assert (code, where) == (0, path)
    assert [panel["title"] for panel in panels] == ["convolution-A100", "kernel_tuner"]
    assert [len(panel["trials"]) for panel in panels] == [60, 40]
    for panel in panels:
        (curves,) = panel["curves"].values()
        assert [len(curve) for curve in curves] == [len(panel["trials"])] * 2
        assert len(panel["baseline"]) == len(panel["trials"])
        assert all(0 <= share <= 1 for curve in curves for share in curve)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((A100, "--sampler", "randm"), "did you mean 'random'?"),
        ((A100, "--noise", "loud"), "expected 'recorded' or a share below 1"),
        ((A100, "--plot", "curves.pdf"), "expected a name that ends in .svg or .png"),
        ((RECORDINGS / "nothing.json",), "no such file"),
    ],
)
def test_what_was_typed_wrong_is_told_before_any_study(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_recording_without_spread_has_no_noise_to_draw_from(run, tmp_path):
    outcome = {"metrics": {"latency_ms": [1.0]}, "conditions": {}, "phase_s": {}}
    failed = {"failure": "runtime", "message": "", "details": "", "phase": "", "phase_s": {}}
    study = {
        "schema": "autotune-study/1", "workload": "w", "problem": {}, "device": "NVIDIA A100", "gpus": 1,
        "objective": {"metric": "latency_ms", "direction": "minimize"}, "parameters": {"x": [1]},
        "trials": [{"config": {"x": 1}, "outcome": outcome}],
    }  # fmt: skip
    path = tmp_path / "study.json"
    path.write_text(json.dumps(study))
    code, _, err = run(path, "--noise", "recorded")
    assert code == 2
    assert "give the noise as a share: --noise 0.05" in err
    study["trials"] = [{"config": {"x": 1}, "outcome": failed}]
    path.write_text(json.dumps(study))
    code, _, err = run(path)
    assert code == 2
    assert "cannot be replayed: no configuration has a value" in err
