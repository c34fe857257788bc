import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune import Config, Problem
from autotune.cli import main
from autotune.executors import proc
from tests.waiting import eventually

SAMPLE = """
import time
import autotune
from autotune import Problem, SearchSpace, integer, power_of_two

def small(config):
    '''Not all of x and y at once.'''
    return config.x * config.y <= 32

@autotune.workload(
    space=SearchSpace(x=power_of_two(1, 16), y=integer(1, 4)).where(small),
    problems=[Problem(n=1), Problem(n=2)],
    objective=autotune.maximize("score"),
    gpus=0,
)
def sample(problem, config):
    '''Scores a configuration.'''
    yield lambda: {"score": problem.n * config.x + config.y}
    assert config.x != 4, "four is wrong"
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
def file(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE)
    return path


def test_a_study_ends_with_default_best_and_speedup_and_its_winner_is_looked_up(run, file):
    code, out, _ = run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    assert code == 0
    assert "speed-up" in out
    assert "x=16,y=2" in out
    import autotune

    assert autotune.best_config("sample", n=1) == {"x": 16, "y": 2}


def test_every_problem_of_the_file_is_one_run_and_json_says_it_all(run, file):
    code, out, _ = run("study", file, "--quick", "--json", "--trials", "18")
    document = json.loads(out)
    assert code == 0
    assert [s["problem"] for s in document["studies"]] == [{"n": 1}, {"n": 2}]
    first = document["studies"][0]
    assert first["default"]["config"] == {"x": 1, "y": 1}
    assert first["best"]["value"] == 18
    assert first["failures"] == {"incorrect": 4}
    assert first["speedup"] == 9
    assert first["tuned"]["config"] == {"x": 16, "y": 2}


def test_the_same_command_goes_on_and_measures_nothing_twice(run, file):
    arguments = ("study", file, "--quick", "--json", "--problem", "n=1")
    first = json.loads(run(*arguments, "--trials", "5")[1])["studies"][0]
    second = json.loads(run(*arguments, "--trials", "9")[1])["studies"][0]
    third = json.loads(run(*arguments, "--trials", "9")[1])["studies"][0]
    assert [s["measured_now"] for s in (first, second, third)] == [5, 4, 0]
    assert first["study"] == second["study"] == third["study"]


def test_failures_are_explained_once_with_the_command_that_repeats_them(run, file):
    code, out, _ = run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    assert code == 0
    assert out.count("four is wrong") == 1
    assert f"autotune trial {file} --workload sample --problem n=1 --config x=4,y=" in out


def test_one_where_no_trial_succeeds(run, file):
    file.write_text(SAMPLE.replace("config.x != 4", "False"))
    code, out, _ = run("study", file, "--quick", "--trials", "3")
    assert code == 1
    assert "no trial succeeded" in out


def test_check_prints_the_space_and_what_is_rejected_and_why(run, file):
    code, out, _ = run("check", file)
    assert code == 0
    assert "18 of 20 configurations are valid" in out
    assert "Not all of x and y at once" in out
    assert "10 %" in out


def test_trial_runs_exactly_one_configuration(run, file):
    code, out, _ = run("trial", file, "--config", "x=8,y=3", "--quick")
    assert code == 0
    assert "score" in out
    assert "11" in out
    code, out, _ = run("trial", file, "--config", "x=4", "--quick", "--json")
    assert code == 1
    assert json.loads(out)["outcome"]["failure"] == "incorrect"
    assert json.loads(out)["config"] == {"x": 4, "y": 1}
    assert run("show", "--studies", "--json")[1].strip() == "[]"


def test_show_lists_winners_studies_and_trials(run, file):
    run("study", file, "--quick", "--trials", "6")
    assert {row["problem"]["n"] for row in json.loads(run("show", "--json")[1])} == {1, 2}
    studies = json.loads(run("show", "--studies", "--json")[1])
    assert [study["trials"] for study in studies] == [6, 6]
    document = json.loads(run("show", studies[0]["study"], "--json")[1])
    assert document["schema"] == "autotune-study/1"
    assert len(document["trials"]) == 6
    assert [one["number"] for one in document["rounds"]] == list(range(1, len(document["rounds"]) + 1))
    assert all(len(one["members"]) >= 2 for one in document["rounds"])
    assert document["verdict"] == studies[0]["verdict"]
    assert document["verdict"]["kind"] == "promoted"
    for words in (("show",), ("show", "--studies"), ("show", studies[0]["study"]), ("show", "--history")):
        code, out, _ = run(*words)
        assert code == 0
        assert "sample" in out or "score" in out


def test_show_says_why_the_winner_won_with_its_interval(run, file):
    _, out, _ = run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    assert "measured again round 1 of at most " in out
    why = "promoted: It beats the default by 800.0 % (800.0 to 800.0) in "
    assert why in out
    out = run("show")[1]
    assert "score 18 (18 … 18); 9.00x the default's 2" in out
    assert why in out
    (row,) = json.loads(run("show", "--json")[1])
    assert row["verdict"]["over_default"] == {"mean": 8.0, "interval": [8.0, 8.0]}
    assert row["verdict"]["rounds"] >= 3
    assert why in run("show", "1")[1]


def test_show_plots_a_study_and_says_where(run, file, tmp_path):
    pytest.importorskip("matplotlib")
    run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    code, out, err = run("show", "1", "--plot", tmp_path / "study.svg")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"plotted: {tmp_path / 'study.svg'}"
    drawn = (tmp_path / "study.svg").read_text()
    assert all(
        said in drawn for said in ("sample n=1", "incorrect 4", "score (higher is better)", "promoted: It beats")
    )
    code, out, err = run("show", "1", "--plot", tmp_path / "study.png", "--json")
    assert (code, err) == (0, f"plotted: {tmp_path / 'study.png'}\n")
    assert json.loads(out) == json.loads(run("show", "1", "--json")[1])
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1", "--plot", "study.gif"], "expected .svg, .png, .pdf"),
        (["1", "--plot", "nowhere/study.svg"], "nowhere/study.svg cannot be written: No such file"),
        (["--plot", "study.svg"], "autotune show STUDY --plot study.svg"),
    ],
)
def test_a_figure_that_cannot_be_is_one_sentence_and_nothing_is_shown(run, file, words, message):
    pytest.importorskip("matplotlib")
    run("study", file, "--quick", "--problem", "n=1", "--trials", "2")
    code, out, err = run("show", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_recorded_study_is_replayed_through_the_same_command(run, file, tmp_path):
    run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    recording = tmp_path / "study.json"
    recording.write_text(run("show", "1", "--json")[1])
    code, out, _ = run("study", recording, "--json", "--trials", "18")
    assert code == 0
    study = json.loads(out)["studies"][0]
    assert study["best"]["config"] == {"x": 16, "y": 2}
    assert study["failures"] == {"incorrect": 4}
    assert len(json.loads(run("show", "--studies", "--json")[1])) == 1  # a replay leaves no trace


def test_winners_travel_by_export_and_import(run, file, tmp_path, monkeypatch):
    run("study", file, "--quick", "--trials", "18")
    code, out, _ = run("export", tmp_path / "shipped")
    assert code == 0
    assert len(out.splitlines()) == 1
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "another"))
    code, out, _ = run("import", tmp_path / "shipped")
    assert (code, out.strip()) == (0, "2 imported")
    assert "2 left out" in run("import", tmp_path / "shipped")[1]
    assert len(json.loads(run("show", "--json")[1])) == 2


def test_a_generation_is_shown_rolled_back_and_written_anew(run, file, home):
    from autotune import publication
    from autotune.lookup import best_config, refresh
    from autotune.registry import Registry
    from autotune.settings import Settings

    run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    assert "no generation was published yet" in run("show", "--generations")[1]
    with Registry.open(Settings.from_environment().database) as registry:
        (before,) = registry.current()
        number = registry.generation()
        for config in ({"x": 1, "y": 1}, {"x": 2, "y": 1}):
            problem = Problem(n=config["x"])
            registry.staging(number).promote(replace(before, config=Config(config), problem=problem))
        assert [one["state"] for one in json.loads(run("show", "--generations", "--json")[1])] == ["open"]
        publication.publish(registry, number, home / "snapshots")
    refresh()
    assert best_config("sample", n=2) == {"x": 2, "y": 1}
    assert "published" in run("show", "--generations")[1]
    code, out, _ = run("rollback")
    assert code == 0
    assert "rolled back: generation 1" in out
    assert "is  x=16,y=2" in out
    assert best_config("sample", n=1) == {"x": 16, "y": 2}
    assert best_config("sample", n=2, default=None) is None
    assert "no generation is published" in run("rollback")[2]
    (row,) = json.loads(run("show", "--generations", "--json")[1])
    assert (row["number"], row["state"], row["winners"]) == (1, "rolled back", 2)
    with Registry.open(Settings.from_environment().database) as registry:
        number = registry.generation()
        registry.staging(number).promote(replace(before, config=Config({"x": 1, "y": 1})))
        registry.publish(number)  # and killed before the files were written
    code, out, _ = run("export")
    assert (code, out.strip()) == (0, str(home / "snapshots"))
    refresh()
    assert best_config("sample", n=1) == {"x": 1, "y": 1}
    answer = json.loads(run("rollback", "--to", "0", "--json")[1])
    assert (answer["generations"], answer["left"]) == ([2], [])
    assert answer["changes"][0]["after"]["config"] == {"x": 16, "y": 2}


def test_lookup_answers_as_a_program_would_be_answered_also_from_other_folders(run, file, tmp_path):
    run("study", file, "--quick", "--trials", "18")
    run("export", tmp_path / "shipped")
    code, out, _ = run("lookup", "sample", "--problem", "n=1")
    assert code == 0
    assert "x=16,y=2" in out
    assert "exact" in out
    elsewhere = ("--home", tmp_path / "empty", "--snapshot-path", tmp_path / "shipped")
    answer = json.loads(run(*elsewhere, "lookup", "sample", "--problem", "n=1", "--json")[1])
    assert answer["config"] == {"x": 16, "y": 2}
    assert answer["path"].startswith(str(tmp_path / "shipped"))
    code, _, err = run("lookup", "sample", "--problem", "n=3")
    assert code == 2
    assert "autotune study FILE --workload sample --problem n=3" in err


# Several problems at once

MATRIX = """
import autotune
from autotune import Problem, SearchSpace, power_of_two

