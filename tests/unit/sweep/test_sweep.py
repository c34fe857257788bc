import threading
import time

import pytest

from autotune.device import versions
from autotune.errors import ExecutorError, RegistryError
from autotune.registry import Registry
from autotune.sweep import work
from autotune.sweep.due import DueKind
from autotune.sweep.ledger import COMPLETE, Ledger
from autotune.sweep.night import Deed
from autotune.sweep.night import Night as Record
from autotune.verdict import VerdictKind
from tests.unit.answering import failed
from tests.unit.sweep.fleet import Fleet, Night, write


@pytest.fixture
def night(tmp_path):
    one = Night(tmp_path)
    yield one
    one.registry.close()


def deeds(record):
    return {result.due.target.workload: result.deed for result in record.results}


def test_the_never_tuned_are_tuned_and_a_second_sweep_finds_nothing_to_do(night):
    write(night.kernels, "one", problems="Problem(n=1), Problem(n=2)")
    write(night.kernels, "two")
    first = night.sweep()
    assert [result.deed for result in first.results] == [Deed.TUNED] * 3
    assert {result.trials for result in first.results} == {5}
    assert all(result.gpu_s > 0 for result in first.results)
    assert night.published == [1]
    assert len(night.registry.current()) == 3
    night.executor.tuned()
    second = night.sweep()
    assert [result.deed for result in second.results] == [Deed.LEFT] * 3
    assert night.executor.trials == []
    assert night.published == [1]


def test_a_night_has_the_rounds_of_winner_incumbent_and_default_in_pairs_and_is_on_record(night):
    write(night.kernels, "one")
    (result,) = night.sweep().results
    assert {one.role: one.config.x for one in result.readings} == {"default": 4, "winner": 0}
    assert {one.device for one in result.readings} == {"GPU-0"}
    assert len({len(one.medians) for one in result.readings}) == 1
    assert len(result.readings[0].medians) == result.verdict.rounds
    write(night.kernels, "one", imports="import math")
    night.executor.value = lambda trial: 2.0 + abs(trial.config.x - 2)
    record = night.sweep()
    assert {one.role: one.config.x for one in record.results[0].readings} == {"default": 4, "incumbent": 0, "winner": 2}
    assert night.ledger().history(5)[0] == record == Record.from_json(record.to_json())
    assert len(night.ledger().history(5)) == 2


def test_a_file_that_cannot_be_loaded_is_named_and_the_others_go_on(night):
    write(night.kernels, "good")
    (night.kernels / "bad.py").write_text("import autotune\ndef broken(:\n")
    record = night.sweep()
    assert deeds(record) == {"good": Deed.TUNED}
    assert len(record.missing) == 1
    assert "bad.py:2" in record.missing[0]


def test_two_workloads_of_one_name_are_not_mixed_up(night):
    write(night.kernels, "a").write_text((write(night.kernels, "b")).read_text())
    record = night.sweep()
    assert len(record.results) == 1
    assert "rename one of them" in record.missing[0]


def test_touching_one_source_makes_exactly_that_workload_due(night):
    for name in ("one", "two", "three"):
        write(night.kernels, name)
    night.sweep()
    night.executor.tuned()
    write(night.kernels, "two", imports="import math")
    record = night.sweep()
    assert night.executor.tuned() == {"two"}
    (due,) = [result.due for result in record.results if result.deed is Deed.TUNED]
    assert due.kind is DueKind.HARD_STALE
    assert due.reasons[0].startswith("its source ")


def test_another_triton_makes_exactly_the_workloads_due_that_use_it(night, monkeypatch):
    monkeypatch.setattr(versions, "triton", lambda: "3.6.0")
    write(night.kernels, "kernel", imports="def body():\n    import triton")
    write(night.kernels, "plain")
    night.sweep()
    night.executor.tuned()
    monkeypatch.setattr(versions, "triton", lambda: "3.7.0")
    record = night.sweep()
    assert night.executor.tuned() == {"kernel"}
    (due,) = [result.due for result in record.results if result.deed is Deed.TUNED]
    assert due.reasons == ("triton 3.6.0 became 3.7.0",)


