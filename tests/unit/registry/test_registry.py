import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import RegistryError
from autotune.registry import Registry
from autotune.registry.tables import metadata
from autotune.values import Config, Problem
from autotune.verdict import Gain, Verdict, VerdictKind
from tests.unit.registry import samples
from tests.unit.registry.samples import DEFAULT, DEVICE, FAILED, KEY, MEASURED, start, trial


def test_a_study_is_made_once_and_keeps_what_it_was_made_with(registry):
    first = start(registry)
    again = start(registry, seed=99, sampler="random", path=Path("/elsewhere.py"))
    assert again == first
    assert first.key == KEY
    assert first.key.digest == KEY.digest
    assert (first.path, first.device, first.default_config, first.seed) == (samples.__file__, "NVIDIA H200", DEFAULT, 7)
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
        {"cache": "warm"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_anything_in_the_key_is_another_study(registry, change):
    other = replace(KEY, **change)
    assert start(registry).id != start(registry, other).id
    assert registry.find_study(other.digest).key == other


def test_a_study_from_before_caches_were_named_is_found_again():
    assert KEY.digest == "edc1a2b46c0b49c4"


def test_a_study_keeps_its_newest_verdict(registry):
    study = start(registry)
    assert study.verdict is None
    first = Verdict(kind=VerdictKind.NOTHING, winner=None, reason="none", trials=3, decided_at="2026-01-01")
    gain = Gain(mean=0.5, low=0.25, high=0.75)
    second = Verdict(
        kind=VerdictKind.PROMOTED,
        winner=Config(a=1),
        reason="It beats the default.",
        over_default=gain,
        over_runner_up=gain,
        runner_up=Config(a=True),
        rounds=3,
        pairs=60,
        disturbed=1,
        trials=9,
        decided_at="2026-01-02",
    )
    for verdict in (first, second):
        registry.judge(study.id, verdict)
        assert start(registry).verdict == verdict
    assert registry.find_study("1").verdict == second
    with pytest.raises(RegistryError, match="there is no study 99"):
        registry.judge(99, first)


def test_rounds_come_back_in_order_with_their_members(registry):
    study, other = start(registry), start(registry, replace(KEY, version="other"))
    for number in range(3):
        registry.record(study.id, trial(number))
    registry.record(other.id, trial(0))
    assert registry.measured_again(study.id) == []
    one, two, three = (trial(number).config for number in range(3))
    for number, members in [(1, (three, one, two)), (2, (three, one)), (11, (one,))]:
        for config in members:
            registry.record_round(study.id, config, number, FAILED if config == two else MEASURED)
    found = registry.measured_again(study.id)
    assert [(one_round.number, list(one_round.outcomes)) for one_round in found] == [
        (1, [three, one, two]),
        (2, [three, one]),
        (11, [one]),
    ]
    assert found[0].outcomes == {three: MEASURED, one: MEASURED, two: FAILED}
    assert registry.measured_again(other.id) == []


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
    assert kept == [("0123456789ab", Path(samples.__file__).read_text()), ("other", None)]


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