@autotune.workload(
    space=SearchSpace(block=power_of_two(1, 128)),
    problems=[Problem(n=n) for n in (1, 4, 64, 256)],
    objective=autotune.maximize("score"),
    gpus=0,
)
def sample(problem, config):
    best = 8 if problem.n <= 8 else 64
    apart = max(config.block / best, best / config.block)
    yield lambda: {"score": 100.0 / (1 + 0.1 * (apart - 1))}
    assert config.block != 4, "four is wrong"
"""


@pytest.fixture
def matrix_file(tmp_path):
    path = tmp_path / "matrix.py"
    path.write_text(MATRIX)
    return path


def test_a_matrix_study_ends_with_the_losses_and_a_rule_and_lookups_take_it(run, matrix_file, tmp_path, monkeypatch):
    code, out, _ = run("study", matrix_file, "--quick", "--matrix")
    assert code == 0
    end = out[out.index("2 configurations for 4 problems") :].splitlines()
    assert end[0].startswith(
        "2 configurations for 4 problems, on average 0.0 % worse than each one's best and at most 0"
    )
    assert [line.split()[:3] for line in end if line.startswith("n=")] == [
        ["n=1", "100", "#1"],
        ["n=4", "100", "#1"],
        ["n=64", "100", "#2"],
        ["n=256", "100", "#2"],
    ]
    assert "at most 2       0.0 %" in out
    assert out.rstrip().endswith("if n <= 16:\n    config = {'block': 8}\nelse:\n    config = {'block': 64}")
    assert run("lookup", "sample", "-p", "n=500")[1].startswith(
        "block=64\n(rule: picked by the rule of a matrix study over 4 problems; at most 0.0 % worse than the best"
    )
    answer = json.loads(run("lookup", "sample", "-p", "n=2", "--json")[1])
    assert (answer["kind"], answer["config"], answer["portfolio"]["metric"]) == ("rule", {"block": 8}, "score")
    shown = run("show")[1]
    assert "2 configurations for 4 problems" in shown
    assert "#2 block=64" in shown
    assert "if n <= 16:" in run("show", "--portfolios")[1]
    (row,) = json.loads(run("show", "--portfolios", "--json")[1])
    assert (row["superseded_at"], len(row["picks"]), len(row["sizes"])) == (None, 4, 2)
    run("export", tmp_path / "shipped")
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path / "another"))
    assert run("import", tmp_path / "shipped")[1].strip() == "4 and 1 rule imported"
    assert run("lookup", "sample", "-p", "n=500")[0] == 0


def test_a_matrix_study_goes_on_says_all_in_json_and_chooses_anew_without_measuring(run, matrix_file):
    words = ("study", matrix_file, "--quick", "--matrix", "--json")
    first = json.loads(run(*words)[1])
    second = json.loads(run(*words)[1])
    third = json.loads(run(*words, "--at-most", "1")[1])
    assert [one["measured_now"] for one in first["studies"]] == [8] * 4
    assert [one["measured_now"] for one in (*second["studies"], *third["studies"])] == [0] * 8
    assert second["matrices"] == first["matrices"]
    assert [len(one["matrices"][0]["portfolio"]["rule"]["configs"]) for one in (first, third)] == [2, 1]
    assert len(json.loads(run("show", "--portfolios", "--history", "--json")[1])) == 2


def test_a_matrix_study_of_what_never_runs_is_exit_code_1(run, matrix_file):
    matrix_file.write_text(MATRIX.replace("config.block != 4", "False"))
    code, out, _ = run("study", matrix_file, "--quick", "--matrix", "--trials", "2")
    assert code == 1
    assert "No problem has a configuration that runs" in out


def test_where_nothing_was_chosen_show_says_how(run):
    assert "there is no portfolio yet: autotune study FILE --matrix" in run("show", "--portfolios")[1]


def test_devices_lists_the_cpu_with_its_sku(run):
    code, out, _ = run("devices", "--json")
    assert code == 0
    assert json.loads(out)[-1]["sku"].startswith("cpu-")
    assert "cpu-" in run("devices")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", "nowhere/sample.py"], "there is no file"),
        (["study", "sampel.py"], "did you mean 'sample.py'"),
        (["study", "sample.py", "--workload", "smaple"], "did you mean 'sample'"),
        (["study", "sample.py", "--problem", "m=1"], "no problem with a 'm'"),
        (["study", "sample.py", "--problem", "m"], "cannot read 'm'"),
        (["study", "sample.py", "--sampler", "tpi"], "did you mean 'tpe'"),
        (["study", "sample.py", "--executor", "locla"], "did you mean 'local'"),
        (["study", "sample.py", "--device", "gpu:7"], "gpu:7"),
        (["study", "sample.py", "--trials", "0"], "--trials"),
        (["study", "sample.py", "--executor", "replay:nowhere.json"], "nowhere.json"),
        (
            ["study", "sample.py", "--matrix", "--problem", "n=1"],
            "takes several problems, and sample has one here (n=1)",
        ),
        (["study", "sample.py", "--matrix", "--at-most", "0"], "--at-most 0 leaves no configuration"),
        (["study", "sample.py", "--at-most", "2"], "add --matrix"),
        (["study", "other.py", "--matrix"], "have the same dimensions, and sample has n=1 and m=2"),
        (["trial", "sample.py", "--config", "z=1"], "'z'"),
        (["trial", "sample.py", "--config", "x=3"], "x"),
        (["trial", "sample.py", "--config", "x=16,y=4"], "Not all of x and y at once"),
        (["show", "99"], "99"),
        (["export", "folder"], "nothing to export"),
        (["import", "nowhere"], "nowhere"),
        (["rollback"], "no generation is published"),
        (["rollback", "--to", "-1"], "--to"),
        (["studdy", "sample.py"], "studdy"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(run, file, monkeypatch, words, message):
    monkeypatch.chdir(file.parent)
    file.with_name("other.py").write_text(SAMPLE.replace("Problem(n=2)", "Problem(m=2)"))
    code, out, err = run(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_an_empty_valid_set_names_the_constraint_that_empties_it(run, file):
    file.write_text(SAMPLE.replace("<= 32", "<= 0"))
    for command in ("study", "check"):
        code, _, err = run(command, file)
        assert code == 2
        assert "small" in err
        assert "Not all of x and y at once" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:", ":1: invalid syntax"),
        ("raise LookupError('no such thing')", "LookupError: no such thing"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_package", "pip install no_such_package"),
        ("x = 1", "no workload in"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_and_leaves_no_process(run, file, text, said):
    file.write_text(text)
    for command in ("study", "trial"):
        code, out, err = run(command, file, "--device", "cpu")
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    assert [p.pid for p in proc.members(os.getpid())] == [os.getpid()]


# Loaded twice at once, it goes on; loaded once and then again, it fails.
MEETING = """
import os, time
from pathlib import Path
Path(__file__).with_name(f"loaded-{os.getpid()}").touch()
until = time.monotonic() + 20
while len(list(Path(__file__).parent.glob("loaded-*"))) < 2:
    assert time.monotonic() < until, "nobody else loads it"
    time.sleep(0.01)
