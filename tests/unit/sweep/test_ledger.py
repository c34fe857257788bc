import pytest

from autotune.registry import Registry
from autotune.sweep.due import Due, DueKind
from autotune.sweep.ledger import Ledger
from autotune.sweep.night import Deed, Night, Result
from tests.unit.sweep.samples import STARTED_AT, days_before, target


@pytest.fixture
def ledger():
    with Registry.memory() as registry:
        yield Ledger(registry, registry, lambda generation: None)


def result(n=1):
    due = Due(target=target(n=n), kind=DueKind.CANARY, reasons=("drawn as a sample",))
    return Result(due=due, deed=Deed.RECHECKED, metric="latency_ms", direction="minimize")


def complete(started_at, *results):
    return Night(started_at=started_at, ended_at=started_at, results=results)


def test_a_night_without_an_end_is_found_with_all_that_it_did(ledger):
    ledger.close(complete(days_before(1), result()))
    for n in range(300):
        ledger.note(STARTED_AT, STARTED_AT, result(n))
    unfinished = ledger.unfinished(STARTED_AT)
    assert unfinished.started_at == STARTED_AT
    assert [one.due.target.problem.n for one in unfinished.results] == list(range(300))
    assert ledger.history(5) == [complete(days_before(1), result())]


def test_a_night_with_an_end_and_one_of_yesterday_are_not_gone_on_with(ledger):
    assert ledger.unfinished(STARTED_AT) is None
    ledger.note(days_before(1), days_before(1), result())
    assert ledger.unfinished(STARTED_AT) is None
    ledger.note(STARTED_AT, STARTED_AT, result())
    ledger.close(complete(STARTED_AT, result()))
    assert ledger.unfinished(STARTED_AT) is None


def test_history_is_the_newest_first_and_no_longer_than_wanted(ledger):
    for days in (3, 2, 1):
        ledger.close(complete(days_before(days)))
    assert [one.started_at for one in ledger.history(2)] == [days_before(1), days_before(2)]
