import contextlib
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from autotune.device import Device
from autotune.errors import RegistryError
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.registry import RecordedTrial, Registry, StudyKey
from autotune.registry.tables import HEAD, metadata, tuned_configs
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from tests.unit.disks import NOBODY, as_another_user, on_a_small_disk, shared_folder

ROOT = Path(__file__).parents[2]
DEVICE = Device(
    kind="gpu", index=0, sku="h200", name="NVIDIA H200", uuid="GPU-0", arch="sm_90", memory_bytes=1, multiprocessors=132
)
KEY = StudyKey(
    workload="matmul",
    version="0123456789ab",
    space_fingerprint="f00d",
    problem=Problem(m=16, scale=0.1, dtype="bfloat16"),
    sku="h200",
    gpus=1,
    objective="minimize latency_ms",
    effort="full",
    toolchain={"torch": "2.11.0", "driver": "570.86"},
)
DEFAULT = Config(block_m=64, fast=True)
MEASURED = Measurement(
    metrics={"latency_ms": Samples((1.25, 1.5)), "tokens_per_s": Samples((3.0,))},
    conditions=Conditions(sm_clock_mhz=1980, throttle=("power",)),
    phase_s={"prepare": 0.5, "measure": 0.1},
)
FAILED = Failure(
    kind=FailureKind.COMPILE, message="no", details="printed \0 and \ud800", phase="warm_up", phase_s={"prepare": 1.0}
)


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


def execute(url, *statements):
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def start(registry, key=KEY, **changes):
    described = {"path": Path(__file__), "device": DEVICE, "default_config": DEFAULT, "seed": 7, "sampler": "tpe"}
    return registry.study(key, **described | changes)


def trial(number, outcome=MEASURED, **config):
    return RecordedTrial(
        number=number,
        config=Config(config or {"block_m": number}),
        outcome=outcome,
        origin="search",
        finished_at="2026-01-01",
    )


