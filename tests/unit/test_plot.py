"""What the figures say, read from the text of their SVG; how they look is for eyes."""

import builtins
import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl

from autotune.errors import UserError
from autotune.importance import FEWEST_TRIALS
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.plot import CurvePanel, search_curves, study_figure
from autotune.registry import RecordedTrial, StudyKey, StudyRecord
from autotune.values import Config, Problem
from autotune.verdict import Verdict, VerdictKind

ROOT = Path(__file__).parents[2]


def study(objective="minimize latency_ms", *, default=None, verdict=None, workload="matmul"):
    key = StudyKey(
        workload=workload, version="1", space_fingerprint="", problem=Problem(m=16), sku="h200-sxm-141gb", gpus=1,
        objective=objective, effort="full", toolchain={},
    )  # fmt: skip
    return StudyRecord(
        id=1, key=key, path="", device="NVIDIA H200", default_config=default or Config(x=0), seed=0, sampler="auto",
        state="interrupted", elapsed_s=1, created_at="", updated_at="", trials=0, failures=0, verdict=verdict,
    )  # fmt: skip


def judged(winner, trials, kind=VerdictKind.PROMOTED):
    reason = "It beats the default by 40.0 % (39.0 to 41.0) in 60 pairs of 3 rounds."
    return Verdict(kind=kind, winner=winner, reason=reason, trials=trials, decided_at="")


def measured(value, metric="latency_ms", **others):
    metrics = {metric: Samples((value,)), **{name: Samples((other,)) for name, other in others.items()}}
    return Measurement(metrics=metrics)


def failed(kind=FailureKind.COMPILE):
    return Failure(kind=kind, message="it broke")


def recorded(outcomes):
    """Trials of the configurations in that order: the default, a seed, then the search."""
    return [
        RecordedTrial(
            number=number, config=config, outcome=outcome, origin=("default", "seed", "search")[min(number, 2)],
            finished_at="",
        )
        for number, (config, outcome) in enumerate(outcomes.items())
    ]  # fmt: skip


def figure(path, *arguments):
    """The texts of the figure, in the order drawn; nothing of it may warn or change matplotlib's own settings."""
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study_figure(path, *arguments)
    assert dict(mpl.rcParams) == before
    return texts(path)


def texts(path):
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def titled(said, *names):
    """Those of the names that are a panel's title, in the order of the panels."""
    return [text for text in said if text in names]


