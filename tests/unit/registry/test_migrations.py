import contextlib
import sqlite3
from dataclasses import replace

import pytest
import sqlalchemy

from autotune.registry import Registry
from autotune.registry.tables import HEAD, metadata
from autotune.values import Config, Problem
from tests.unit.registry.samples import KEY, script, start, trial


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


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_what_an_older_schema_held_is_there_in_the_newest(url, revision):
    from alembic import command

    from autotune.registry.migrations import configuration

    Registry.open(url).close()
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DELETE FROM alembic_version")
        command.upgrade(configuration(connection), revision)
        for statement in [*FIRST_SCHEMA, *ADDED.get(revision, [])]:
            connection.exec_driver_sql(statement)
        if not url.startswith("sqlite"):  # the rows have brought their numbers with them
            connection.exec_driver_sql("SELECT setval('tuned_configs_id_seq', 1)")
    engine.dispose()
    with Registry.open(url) as registry:
        found = start(registry)
        assert (found.id, found.key, found.key.cache) == (1, KEY, "cold")
        assert (found.verdict.reason if found.verdict else None) == ("none" if revision >= "0002" else None)
        (winner,) = registry.current("matmul")
        assert (winner.config, winner.cache, winner.verdict) == (Config(block_m=64), "cold", None)
        after = replace(winner, config=Config(block_m=128))
        assert registry.promote(after, 1)
        assert [one for one, _ in registry.history("matmul")] == [after, winner]


def test_every_older_schema_is_tested_with_data():
    from autotune.registry.migrations import known_revisions

    assert known_revisions() == {"0001", "0002", "0003", HEAD}


# By name: a later revision adds columns.
FIRST_SCHEMA = [
    "INSERT INTO devices VALUES (1, 'h200', 'GPU-0', 'NVIDIA H200', '{}', '')",
    "INSERT INTO workloads VALUES (1, 'matmul', '0123456789ab', '/matmul.py', NULL, '')",
    """INSERT INTO studies (id, digest, workload_id, device_id, problem, sku, gpus, space_fingerprint, objective,
    effort, toolchain, path, default_config, seed, sampler, state, elapsed_s, created_at, updated_at) VALUES
    (1, 'edc1a2b46c0b49c4', 1, 1, '{"dtype":"bfloat16","m":16,"scale":0.1}', 'h200', 1,
    'f00d', 'minimize latency_ms', 'full', '{"driver":"570.86","torch":"2.11.0"}', '/matmul.py', '{"block_m":64}', 7,
    'tpe', 'complete', 1.5, '2026-01-01', '2026-01-01')""",
    """INSERT INTO tuned_configs VALUES (1, 'matmul', '7a9a1a9c8d0fd5ac', 'h200', 1, 'c', 1, '{"workload":"matmul",
    "version":"v","problem":{"m":16},"sku":"h200","gpus":1,"config":{"block_m":64},"metric":"latency_ms","value":0.1,
    "direction":"minimize","interval":[0.09,0.11],"baseline":null,"baseline_config":{"block_m":64},"speedup":null,
    "toolchain":{},"measured_at":"2026-01-01T00:00:00+00:00","provenance":{}}', '2026-01-01', NULL)""".replace(
        "7a9a1a9c8d0fd5ac", Problem(m=16).digest
    ),
]
JUDGED = [
    """UPDATE studies SET verdict =
    '{"kind":"nothing to promote","reason":"none","trials":3,"decided_at":"2026-01-01"}'""",
]
ADDED = {"0002": JUDGED, "0003": JUDGED}

OPEN = """
import sys, time
import pytest
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