def tuned(config=DEFAULT, **changes):
    values = {
        "workload": "matmul",
        "version": "0123456789ab",
        "problem": Problem(m=16),
        "sku": "h200",
        "gpus": 1,
        "config": config,
        "metric": "latency_ms",
        "direction": "minimize",
        "value": 0.1,
        "interval": (0.09, 0.11),
        "baseline": None,
        "baseline_config": DEFAULT,
        "speedup": None,
        "toolchain": {"torch": "2.11.0"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "provenance": {"study": 3},
    }
    return TunedConfig(**values | changes)


def script(program, *arguments, **options):
    """A process that runs the program with this checkout importable."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


# Studies and trials


def test_a_study_is_made_once_and_keeps_what_it_was_made_with(registry):
    first = start(registry)
    again = start(registry, seed=99, sampler="random", path=Path("/elsewhere.py"))
    assert again == first
    assert first.key == KEY
    assert first.key.digest == KEY.digest
    assert (first.path, first.device, first.default_config, first.seed) == (__file__, "NVIDIA H200", DEFAULT, 7)
    assert (first.state, first.elapsed_s, first.trials, first.failures) == ("running", 0.0, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "other"},
        {"problem": Problem(m=True)},
        {"sku": "a100"},
        {"gpus": 2},
        {"toolchain": {}},
        {"effort": "quick"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_anything_in_the_key_is_another_study(registry, change):
    other = replace(KEY, **change)
    assert start(registry).id != start(registry, other).id
    assert registry.find_study(other.digest).key == other


def test_trials_come_back_as_they_were_recorded(registry):
    study = start(registry)
    recorded = [trial(1, FAILED, a=None, b='x,"y" é', c=1e-9), trial(0, a=1), trial(2, a=True), trial(3, a=1.0)]
    for one in recorded:
        registry.record(study.id, one)
    assert registry.trials(study.id) == sorted(recorded, key=lambda one: one.number)
    assert [type(one.config.a) for one in registry.trials(study.id)] == [int, type(None), bool, float]
    again = start(registry)
    assert (again.trials, again.failures) == (4, 1)
    assert registry.trials(study.id + 1) == []


def test_a_configuration_and_a_number_are_recorded_once(registry):
    study = start(registry)
    registry.record(study.id, trial(0, a=1))
    for again in (trial(1, a=1), trial(0, a=2)):
        with pytest.raises(RegistryError, match="already"):
            registry.record(study.id, again)
    with pytest.raises(RegistryError, match="no such study"):
        registry.record(study.id + 1, trial(0))
    registry.record(study.id, trial(1, a=2))
    assert len(registry.trials(study.id)) == 2


def test_a_second_measurement_is_history_and_overwrites_nothing(registry):
    study = start(registry)
    registry.record(study.id, trial(0, a=1))
    registry.record_round(study.id, Config(a=1), 1, FAILED)
    assert registry.rounds(study.id, Config(a=1)) == [MEASURED, FAILED]
    assert registry.trials(study.id) == [trial(0, a=1)]
    assert start(registry).failures == 0
    with pytest.raises(RegistryError, match="already"):
        registry.record_round(study.id, Config(a=1), 1, MEASURED)
    with pytest.raises(RegistryError, match="no such trial"):
        registry.record_round(study.id, Config(a=2), 1, MEASURED)


def test_a_study_is_closed_with_its_state_and_its_time(registry):
    study = start(registry)
    registry.close_study(study.id, "interrupted", 12.5)
    closed = start(registry)
    assert (closed.state, closed.elapsed_s) == ("interrupted", 12.5)
    assert closed.updated_at >= study.updated_at
    with registry.claim(study.id):
        assert start(registry).state == "running"
    with pytest.raises(RegistryError, match="there is no study 99"):
        registry.close_study(99, "complete", 1.0)


def test_studies_are_listed_by_workload_and_sku(registry):
    start(registry)
    start(registry, replace(KEY, workload="softmax"))
    start(registry, replace(KEY, sku="a100"), device=replace(DEVICE, sku="a100", name="NVIDIA A100"))
    assert [s.key.workload for s in registry.studies()] == ["matmul", "softmax", "matmul"]
    assert [s.device for s in registry.studies(sku="a100")] == ["NVIDIA A100"]
    assert [s.id for s in registry.studies("softmax", "h200")] == [2]
    assert registry.studies("nothing") == []


def test_a_study_is_found_by_number_or_by_the_beginning_of_its_digest(registry):
    with pytest.raises(RegistryError, match="There are: none"):
        registry.find_study("1")
    one, two = start(registry), start(registry, replace(KEY, workload="softmax"))
    assert registry.find_study(str(two.id)) == two
    assert registry.find_study(one.key.digest[:8]) == one
    with pytest.raises(
        RegistryError, match=rf"there is no study 'xyz'. There are: .*{one.key.digest}; study 2 \(softmax"
    ):
        registry.find_study("xyz")
    with pytest.raises(RegistryError, match="there is no study ''"):
        registry.find_study("")


def test_the_source_of_a_workload_is_kept_once_per_version(registry, url):
    start(registry)
    start(registry, replace(KEY, problem=Problem(m=17)), path=Path("/gone.py"))
    start(registry, replace(KEY, version="other"), path=Path("/gone.py"))
    with registry._database.reading() as connection:
        kept = connection.execute(sqlalchemy.text("SELECT version, source FROM workloads ORDER BY id")).all()
    assert kept == [("0123456789ab", Path(__file__).read_text()), ("other", None)]


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
MAPPINGS = st.dictionaries(st.sampled_from("abcdefgh"), SCALARS)


@pytest.fixture(scope="module")
def memory():
    """For many examples: each begins by deleting the last one's rows."""
    with Registry.memory() as registry:
        yield registry


@given(problem=MAPPINGS, config=MAPPINGS, toolchain=st.dictionaries(st.text(), st.text()))
def test_whatever_a_key_and_a_config_hold_comes_back_with_the_same_digest(memory, problem, config, toolchain):
    with memory._database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    key = replace(KEY, problem=Problem(problem), toolchain=toolchain)
    study = start(memory, key, default_config=Config(config))
    memory.record(study.id, replace(trial(0), config=Config(config)))
    [found], [recorded] = memory.studies(), memory.trials(study.id)
    assert found.key.digest == key.digest == replace(key, toolchain=dict(reversed(toolchain.items()))).digest
    assert found.default_config.text == recorded.config.text == Config(config).text


def test_recording_is_fast_at_a_thousand_trials(tmp_path):
    with Registry.open(f"sqlite:///{tmp_path}/autotune.db") as registry:
        study, spent_s = start(registry), []
        for number in range(1000):
            started_s = time.perf_counter()
            registry.record(study.id, trial(number))
            spent_s.append(time.perf_counter() - started_s)
    assert statistics.median(spent_s[-100:]) < 0.003


# Winners


def test_a_winner_is_superseded_and_never_changed(registry):
    study = start(registry)
    first, second = tuned(Config(a=1)), tuned(Config(a=2), speedup=2.0)
    assert registry.promote(first, study.id)
    assert registry.promote(second, study.id)
    assert registry.current() == [second]
    (newest, superseded), (oldest, when) = registry.history("matmul")
    assert (newest, superseded, oldest) == (second, None, first)
    assert when is not None


def test_the_same_winner_of_the_same_study_is_promoted_once(registry):
    study, other = start(registry), start(registry, replace(KEY, version="other"))
    assert registry.promote(tuned(), study.id)
    assert not registry.promote(tuned(value=0.2), study.id)
    assert registry.promote(tuned(), other.id)
    assert registry.promote(tuned())
    assert not registry.promote(tuned())
    assert len(registry.history("matmul")) == 3


def test_a_config_that_differs_only_in_a_type_is_another_winner(registry):
    assert registry.promote(tuned(Config(a=1)))
    assert registry.promote(tuned(Config(a=True)))


def test_each_workload_problem_sku_and_count_has_a_winner_of_its_own(registry):
    kinds = [tuned(), tuned(workload="softmax"), tuned(problem=Problem(m=True)), tuned(sku="a100"), tuned(gpus=4)]
    for one in kinds:
        registry.promote(one)
    assert len(registry.current()) == 5
    assert registry.current("softmax") == [kinds[1]]
    assert registry.current(sku="a100") == [kinds[3]]
    assert registry.current("matmul", "h200", Problem(m=16)) == [kinds[0], kinds[4]]
    assert [one for one, _ in registry.history("matmul", Problem(m=16), "h200")] == [kinds[4], kinds[0]]


def test_the_database_itself_refuses_a_second_current_winner(registry):
    registry.promote(tuned())
    row = {"workload": "matmul", "problem_digest": Problem(m=16).digest, "sku": "h200", "gpus": 1, "config_digest": "x"}
    with pytest.raises(sqlalchemy.exc.IntegrityError), registry._database.writing() as connection:
        connection.execute(sqlalchemy.insert(tuned_configs), {**row, "tuned": {}, "promoted_at": "now"})


def test_siblings_are_the_nearest_problems_of_the_same_sku_first(registry):
    for m, sku in [(16, "h200"), (4096, "h200"), (32, "h200"), (16, "a100"), (24, "a100")]:
        registry.promote(tuned(problem=Problem(m=m), sku=sku))
    registry.promote(tuned(workload="softmax"))
    found = [(one.problem.m, one.sku) for one in registry.siblings("matmul", problem=Problem(m=16), sku="h200")]
    assert found == [(32, "h200"), (4096, "h200"), (16, "a100"), (24, "a100")]


def test_promotions_at_once_leave_one_current_winner(registry):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda a: registry.promote(tuned(Config(a=a))), range(8)))
    assert len(registry.current()) == 1
    assert len(registry.history("matmul")) == 8


