"""Fixtures that every test shares: a data directory of its own."""

import pytest

from autotune.lookup import refresh


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test reads or writes the user's own data."""
    folder = tmp_path / "home"
    for name in ("AUTOTUNE_DATABASE", "AUTOTUNE_SNAPSHOT_PATH", "AUTOTUNE_EXECUTOR"):
        monkeypatch.setenv(name, "")  # as if it were not set; and what a test sets is gone after it
    monkeypatch.setenv("AUTOTUNE_HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    locks = tmp_path / "locks"
    locks.mkdir()
    monkeypatch.setenv("AUTOTUNE_LOCK_FOLDER", str(locks))  # no test waits for another one, or for the user's studies
    refresh()  # lookups are remembered for the life of a process
    return folder