def test_a_patch_of_triton_is_measured_again_once_and_not_tuned(night, monkeypatch):
    monkeypatch.setattr(versions, "triton", lambda: "3.6.0")
    write(night.kernels, "kernel", imports="def body():\n    import triton")
    night.sweep()
    night.executor.tuned()
    monkeypatch.setattr(versions, "triton", lambda: "3.6.1")
    (result,) = night.sweep().results
    assert (result.deed, result.due.kind) == (Deed.RECHECKED, DueKind.SOFT_STALE)
    assert {one.role for one in result.readings} == {"incumbent", "default"}
    assert night.executor.tuned() == set()
    assert deeds(night.sweep()) == {"kernel": Deed.LEFT}


def canaries(night, monkeypatch, **changes):
    """A sweep in which all fresh ones are canaries, however recently they were looked at."""
    monkeypatch.setattr("autotune.sweep.decision.RESTED_S", -1e9)
    return night.sweep(canary_share=1.0, **changes)


def test_a_canary_whose_order_holds_is_left_as_it_is(night, monkeypatch):
    write(night.kernels, "one")
    night.sweep()
    night.executor.tuned()
    (result,) = canaries(night, monkeypatch).results
    assert (result.deed, result.due.kind) == (Deed.RECHECKED, DueKind.CANARY)
    assert night.executor.tuned() == set()


def test_a_canary_whose_order_changed_is_tuned_the_same_night(night, monkeypatch):
    write(night.kernels, "one")
    night.sweep()
    night.executor.value = lambda trial: 9.0 - trial.config.x
    (result,) = canaries(night, monkeypatch).results
    assert result.deed is Deed.TUNED
    assert "beats the incumbent by" in result.due.reasons[0]
    assert result.verdict.winner.x == 4
    assert night.registry.current()[0].config.x == 4


def test_a_change_of_order_that_the_budget_does_not_reach_is_tuned_the_next_night(night, monkeypatch):
    write(night.kernels, "one")
    night.sweep()
    night.executor.value = lambda trial: 9.0 - trial.config.x
    (result,) = canaries(night, monkeypatch, budget_gpu_hours=1e-9).results
    assert result.deed is Deed.OUT_OF_BUDGET
    assert result.readings
    (result,) = night.sweep(budget_gpu_hours=1e-9).results
    assert result.deed is Deed.TUNED
    assert "beats the incumbent by" in result.due.reasons[0]


def test_what_the_budget_does_not_reach_is_told_and_comes_first_the_next_night(night):
    for name in ("one", "two", "three"):
        write(night.kernels, name)
    nights = [deeds(night.sweep(budget_gpu_hours=1e-9)) for _ in range(3)]
    assert [list(one.values()).count(Deed.TUNED) for one in nights] == [1, 1, 1]
    assert list(nights[0].values()).count(Deed.OUT_OF_BUDGET) == 2
    assert len(night.registry.current()) == 3


def test_what_fails_costs_the_others_nothing(night):
    def value(trial):
        if trial.workload.name == "worse":
            return failed()
        return ExecutorError("it is broken") if trial.workload.name == "bad" else 1.0 + trial.config.x

    night.executor.value = value
    for name in ("bad", "good", "worse"):
        write(night.kernels, name)
    record = night.sweep()
    by_name = {result.due.target.workload: result for result in record.results}
    assert by_name["good"].deed is Deed.TUNED
    assert (by_name["bad"].deed, by_name["bad"].message) == (Deed.FAILED, "it is broken")
    assert by_name["worse"].verdict.kind is VerdictKind.NOTHING
    assert sum(by_name["worse"].failures.values()) == 5
    assert next(iter(by_name["worse"].failures)).startswith("runtime on ")


def interrupt_after(count):
    def tell(result, number, of):
        if number == count:
            raise KeyboardInterrupt

    return tell