def test_a_winner_of_an_unknown_study_is_refused(registry):
    with pytest.raises(RegistryError, match="refuses the entry"):
        registry.promote(tuned(), 99)
    assert registry.current() == []


# Claims

HOLD = """
import sys, time
from autotune.registry import Registry
with Registry.open(sys.argv[1]) as registry, registry.claim(int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_study_is_driven_by_one_process_and_free_when_it_is_killed(registry, url):
    study = start(registry)
    with script(HOLD, url, study.id) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RegistryError, match=rf"study 1 \(matmul .* on h200\) .* process {holder.pid}\b"),
            registry.claim(1),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 5  # a PostgreSQL server needs a moment to notice
    while time.monotonic() < deadline_s:
        with contextlib.suppress(RegistryError), registry.claim(study.id):
            return
    pytest.fail("the claim outlived its process")


def test_a_worker_that_outlives_its_study_does_not_keep_the_claim(sqlite_path):
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        study = start(registry)
        with registry.claim(study.id):
            worker = subprocess.Popen(["sleep", "60"], close_fds=False)
        with registry.claim(study.id):
            pass
        worker.kill()
        worker.wait()
    assert list(sqlite_path.parent.glob("*.lock")) == []


def test_a_claim_is_exclusive_within_a_process_too(registry):
    study, other = start(registry), start(registry, replace(KEY, version="other"))
    with registry.claim(study.id), registry.claim(other.id):
        with pytest.raises(RegistryError, match="being run by"), registry.claim(study.id):
            pass
        registry.record(study.id, trial(0))
    with registry.claim(study.id):
        pass


def test_an_error_inside_a_claim_is_left_alone_and_ends_it(registry):
    study = start(registry)
    with pytest.raises(ModuleNotFoundError, match="of the user"), registry.claim(study.id):
        raise ModuleNotFoundError("of the user")
    with registry.claim(study.id):
        pass


def test_many_claim_at_once_and_one_at_a_time_gets_it(sqlite_path):
    inside, most = [], []

    def drive(_):
        with Registry.open(f"sqlite:///{sqlite_path}") as registry:
            for _ in range(30):
                with contextlib.suppress(RegistryError), registry.claim(1):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()

    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        start(registry)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(drive, range(4)))
    assert set(most) == {1}


RECORD = """
import sys
from autotune.measurement import Measurement, Samples
from autotune.registry import RecordedTrial, Registry
from autotune.values import Config
with Registry.open(sys.argv[1]) as registry, registry.claim(1):
    for number in range(len(registry.trials(1)), 100_000):
        outcome = Measurement(metrics={"latency_ms": Samples((1.0,))})
        config = Config(a=number)
        trial = RecordedTrial(number=number, config=config, outcome=outcome, origin="search", finished_at="")
        registry.record(1, trial)
        print(number, flush=True)
