import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autotune.cli import main, sweeping
from autotune.device import current_sku
from autotune.registry import Registry
from tests.waiting import eventually

SAMPLE = """
import time
import autotune
from autotune import Problem, SearchSpace, integer

@autotune.workload(
    space=SearchSpace(x=integer(0, 3, default=3)), problems=[Problem(n=1)], gpus=0,
)
def {name}(problem, config):
    yield lambda: time.sleep({ms} / 1000 * (1 + config.x))
"""


@pytest.fixture
def run(capsys):
    def run(*words):
        before = sys.argv
        sys.argv = ["autotune", *map(str, words)]
        try:
            with pytest.raises(SystemExit) as exit_:
                main()
        finally:
            sys.argv = before
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return exit_.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path):
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    for name in ("one", "two"):
        (kernels / f"{name}.py").write_text(SAMPLE.format(name=name, ms=0.2))
    (tmp_path / "sweep.toml").write_text('paths = ["kernels"]\neffort = "quick"\ntrials = 4\n')
    return tmp_path


GOLDEN = """\
target            due          why          GPU min  budget
one n=1 on {sku}  never tuned  never tuned  0.1      yes
two n=1 on {sku}  never tuned  never tuned  0.1      not tonight
2 of 2 targets are due, 1 of them within the budget; about 0.1 GPU minutes.
"""


def test_a_dry_run_prints_the_plan_and_runs_and_writes_nothing(run, folder, home, monkeypatch):
    monkeypatch.chdir(folder)
    with Path("sweep.toml").open("a") as file:
        file.write("budget_gpu_hours = 0.001\n")
    code, out, _ = run("sweep", "--dry-run")
    assert code == 0
    table = "".join(f"{line.rstrip()}\n" for line in out.replace(current_sku(), "{sku}").splitlines())
    squeezed = ["  ".join(filter(None, (part.strip() for part in line.split("  ")))) for line in table.splitlines()]
    assert squeezed == ["  ".join(filter(None, (p.strip() for p in line.split("  ")))) for line in GOLDEN.splitlines()]
    assert not home.exists()
    document = json.loads(run("sweep", "--dry-run", "--json")[1])
    assert [one["within_budget"] for one in document["items"]] == [True, False]


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_a_sweep_tunes_what_is_due_publishes_it_and_finds_nothing_the_second_time(run, folder, home, executor):
    words = ("sweep", "--config", folder / "sweep.toml", "--executor", executor)
    code, out, _ = run(*words)
    assert code == 0
    assert out.count("] tuned ") == 2  # who wins is the device's to say, which others use as well
    assert len(out.splitlines()) == 4
    assert "exact" in run("lookup", "one", "--problem", "n=1")[1]
    code, out, _ = run(*words)
    assert code == 0
    assert "0 of 2 targets are due; there is nothing to do." in out
    assert len(list((home / "nights").glob("*.json"))) == 2


def test_json_is_the_night_and_nothing_else(run, folder):
    code, out, err = run("sweep", "--config", folder / "sweep.toml", "--json")
    assert code == 0
    assert json.loads(out)["schema"] == "autotune-night/1"
    assert "2 of 2 targets are due" in err


def test_one_where_a_file_cannot_be_loaded_and_the_others_are_tuned(run, folder):
    (folder / "kernels" / "bad.py").write_text("import autotune\n@autotune.workload\nraise")
    code, out, _ = run("sweep", folder / "kernels", "--config", folder / "sweep.toml")
    assert code == 1
    assert "missing: " in out
    assert "2 tuned" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "there is nothing to sweep"),
        (("nowhere",), "there is no file or folder nowhere"),
        (("--config", "none.toml"), "none.toml cannot be read"),
        ((".", "--executor", "replay:x.json"), "a replay answers from a recording"),
    ],
)
def test_two_where_something_is_to_be_mended(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("sweep", *words)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_three_where_the_morning_sees_a_regression(run, folder, monkeypatch):
    told = []

    def morning_report(tonight, history):
        told.append((len(tonight.results), len(history)))
        return SimpleNamespace(has_regression=len(told) > 1)

    monkeypatch.setattr(sweeping, "morning_report", morning_report)
    words = ("sweep", "--config", folder / "sweep.toml", "--executor", "inline")
    assert [run(*words)[0], run(*words)[0]] == [0, 3]
    assert told == [(2, 0), (2, 1)]


def test_130_where_it_is_interrupted_and_the_same_command_goes_on(folder, home):
    for name in ("one", "two"):
        (folder / "kernels" / f"{name}.py").write_text(SAMPLE.format(name=name, ms=5))
    with (folder / "sweep.toml").open("a") as file:
        file.write("at_once = 1\n")
    command = [sys.executable, "-m", "autotune", "sweep", "--config", str(folder / "sweep.toml")]

    def under_way():
        with Registry.open(f"sqlite:///{home}/autotune.db") as registry:
            return [row.state for row in registry.nights()]

    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    eventually(lambda: (home / "autotune.db").is_file() and under_way() == ["under way"])
    sweep.send_signal(signal.SIGINT)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    assert "the same command goes on" in err
    again = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert "1 was done before this night was interrupted" in again.stdout
    assert "2 tuned" in again.stdout
