import contextlib
import os
import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from autotune.errors import RegistryError
from autotune.registry import Registry
from autotune.registry.tables import HEAD
from tests.unit.disks import as_another_user, on_a_small_disk, shared_folder
from tests.unit.registry.samples import execute, start


def test_a_newer_schema_is_refused_with_both_versions(url):
    Registry.open(url).close()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        RegistryError, match=rf"is from a newer version: its schema is 9999, .* knows up to {HEAD}; upgrade"
    ):
        Registry.open(url)


def test_another_programs_tables_are_left_alone(url):
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    execute(url, "CREATE TABLE studies (study_id INTEGER)")
    with pytest.raises(RegistryError, match="another program's tables; give another with --database"):
        Registry.open(url)
    execute(url, "CREATE TABLE alembic_version (version_num TEXT)", "INSERT INTO alembic_version VALUES ('v3.2.0.a')")
    with pytest.raises(RegistryError, match="another program's tables"):
        Registry.open(url)


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "autotune.db"
    path.write_text("dear diary\n" * 500)
    with pytest.raises(RegistryError, match=r"autotune.db is not a SQLite database; move it away"):
        Registry.open(f"sqlite:///{path}")
    assert path.read_text() == "dear diary\n" * 500


def test_a_damaged_database_is_named(sqlite_path):
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        start(registry)
    data = bytearray(sqlite_path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    sqlite_path.write_bytes(data)
    with pytest.raises(RegistryError, match="is damaged"), Registry.open(f"sqlite:///{sqlite_path}") as registry:
        registry.studies()


def test_a_read_only_folder_is_said_to_be_one():
    with shared_folder() as folder:
        folder.chmod(0o555)
        message = as_another_user(lambda: Registry.open(f"sqlite:///{folder}/autotune.db"))
        assert message.startswith(
            f"{folder}/autotune.db cannot be opened; make its folder writable for this user, or give"
        )
        message = as_another_user(lambda: Registry.open(f"sqlite:///{folder}/new/autotune.db"))
        assert message.startswith(
            f"the folder {folder}/new cannot be made (Permission denied); give another with --database"
        )


def test_a_read_only_file_is_said_to_be_one():
    with shared_folder() as folder:
        path = folder / "autotune.db"
        Registry.open(f"sqlite:///{path}").close()
        path.chmod(0o444)
        folder.chmod(0o777)
        message = as_another_user(lambda: start(Registry.open(f"sqlite:///{path}")))
        assert message.startswith(f"{path} is read-only for this user; make the file and its folder writable")


FILL = """
from autotune.errors import RegistryError
from autotune.registry import Registry
from tests.unit.registry.samples import start, trial
with Registry.open({url!r}) as registry:
    study, number = start(registry), 0
    try:
        while True:
            registry.record(study.id, trial(number))
            number += 1
    except RegistryError as error:
        print(error, [one.number for one in registry.trials(study.id)] == list(range(number)), number > 10)
"""


def test_a_full_disk_leaves_what_was_recorded(tmp_path):
    printed = on_a_small_disk(tmp_path, FILL.format(url=f"sqlite:///{tmp_path}/autotune.db"), size="2m")
    assert printed.endswith("autotune.db is full; free some space, and the same command resumes the study. True True\n")


def test_a_database_in_use_for_too_long_says_so(sqlite_path):
    with (
        Registry.open(f"sqlite:///{sqlite_path}", patience_s=0) as registry,
        contextlib.closing(sqlite3.connect(sqlite_path)) as other,
    ):
        with registry._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryError, match="in use by another process for too long"):
            start(registry)
        other.rollback()
        assert start(registry).id == 1


def test_a_writer_waits_for_another(sqlite_path):
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        other = sqlite3.connect(sqlite_path, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        assert start(registry).id == 1
        timer.join()
        other.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("runs.db", "the database is not given by a URL; expected sqlite:////absolute/path.db or postgresql://"),
        ("mysql://tuner:s3cret@host/x", "cannot use a database of mysql://…; expected sqlite:////absolute/path.db"),
        ("oracle+nothing://tuner:s3cret@host/x", "cannot use a database of"),
        (
            "postgresql+psycopg2://tuner:s3cret@host/x",
            r"needs psycopg2; pip install 'gpu-autotune\[postgres\]', and begin",
        ),
        ("sqlite+nothing:///x.db", "names no driver that is here"),
        ("sqlite:////proc/nothing/autotune.db", "the folder /proc/nothing cannot be made"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained_without_its_password(url, sentence):
    with pytest.raises(RegistryError, match=sentence) as raised:
        Registry.open(url)
    assert "s3cret" not in str(raised.value)


def test_an_unreachable_server_is_explained_without_its_password():
    pytest.importorskip("psycopg")
    with pytest.raises(RegistryError, match=r"tuner:\*\*\*@127.0.0.1:1/x cannot be used: .*refused") as raised:
        Registry.open("postgresql://tuner:s3cret@127.0.0.1:1/x?sslpassword=s3cret")
    assert "s3cret" not in str(raised.value)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RegistryError, match=r"needs psycopg; pip install 'gpu-autotune\[postgres\]'"):
        Registry.open("postgresql://host/x")


def test_a_server_says_what_it_refuses(server):
    with pytest.raises(RegistryError, match='database "nothing" does not exist'):
        Registry.open(server.url.replace("/postgres?", "/nothing?"))
    execute(
        server.url,
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
    )
    with pytest.raises(RegistryError, match="does not permit it: permission denied for schema public"):
        Registry.open(server.url.replace("tuner@", "guest@"))


def test_the_database_is_named_without_its_password(tmp_path, server):
    with Registry.open(server.url.replace("tuner@", "tuner:s3cret@")) as registry:
        assert "tuner:***@/postgres" in registry.where
    with Registry.open(f"sqlite:///{tmp_path}/a.db") as registry:
        assert registry.where == f"{tmp_path}/a.db"