"""


def test_the_measuring_process_loads_the_file_while_the_command_does(run, file):
    file.write_text(MEETING + SAMPLE)
    code, out, err = run("trial", file, "--device", "cpu", "--config", "x=1,y=1", "--quick", "--problem", "n=1")
    assert code == 0, out + err
    assert len(list(file.parent.glob("loaded-*"))) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_interrupted_while_it_loads_leaves_no_process(file, number):
    file.write_text(MEETING + "time.sleep(60)")
    command = subprocess.Popen([sys.executable, "-m", "autotune", "study", str(file), "--device", "cpu"])
    try:
        assert eventually(lambda: len(list(file.parent.glob("loaded-*"))) == 2, 20)
        command.send_signal(number)
        assert command.wait(5) == (-number if number == signal.SIGKILL else 130)
    finally:
        command.kill()
        command.wait()
    pids = [path.name.partition("-")[2] for path in file.parent.glob("loaded-*")]
    assert eventually(lambda: not any(runs(pid) for pid in pids), 5)


def runs(pid):
    """A zombie, whom nobody has waited for, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_without_arguments_it_prints_its_help(run):
    _, out, err = run()
    assert "study" in out + err
    code, out, _ = run("--version")
    assert code == 0
    assert out.strip().count(".") == 2


TALKING = """
import subprocess
import autotune
from autotune import Problem, SearchSpace, integer
print("while loading")

@autotune.workload(space=SearchSpace(x=integer(0, 3)), objective=autotune.maximize("score"), gpus=0)
def sample(problem, config):
    print("in the body")
    subprocess.run(["echo", "from a child"])
    yield lambda: {"score": 1 + config.x}
"""