"""


def test_what_was_recorded_survives_a_kill_at_any_moment(sqlite_path):
    url = f"sqlite:///{sqlite_path}"
    with Registry.open(url) as registry:
        start(registry)
    for kill in range(3):
        with script(RECORD, url) as process:
            seen = [int(process.stdout.readline()) for _ in range(50 + 37 * kill)]
            process.send_signal(signal.SIGKILL)
            seen += [int(line) for line in process.stdout.read().split("\n") if line]
        with Registry.open(url) as registry:
            numbers = [one.number for one in registry.trials(1)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) in (seen[-1] + 1, seen[-1] + 2)


# The schema


def test_the_tables_and_the_migrations_agree(registry):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with registry._database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_head_is_the_newest_migration():
    from alembic.script import ScriptDirectory

    from autotune.registry.migrations import configuration

    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


def test_several_processes_may_create_a_database_at_once(url):
    program = "import sys; from autotune.registry import Registry; Registry.open(sys.argv[1]).close()"
    processes = [script(program, url) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 3
    with Registry.open(url) as registry:
        assert registry.studies() == []


def test_an_older_schema_is_brought_up_to_date(sqlite_path):
    with contextlib.closing(sqlite3.connect(sqlite_path)) as connection, connection:
        for table in [*(table.name for table in reversed(metadata.sorted_tables))]:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM alembic_version")
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        assert start(registry).id == 1


OPEN = """
import sys, time
import sqlalchemy
started_s = time.process_time()
from autotune.registry import Registry
registry = Registry.open(sys.argv[1])
print((time.process_time() - started_s) * 1e3)
assert not {"alembic", "optuna", "typer", "torch", "numpy", "sqlalchemy.orm"} & sys.modules.keys()
registry.close()
"""


def test_a_database_that_is_up_to_date_is_opened_without_alembic_and_fast(sqlite_path):
    spent_ms = []
    for _ in range(3):
        with script(OPEN, f"sqlite:///{sqlite_path}") as process:
            spent_ms.append(float(process.stdout.read()))
        assert process.returncode == 0
    assert min(spent_ms) < 120  # alone it takes about 50; a busy machine must not fail the test


def test_a_database_in_memory_is_as_good(tmp_path):
    with Registry.open("sqlite://") as registry:
        study = start(registry)
        with registry.claim(study.id):
            registry.record(study.id, trial(0))
        assert registry.trials(study.id) == [trial(0)]


# Faults


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
from tests.unit.test_registry import start, trial
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
        Registry.open(f"sqlite:///{sqlite_path}") as registry,
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


def test_a_server_says_what_it_refuses(postgresql_url):
    with pytest.raises(RegistryError, match='database "nothing" does not exist'):
        Registry.open(postgresql_url.replace("/postgres?", "/nothing?"))
    execute(
        postgresql_url,
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
    )
    with pytest.raises(RegistryError, match="does not permit it: permission denied for schema public"):
        Registry.open(postgresql_url.replace("tuner@", "guest@"))


def test_the_database_is_named_without_its_password(tmp_path, postgresql_url):
    with Registry.open(postgresql_url.replace("tuner@", "tuner:s3cret@")) as registry:
        assert "tuner:***@/postgres" in registry.where
    with Registry.open(f"sqlite:///{tmp_path}/a.db") as registry:
        assert registry.where == f"{tmp_path}/a.db"