def test_an_interrupted_night_goes_on_and_does_nothing_twice(night):
    names = {"one", "two", "three"}
    for name in names:
        write(night.kernels, name)
    with pytest.raises(KeyboardInterrupt):
        night.sweep(tell=interrupt_after(1), at_once=1)
    assert night.published == []
    assert night.ledger().history(5) == []
    done = night.ledger().unfinished(work._now())
    first = {result.due.target.workload for result in done.results}
    before = len(night.executor.trials)
    night.executor.tuned()
    record = night.sweep(at_once=1)
    assert night.executor.tuned() == names - first
    assert before <= 2 * 5
    assert deeds(record) == dict.fromkeys(names, Deed.TUNED)
    assert record.started_at == done.started_at
    assert night.published == [1]
    assert len(night.ledger().history(5)) == 1


def test_a_study_under_way_is_interrupted_at_its_next_trial_and_resumed(night):
    started = threading.Event()

    def value(trial):
        started.set()
        time.sleep(0.02)
        return 1.0 + trial.config.x

    night.executor.value = value
    write(night.kernels, "one")
    checks = []

    class Impatient(work.Work):
        def _check(self):
            checks.append(None)
            if len(checks) == 2:
                self._stopping.set()
            super()._check()

    monkey = pytest.MonkeyPatch()
    monkey.setattr("autotune.sweep.sweep.Work", Impatient)
    night.sweep()
    monkey.undo()
    assert len(night.executor.trials) == 2
    record = night.sweep()
    assert deeds(record) == {"one": Deed.TUNED}
    assert record.results[0].trials == 3
    assert len(night.executor.trials) == 5


def test_studies_run_side_by_side_on_one_database_but_no_more_than_wanted(tmp_path):
    running, most, turn = set(), [0], threading.Lock()

    class Slow(Fleet):
        def submit(self, trial):
            with turn:
                running.add(threading.current_thread().name)
                most[0] = max(most[0], len(running))
            time.sleep(0.005)
            future = super().submit(trial)
            with turn:
                running.discard(threading.current_thread().name)
            return future

    night = Night(tmp_path, Slow(), at_once=3)
    for n in range(8):
        write(night.kernels, f"k{n}")
    record = night.sweep()
    assert set(deeds(record).values()) == {Deed.TUNED}
    assert len(record.results) == 8
    assert 2 <= most[0] <= 3
    assert len(night.registry.studies()) == 8
    assert all(study.trials == 5 for study in night.registry.studies())
    night.registry.close()


def test_one_sku_goes_first_and_its_winner_is_a_seed_of_the_others(tmp_path):
    night = Night(tmp_path, Fleet(skus=("a100", "h100", "h200")), at_once=4, trials=2)
    write(night.kernels, "one")
    night.sweep()
    skus = [trial.sku for trial in night.executor.trials]
    leader = skus[0]
    assert skus[:2] == [leader, leader]
    winner = next(one.config for one in night.registry.current() if one.sku == leader)
    for sku in {"a100", "h100", "h200"} - {leader}:
        assert winner in [trial.config for trial in night.executor.trials if trial.sku == sku]
    night.registry.close()


def test_only_one_sweep_at_a_time(night):
    write(night.kernels, "one")
    with night.ledger().lease(), pytest.raises(RegistryError, match="the nightly sweep is being run by process"):
        night.sweep()


def test_a_sku_that_was_there_the_night_before_is_missed(night):
    write(night.kernels, "one")
    night.executor._here = Fleet(skus=("h200", "a100")).devices()
    night.sweep()
    night.executor._here = night.executor._here[:1]
    assert any(one.startswith("SKU a100 was there in the night of") for one in night.sweep().missing)


class Generations:
    """A registry that has generations, as far as a ledger asks for them."""

    def __init__(self, nights, staged):
        self._nights, self._staged = nights, staged
        self.lease, self.record_night, self.nights = nights.lease, nights.record_night, nights.nights

    def generation(self):
        return 7

    def staging(self, number):
        assert number == 7
        return self._staged


def test_winners_are_put_into_a_generation_and_published_once_at_the_end(night):
    write(night.kernels, "one")
    write(night.kernels, "two")
    with Registry.memory() as staged:
        generations = Generations(night.nightly, staged)
        night.ledger = lambda: Ledger(generations, night.registry, night.published.append)
        record = night.sweep()
        assert record.generation == 7
        assert night.published == [7]
        assert len(staged.current()) == 2
        assert night.registry.current() == []
    assert night.nightly.nights(1)[0].state == COMPLETE
