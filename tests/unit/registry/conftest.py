import pytest

from autotune.registry import Registry
from tests.unit.registry.samples import execute
from tests.unit.registry.server import Server, find_binaries


@pytest.fixture(scope="session")
def _server():
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    server = Server(binaries)
    yield server
    server.remove()


@pytest.fixture
def server(_server):
    """An empty database of PostgreSQL; it may be stopped."""
    execute(_server.url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return _server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/autotune.db"
    return request.getfixturevalue("server").url


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
