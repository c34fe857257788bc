import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from autotune.registry import Registry
from tests.unit.disks import NOBODY
from tests.unit.registry.samples import execute


@pytest.fixture(scope="session")
def postgresql_url():
    """A private server on a socket of its own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    binaries, folder = Path(found).resolve().parent, Path(tempfile.mkdtemp(prefix="autotune-pg-"))
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, NOBODY)

    def run(*command):
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(binaries / "initdb", "-D", folder / "data", "-U", "tuner", "-A", "trust", "-E", "UTF8")
    run(binaries / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://tuner@/postgres?host={folder}"
    run(binaries / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/autotune.db"
    url = request.getfixturevalue("postgresql_url")
    execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return url


@pytest.fixture
def registry(url):
    with Registry.open(url) as registry:
        yield registry


@pytest.fixture
def sqlite_path(tmp_path):
    """An up-to-date database that nobody has open."""
    path = tmp_path / "autotune.db"
    Registry.open(f"sqlite:///{path}").close()
    return path