@pytest.mark.parametrize("command", [["study"], ["study", "--executor", "inline"], ["trial", "--executor", "inline"]])
def test_json_is_all_that_standard_output_holds(file, command):
    file.write_text(TALKING)
    words = [sys.executable, "-m", "autotune", command[0], str(file), *command[1:], "--quick", "--json"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
    assert "while loading" in result.stderr


def test_what_is_wrong_with_a_later_study_is_said_before_the_first_is_run(run, file):
    only_the_first = SAMPLE.replace("def small(config)", "def small(config, problem)")
    file.write_text(only_the_first.replace("config.x * config.y <= 32", "problem.n == 1"))
    code, out, err = run("study", file, "--quick")
    assert code == 2
    assert "small" in err
    assert "[1/" not in out


def test_a_corrupt_snapshot_costs_neither_the_results_nor_the_other_studies(run, file, home):
    from autotune.device import current_sku
    from autotune.snapshot import path_of

    broken = path_of(home / "snapshots", current_sku(), "sample")
    broken.parent.mkdir(parents=True)
    broken.write_text("garbage")
    code, out, _ = run("study", file, "--quick", "--trials", "18")
    assert code == 2
    assert out.count("not published for lookups") == 2
    assert "best for sample n=2: x=16,y=2" in out
    assert broken.read_text() == "garbage"
    assert len(json.loads(run("show", "--json")[1])) == 2


def test_failures_of_one_kind_are_explained_apart_where_they_differ(run, file):
    broken = "yield {2: None, 8: lambda: {'score': 'many'}}.get(config.x, lambda: {'score': 1})"
    file.write_text(SAMPLE.replace('yield lambda: {"score": problem.n * config.x + config.y}', broken))
    _, out, _ = run("study", file, "--quick", "--problem", "n=1", "--trials", "18")
    assert out.count("repeat it:") == 3  # nothing callable, no number, and four that is wrong
    assert "four is wrong" in run("show", "1")[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("problems=", "problem=", "no keyword 'problem'; did you mean 'problems'"),
        ("problems=[Problem(n=1), Problem(n=2)]", "problems=Problem(n=1)", "expected a list of them"),
        ('autotune.maximize("score")', '"score"', "write minimize('score')"),
        ("gpus=0,", "gpus=0, flops=lambda problem: problem.m,", "flops of n=1: AttributeError"),
    ],
)
def test_a_mistake_in_the_declaration_is_one_sentence(run, file, old, new, message):
    file.write_text(SAMPLE.replace(old, new))
    code, out, err = run("study", file)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_output_that_cannot_be_written_is_one_sentence(file):
    words = [sys.executable, "-m", "autotune", "devices"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_the_same_command_goes_on(file, home, number):
    file.write_text(SAMPLE.replace("yield lambda:", "time.sleep(0.2)\n    yield lambda:"))
    command = [sys.executable, "-m", "autotune", "study", str(file), "--quick", "--problem", "n=1", "--trials", "17"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if "[3/17]" in line:
                process.send_signal(number)
                break
        out = process.stdout.read()
    assert process.returncode == 130, out
    assert "the same command goes on" in out
    assert "nothing is promoted" in out
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60)
    study = json.loads(again.stdout)["studies"][0]
    assert study["trials"] == 17
    assert 0 < study["measured_now"] <= 14


def test_the_module_runs_as_the_command_does():
    result = subprocess.run([sys.executable, "-m", "autotune", "--version"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0
    assert Path(sys.executable).exists()
