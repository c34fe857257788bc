"""`autotune report`, with a registry that has the nights of a made-up fortnight."""

import json
import signal
import sys

import pytest

from autotune.cli import main
from autotune.registry import Registry
from tests.unit.morning.fortnight import fortnight


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    tonight, before = fortnight()
    documents = [one.to_json() for one in (tonight, *reversed(before))]

    def run(*words, nights=documents):
        with Registry.open(f"sqlite:///{tmp_path}/autotune.db") as registry:
            for one in reversed(nights):
                times = {"started_at": one["started_at"], "ended_at": one["ended_at"]}
                registry.record_night(**times, state="complete", document=one)
        monkeypatch.setattr(sys, "argv", ["autotune", "--home", str(tmp_path), "report", *map(str, words)])
        try:
            with pytest.raises(SystemExit) as exit_:
                main()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out, err = capsys.readouterr()
        return exit_.value.code, out, err

    return run


def test_the_last_night_with_a_regression_is_exit_code_3(run):
    code, out, _ = run()
    assert code == 3
    assert "2 targets got slower." in out


def test_a_quiet_night_is_asked_for_by_its_date(run):
    code, out, _ = run("2026-11-07", "--json")
    assert code == 0
    assert json.loads(out)["night"].startswith("2026-11-07")


def test_the_page_goes_to_a_file(run, tmp_path):
    code, _, _ = run("--html", tmp_path / "morning.html")
    assert code == 3
    assert (tmp_path / "morning.html").read_text().startswith("<!doctype html>")


def test_a_night_that_is_not_on_record_is_said_with_those_that_are(run):
    code, _, err = run("2020-01-01")
    assert code == 2
    assert "2026-11-15" in err


def test_without_any_night_it_says_what_leaves_one(run):
    code, _, err = run(nights=[])
    assert code == 2
    assert "autotune sweep" in err
