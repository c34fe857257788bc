import contextlib
import sqlite3
import threading
import time
from dataclasses import replace

import pytest
import sqlalchemy

from autotune.errors import RegistryError
from autotune.event import EventKind
from autotune.registry import Registry
from autotune.registry.faults import PassingFault, translated
from autotune.study import Study
from tests.unit.answering import AnsweringExecutor, measured, plan
from tests.unit.registry.samples import FAILED, KEY, MEASURED, start, trial, tuned

AWAY_S = 1.0


def value(config):
    return measured(1.0 + abs(config.x - 3))


def away(server, seconds=AWAY_S):
    """Stop it, and let it come back after that time."""
    server.stop()
    comes_back = threading.Timer(seconds, server.start)
    comes_back.start()
    return comes_back


def run(registry, answer, **rounds):
    executor = AnsweringExecutor(answer, **rounds)
    return Study(plan(), executor, registry, None).run(), executor


def test_a_study_whose_server_is_stopped_and_started_loses_nothing_and_repeats_nothing(server):
    timers = []

    def answer(config):
        if config.x in (2, 5):
            timers.append(away(server))
        return value(config)

    with Registry.open(server.url) as registry:
        result, executor = run(registry, answer)
        assert (result.state, result.promoted, result.tuned.config) == ("complete", True, {"x": 3})
        assert [one.number for one in registry.trials(result.study_id)] == list(range(10))
        assert len({one.config for one in executor.trials}) == len(executor.trials) == 10
        assert [event.kind for event in registry.events] == [EventKind.DATABASE] * 2
        assert "could not be used for" in registry.events[0].message
        seconds = [float(event.message.partition("for ")[2].partition(" s")[0]) for event in registry.events]
        print("away for", seconds)
        assert all(AWAY_S / 2 < one < AWAY_S + 15 for one in seconds)
    for timer in timers:
        timer.join()


def test_a_restart_among_the_rounds_loses_none(server):
    stopped = []

    def answer_round(config, number):
        if number == 2 and not stopped:
            stopped.append(away(server))
        return value(config)

    with Registry.open(server.url) as registry:
        result, executor = run(registry, value, answer_round=answer_round)
        numbers = [one.number for one in registry.measured_again(result.study_id)]
        assert numbers == list(range(1, len(executor.rounds) + 1))
        assert result.state == "complete"


def test_a_study_goes_on_where_a_failover_has_cost_the_last_trials_but_one(registry):
    study = run(registry, value)[0].study_id
    with registry._database.writing() as connection:
        lost = "SELECT id FROM trials WHERE number IN (4, 5)"
        connection.exec_driver_sql(f"DELETE FROM measurements WHERE trial_id IN ({lost})")
        connection.exec_driver_sql("DELETE FROM trials WHERE number IN (4, 5)")
    result, executor = run(registry, value)
    assert (result.state, len(executor.trials)) == ("complete", 2)
    assert [one.number for one in registry.trials(study)] == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]


def test_a_restart_that_nobody_noticed_ends_no_claim(server):
    with Registry.open(server.url) as registry, Registry.open(server.url) as other:
        study, second = start(registry), start(registry, replace(KEY, version="other"))
        with registry.claim(study.id), registry.claim(second.id):
            server.restart()
            registry.record(study.id, trial(0))
            for one in (study, second):
                with pytest.raises(RegistryError, match="is being run by autotune, process"), other.claim(one.id):
                    pass
        for one in (study, second):
            with other.claim(one.id):
                pass
        assert registry.events == ()


def test_a_study_that_another_has_taken_after_the_restart_is_written_to_no_more(server):
    taken = contextlib.ExitStack()

    def answer(config):
        if config.x == 2:
            server.restart()
            taken.enter_context(other.claim(1))  # before the first one has noticed
        return value(config)

    with Registry.open(server.url) as registry, Registry.open(server.url) as other, taken:
        with pytest.raises(
            RegistryError,
            match=r"study 1 \(sample n=1 .*\) was taken over by autotune, process \d+, on .* while the",
        ):
            run(registry, answer)
        before = other.trials(1)
        assert 2 not in [one.config.x for one in before]
        assert other.find_study("1").state == "running"  # the other's: not closed by the first one
        taken.close()
        result, executor = run(other, value)
        assert len(executor.trials) == 10 - len(before)
        assert [one.number for one in other.trials(result.study_id)] == list(range(10))


def test_of_two_who_want_the_study_after_a_restart_one_has_it(server):
    for attempt in range(3):
        with Registry.open(server.url) as one, Registry.open(server.url) as two:
            study = start(one, replace(KEY, version=str(attempt)))
            said = []

            def take(study=study, said=said, two=two):
                try:
                    with two.claim(study.id):
                        two.record(study.id, trial(1, a=2))
                        said.append("taken")
                except RegistryError as error:
                    said.append(str(error))

            kept = False
            with contextlib.suppress(RegistryError), one.claim(study.id):
                one.record(study.id, trial(0))
                server.restart()
                thread = threading.Thread(target=take)
                thread.start()
                one.record(study.id, trial(1, a=1))
                kept = True
            thread.join()
            print("kept" if kept else "lost", said)
            assert [one.config for one in two.trials(study.id)][1:] == [{"a": 1 if kept else 2}]
            assert kept == ("taken" not in said)


def test_a_session_that_outlives_its_connection_is_ended_before_its_claim_is_regained(server):
    with Registry.open(server.url) as registry:
        study = start(registry)
        with registry.claim(study.id):
            session = registry._database._session
            cut_off, session._connection = session._connection, None  # as when the network in between is gone
            registry.record(study.id, trial(0))
            with pytest.raises(sqlalchemy.exc.OperationalError):
                cut_off.execute(sqlalchemy.text("SELECT 1"))
            cut_off.invalidate()
            cut_off.close()