GRID = {
    Config(x=x, mode=mode): measured(1.0 + x + 5 * (mode == "slow")) for x in range(20) for mode in ("fast", "slow")
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "figure.svg"


def test_it_says_what_was_searched_how_it_ended_and_who_won(path):
    won = Config(x=0, mode="fast")
    trials = recorded({Config(x=19, mode="slow"): measured(25.0), **GRID})
    said = figure(path, study(default=Config(x=19, mode="slow"), verdict=judged(won, len(trials))), trials)
    assert "matmul m=16" in said
    assert f"minimize latency_ms on h200-sxm-141gb: {len(trials)} trials" in said
    assert "promoted: It beats the default by 40.0 % (39.0 to 41.0) in 60 pairs of 3 rounds." in said
    assert "winner: trial 1 with 1 against the default's 25 (25.00x): mode=fast, x=0" in said
    assert "latency_ms (lower is better)" in said
    assert {"best 1", "default 25", "winner", "search", "default", "best until then"} <= set(said)


def test_trials_are_told_apart_by_where_they_came_from(path):
    said = figure(path, study(), recorded({Config(x=x): measured(9.0 - x) for x in range(5)}))
    assert {"default", "seed", "search", "best so far"} <= set(said)
    assert "no verdict yet: interrupted" in said


def test_a_verdict_that_later_trials_have_outdated_is_told_as_such(path):
    said = figure(path, study(verdict=judged(Config(x=0, mode="fast"), 12)), recorded(GRID))
    assert any(text.endswith("(After 12 of these trials.)") for text in said)


def test_failures_are_counted_by_kind_the_most_frequent_first(path):
    outcomes = {Config(x=x): failed(FailureKind.TIMEOUT if x == 5 else FailureKind.COMPILE) for x in range(4, 9)}
    said = figure(path, study(), recorded({Config(x=0): measured(3.0), Config(x=1): measured(2.0), **outcomes}))
    assert said.index("compile 4") < said.index("timeout 1")
    assert "minimize latency_ms on h200-sxm-141gb: 7 trials, 5 failed" in said
    assert any("crosses: trials that failed" in text for text in said)


def test_importance_is_drawn_with_its_shares_and_orders_the_slices(path):
    said = figure(path, study(), recorded(GRID))
    assert "Parameter importance" in said
    assert titled(said, "x", "mode") == ["mode", "x"] * 2 or titled(said, "x", "mode") == ["x", "mode"] * 2
    shares = [int(text.removesuffix(" %")) for text in said if re.fullmatch(r"\d+ %", text)]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert shares == sorted(shares, reverse=True)


def test_it_says_why_there_is_no_importance(path):
    few = recorded({Config(x=x): measured(1.0 + x) for x in range(4)})
    why = f"Parameter importance: too few trials; it takes {FEWEST_TRIALS} that could win, and here are 4."
    assert why in figure(path, study(), few)
    same = recorded({Config(x=x): measured(1.0) for x in range(40)})
    assert "Parameter importance: all values are the same." in figure(path, study(), same)


def test_maximise_and_bounds_are_told(path):
    objective = "maximize tokens_per_s subject to p99_ms <= 100.0"
    outcomes = {Config(x=x): measured(10.0 * x, "tokens_per_s", p99_ms=30.0 * x) for x in range(1, 7)}
    said = figure(path, study(objective, default=Config(x=1)), recorded(outcomes))
    assert f"{objective} on h200-sxm-141gb: 6 trials, 3 broke a bound" in said
    assert "tokens_per_s (higher is better)" in said
    assert "breaks a bound" in said
    assert "best 30" in said  # of those that keep the bound


def test_without_a_trial_that_kept_the_bounds_there_is_no_best(path):
    objective = "minimize latency_ms subject to loss <= 0.1"
    said = figure(path, study(objective), recorded({Config(x=x): measured(1.0 + x, loss=1.0) for x in range(3)}))
    assert "breaks a bound" in said
    assert not [text for text in said if text.startswith(("best", "winner"))]


def test_a_winner_whose_one_pass_broke_a_bound_is_marked_all_the_same(path):
    objective = "minimize latency_ms subject to loss <= 0.1"
    outcomes = {Config(x=0): measured(3.0, loss=0.05), Config(x=1): measured(2.0, loss=0.11)}
    said = figure(path, study(objective, verdict=judged(Config(x=1), 2)), recorded(outcomes))
    assert "winner: trial 1 with 2 against the default's 3 (1.50x): x=1" in said


def test_a_study_of_failures_of_one_trial_or_of_none_is_a_figure_too(path):
    said = figure(path, study(), recorded({Config(x=x): failed() for x in range(9)}))
    assert "no trial succeeded" in said
    assert "compile 9" in said
    said = figure(path, study(), recorded({Config(x=0): measured(3.0)}))
    assert "minimize latency_ms on h200-sxm-141gb: 1 trial" in said
    assert "Never varied: x=0." in said
    assert "no trial yet" in figure(path, study(), [])


def test_values_that_are_zero_negative_or_equal_are_drawn(path):
    for values in ((0.0, 0.0), (-5.0, 1000.0, 0.0), (1e-9, 1e9)):
        trials = recorded({Config(x=x): measured(value) for x, value in enumerate(values)})
        assert "Value against each parameter" in figure(path, study(), trials)


def test_a_parameter_is_drawn_from_the_trials_that_have_it(path):
    outcomes = {Config(mode="a", x=x): measured(1.0 + x) for x in range(3)} | {Config(mode="b"): measured(9.0)}
    assert titled(figure(path, study(), recorded(outcomes)), "mode", "x") == ["mode", "x"]


def test_the_parameters_beyond_two_dozen_are_named_and_long_names_lose_their_middle(path):
    names = [f"a_parameter_with_a_name_that_goes_on_and_on_{place}" for place in range(30)]
    outcomes = {Config(dict.fromkeys(names, value)): measured(1.0 + value) for value in range(2)}
    said = figure(path, study(default=Config(dict.fromkeys(names, 0)), workload="w" * 200), recorded(outcomes))
    assert len([text for text in said if re.fullmatch(r"a_param\w+…\w+", text)]) == 24
    assert any(text.startswith("Not drawn by themselves: a_parameter_with") for text in said)
    assert max(map(len, said)) <= 135


def test_words_that_would_be_mathematics_or_lack_a_glyph_stay_as_they_are(path):
    outcomes = {Config(kind=kind): measured(1.0 + place) for place, kind in enumerate(("$x_1$", "核", "a & <b>"))}
    said = figure(path, study(default=Config(kind="$x_1$"), workload="$w$"), recorded(outcomes))
    assert "$w$ m=16" in said
    assert {"$x_1$", "核", "a & <b>"} <= set(said)


def test_many_trials_do_not_make_a_file_without_end(path):
    figure(path, study(), recorded({Config(x=x): measured(1.0 + x % 97) for x in range(5000)}))
    assert path.stat().st_size < 500_000


def test_equal_studies_are_equal_files_in_every_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tests.unit.test_plot import *\n"
        "study_figure(Path(sys.argv[1]), study(), recorded(GRID))"
    )
    for name in ("a.svg", "a.pdf", "a.png"):
        study_figure(tmp_path / name, study(), recorded(GRID))
        settings = tmp_path / "matplotlibrc"
        settings.write_text("font.size: 30\nsvg.fonttype: path\n")
        environment = {**os.environ, "PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(settings), "SOURCE_DATE_EPOCH": "9"}
        other = tmp_path / f"b{name[1:]}"
        subprocess.run([sys.executable, "-c", program, other], check=True, env=environment, cwd=ROOT, timeout=60)
        assert other.read_bytes() == (tmp_path / name).read_bytes()


def panels():
    trials = [1, 2, 5]
    curves = {"tpe": [[0.0, 0.5, 1.0], [0.2, 0.6, 0.9]], "gp": [[0.1, 0.8, 1.0]], "_own": [[float("nan"), 0.1, 0.2]]}
    return [
        CurvePanel(title, trials, [0.0, 0.2, 0.5], curves) for title in ("convolution", "gemm", "dedisp", "hotspot")
    ]


def test_search_curves_name_every_sampler_once_and_every_panel(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search_curves(path, panels())
    said = texts(path)
    assert [text for text in said if text in ("tpe", "gp", "_own", "random baseline")] == [
        "tpe", "gp", "_own", "random baseline"
    ]  # fmt: skip
    assert titled(said, "convolution", "gemm", "dedisp", "hotspot") == ["convolution", "gemm", "dedisp", "hotspot"]
    assert "100 %" in said


def test_search_curves_need_neither_a_baseline_nor_many_panels(path):
    search_curves(path, [CurvePanel("one", [1, 2], [], {"tpe": [[0.1, 0.2]]})])
    assert "random baseline" not in texts(path)
    with pytest.raises(UserError, match="at least one panel"):
        search_curves(path, [])


@pytest.mark.parametrize("name", ["figure.jpeg", "figure", ".svg"])
def test_an_ending_without_a_format_is_refused_with_those_that_have_one(tmp_path, name):
    for draw in (lambda path: study_figure(path, study(), []), lambda path: search_curves(path, panels())):
        with pytest.raises(UserError, match=r"expected \.svg, \.png, \.pdf"):
            draw(tmp_path / name)
    assert not list(tmp_path.glob("*figure*"))


def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file").touch()
    for name in ("nowhere/figure.svg", "folder.svg", "file/figure.svg"):
        with pytest.raises(UserError, match=rf"{name} cannot be written: .*\.$"):
            study_figure(tmp_path / name, study(), recorded(GRID))
    assert not list(tmp_path.glob(".*"))


def test_a_figure_replaces_one_that_is_there(path):
    path.write_text("an old one")
    figure(path, study(), [])
    assert [one.name for one in path.parent.glob("*figure*")] == ["figure.svg"]


def test_without_matplotlib_it_says_what_to_install(path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'gpu-autotune\[plot\]'"):
        study_figure(path, study(), [])


def test_importing_it_imports_no_matplotlib_and_drawing_no_pyplot(path):
    program = (
        "import sys; from pathlib import Path; import autotune.cli\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from autotune.plot import CurvePanel, search_curves\n"
        "search_curves(Path(sys.argv[1]), [CurvePanel('one', [1], [0.0], {'tpe': [[0.1]]})])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, path], check=True, cwd=ROOT, timeout=60)