def test_a_claim_that_ends_while_the_server_is_away_gives_no_way_around_another(server):
    with Registry.open(server.url) as registry, Registry.open(server.url) as other:
        study, second = start(registry), start(registry, replace(KEY, version="other"))
        with registry.claim(study.id):
            with registry.claim(second.id):
                server.restart()
                registry._database._session._connection.invalidate()  # as a write that failed has left it
            with other.claim(study.id), pytest.raises(RegistryError, match="was taken over by"):
                registry.record(study.id, trial(0))
        assert other.trials(study.id) == []


class Refused(Exception):
    def __init__(self, sqlstate):
        super().__init__("it was refused")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("kind", "sqlstate", "passes"),
    [
        (sqlalchemy.exc.OperationalError, None, "it is away"),  # no server was there to give a code
        (sqlalchemy.exc.InterfaceError, None, "it is away"),
        (sqlalchemy.exc.OperationalError, "08006", "it is away"),
        (sqlalchemy.exc.OperationalError, "57P01", "it is away"),
        (sqlalchemy.exc.OperationalError, "57P03", "it is away"),
        (sqlalchemy.exc.OperationalError, "53300", "it is away"),
        (sqlalchemy.exc.InternalError, "25006", "it is away"),
        (sqlalchemy.exc.OperationalError, "40P01", "contention"),
        (sqlalchemy.exc.OperationalError, "40001", "contention"),
        (sqlalchemy.exc.OperationalError, "53100", None),  # the disk is full
        (sqlalchemy.exc.OperationalError, "57014", None),  # somebody cancelled it
        (sqlalchemy.exc.ProgrammingError, "42501", None),
        (sqlalchemy.exc.ProgrammingError, None, None),
        (sqlalchemy.exc.DataError, "22003", None),
    ],
)
def test_a_fault_is_waited_for_only_where_it_may_pass_by_itself(kind, sqlstate, passes):
    with pytest.raises(RegistryError) as raised, translated("here"):
        raise kind("SELECT", {}, Refused(sqlstate))
    found = raised.value
    assert isinstance(found, PassingFault) == bool(passes)
    assert not passes or found.contention == (passes == "contention")


@contextlib.contextmanager
def answers_lost(registry, count=1):
    """The commit of the next writes succeeds, and its answer never arrives."""
    database, left = registry._database, [count]
    writing = database.writing

    @contextlib.contextmanager
    def without_answer():
        with writing() as connection:
            yield connection
        if left[0]:
            left[0] -= 1
            raise PassingFault("gone.", what="gone", contention=False)

    database.writing = without_answer
    yield
    assert left == [0]
    database.writing = writing


def test_a_commit_whose_answer_was_lost_is_not_repeated(registry):
    study = start(registry)
    with answers_lost(registry):
        registry.record(study.id, trial(0))
    with answers_lost(registry, 3):
        registry.record(study.id, trial(1, FAILED))
    with answers_lost(registry):
        registry.record_round(study.id, trial(0).config, 1, MEASURED)
    with answers_lost(registry):
        registry.promote(tuned(), study.id)
    with answers_lost(registry):
        registry.close_study(study.id, "complete", 1.0)
    with answers_lost(registry):
        assert start(registry, replace(KEY, version="other")).id == study.id + 1
    assert registry.trials(study.id) == [trial(0), trial(1, FAILED)]
    assert registry.rounds(study.id, trial(0).config) == [MEASURED, MEASURED]
    assert len(registry.history()) == 1
    assert len(registry.events) == 6


def test_another_outcome_under_the_same_number_is_still_refused(registry):
    study = start(registry)
    registry.record(study.id, trial(0, a=1))
    for again in (trial(1, a=1), trial(0, a=2), trial(0, FAILED, a=1)):
        with pytest.raises(RegistryError, match="already"), answers_lost(registry, 0):
            registry.record(study.id, again)


def test_a_server_that_is_not_there_is_said_so_at_once_when_it_is_opened(server):
    server.stop()
    try:
        began_s = time.monotonic()
        with pytest.raises(RegistryError, match=r"postgresql://.* cannot be used: connection .*\.$") as raised:
            Registry.open(server.url)
        assert time.monotonic() - began_s < 2
        assert "\n" not in str(raised.value)
    finally:
        server.start()


def test_patience_ends(server):
    with Registry.open(server.url, patience_s=0.5) as registry, Registry.open(server.url, patience_s=0) as hasty:
        server.stop()
        try:
            with pytest.raises(RegistryError, match=r"\(It was waited for 0 s.\)|\(It was waited for 1 s.\)"):
                registry.studies()
            with pytest.raises(RegistryError, match="cannot be used"):
                hasty.studies()
        finally:
            server.start()
        assert registry.studies() == hasty.studies() == []


def test_who_interrupts_the_wait_waits_for_nothing_more(registry, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("autotune.registry.patience.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), answers_lost(registry):
        start(registry)
    with pytest.raises(PassingFault), answers_lost(registry):
        start(registry)


def test_a_file_that_is_locked_for_long_is_waited_for(sqlite_path):
    with Registry.open(f"sqlite:///{sqlite_path}") as registry:
        study = start(registry)
        with registry._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(sqlite_path, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        registry.record(study.id, trial(0))
        timer.join()
        other.close()
        assert registry.trials(study.id) == [trial(0)]
        assert [event.kind for event in registry.events] == [EventKind.DATABASE]
