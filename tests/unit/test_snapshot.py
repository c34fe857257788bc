import contextlib
import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune import snapshot, snapshot_format
from autotune.errors import SnapshotError
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from autotune.verdict import Gain, Verdict, VerdictKind
from tests.unit.disks import as_another_user, on_a_small_disk, shared_folder
from tests.unit.portfolio.samples import portfolio


def tuned(problem=None, *, config=None, **changes):
    values = {
        "workload": "matmul",
        "version": "0123456789ab",
        "problem": Problem(problem or {"m": 16}),
        "sku": "h200",
        "gpus": 1,
        "config": Config(config or {"block_m": 64}),
        "metric": "latency_ms",
        "direction": "minimize",
        "value": 0.1,
        "interval": (0.09, 0.11),
        "baseline": None,
        "baseline_config": Config(block_m=32),
        "speedup": None,
        "toolchain": {"torch": "2.11.0"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "provenance": {"study": 3, "failures": {"compile": 2}},
    }
    return TunedConfig(**values | changes)


def by_problem(configs):
    return {(one.gpus, one.problem.text): one for one in configs}


@pytest.fixture
def path(tmp_path):
    """A snapshot of three entries."""
    [path] = snapshot.write(tmp_path, [tuned({"m": m}) for m in (16, 32, 64)])
    return path


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
MAPPINGS = st.dictionaries(st.sampled_from("abcd"), SCALARS, min_size=1)


@given(problems=st.lists(MAPPINGS, min_size=1, max_size=30), config=MAPPINGS, gpus=st.integers(0, 8))
def test_every_entry_is_read_and_found_as_it_was_written(tmp_path_factory, problems, config, gpus):
    configs = [tuned(problem, config=config, gpus=gpus) for problem in problems]
    [path] = snapshot.write(tmp_path_factory.mktemp("snapshots"), configs)
    assert {k: v.to_json() for k, v in by_problem(snapshot.read(path)).items()} == {
        k: v.to_json() for k, v in by_problem(configs).items()
    }
    assert sorted((count, problem.text) for count, problem in snapshot.problems(path)) == sorted(by_problem(configs))
    for one in configs:
        found = snapshot.find(path, gpus, one.problem)
        assert (found.problem.text, found.config.text) == (one.problem.text, one.config.text)
        assert snapshot.find(path, gpus + 1, one.problem) is None
    assert snapshot.find(path, gpus, Problem(other=1)) is None


def test_an_entry_keeps_its_verdict_and_its_cache(tmp_path):
    verdict = Verdict(
        kind=VerdictKind.PROMOTED,
        winner=Config(block_m=64),
        reason="It beats the default.",
        over_default=Gain(mean=0.5, low=0.25, high=0.75),
        runner_up=Config(block_m=32),
        rounds=3,
        pairs=60,
        trials=9,
        decided_at="2026-01-02",
    )
    [path] = snapshot.write(tmp_path, [tuned(verdict=verdict, cache="warm")])
    assert snapshot.find(path, 1, Problem(m=16)) == tuned(verdict=verdict, cache="warm")


def test_entries_of_earlier_and_later_versions_are_read(tmp_path):
    earlier, later = tuned().to_json(), tuned({"m": 32}).to_json() | {"colour": "blue"}
    del earlier["cache"], earlier["verdict"]

    class Other:  # what another version would write
        gpus = 1

        def __init__(self, data):
            self.problem, self.to_json = data["problem"], lambda: data

    path = snapshot.path_of(tmp_path, "h200", "matmul")
    path.parent.mkdir()
    path.write_bytes(snapshot_format.encode("matmul", "h200", [Other(earlier), Other(later)]))
    assert snapshot.read(path) == [tuned(), tuned({"m": 32})]
    assert snapshot.find(path, 1, Problem(m=16)) == tuned()


def test_the_file_is_json_with_a_line_for_each_entry(path):
    document = json.loads(path.read_text())
    assert (document["schema"], document["workload"], document["sku"]) == (1, "matmul", "h200")
    assert list(document["entries"]) == ["1 m=16", "1 m=32", "1 m=64"]
    lines = path.read_text().splitlines()
    assert [line.partition(":")[0] for line in lines[1:-1]] == ['"1 m=16"', '"1 m=32"', '"1 m=64"']
    assert document["size_bytes"] == path.stat().st_size


def test_an_entry_longer_than_a_block_is_found(tmp_path):
    long = [
        tuned({"m": m}, provenance={"note": str(m) * size}) for m, size in [(1, 50_000), (2, 1), (3, 20_000), (4, 9000)]
    ]
    [path] = snapshot.write(tmp_path, long)
    assert [snapshot.find(path, 1, one.problem) for one in long] == long


def test_one_file_for_each_sku_and_workload(tmp_path):
    configs = [tuned(), tuned(sku="a100"), tuned(workload="softmax"), tuned(gpus=4)]
    paths = snapshot.write(tmp_path, configs)
    assert paths == [tmp_path / name for name in ("h200/matmul.json", "a100/matmul.json", "h200/softmax.json")]
    assert len(snapshot.read_all(tmp_path)) == 4
    assert snapshot.read_all(paths[1]) == [configs[1]]
    assert snapshot.skus(tmp_path, "matmul") == {"a100": paths[1], "h200": paths[0]}
    assert snapshot.skus(tmp_path / "nothing", "matmul") == {}


NAMES = st.text() | st.sampled_from([".", "..", "", "%", "a/b", "../x", ".x", "CON", "a.json", "é", "%2E"])


@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_no_two_names_share_a_path_and_none_leaves_the_folder(one, other):
    first, second = (snapshot.path_of(Path("/f"), *names) for names in (one, other))
    assert (first == second) == (one == other)
    for path in (first, second):
        assert Path(os.path.normpath(path)) == path
        assert path.parts[:2] == ("/", "f")
        assert len(path.parts) == 4


@pytest.mark.parametrize("sku", ["..", "", "%2E", "cpu é/2c"])
def test_a_sku_of_any_name_is_listed_by_that_name(tmp_path, sku):
    snapshot.write(tmp_path, [tuned(sku=sku)])
    assert list(snapshot.skus(tmp_path, "matmul")) == [sku]


def test_entries_for_other_problems_stay_unless_told_otherwise(path, tmp_path):
    better = tuned({"m": 32}, config={"block_m": 128})
    snapshot.write(tmp_path, [better, tuned({"m": 8})])
    assert len(snapshot.read(path)) == 4
    assert snapshot.find(path, 1, Problem(m=32)) == better
    snapshot.write(tmp_path, [better], merge=False)
    assert snapshot.read(path) == [better]


def test_writers_at_once_lose_nothing(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda m: snapshot.write(tmp_path, [tuned({"m": m})]), range(40)))
    [path] = tmp_path.glob("*/*")
    assert {one.problem.m for one in snapshot.read(path)} == set(range(40))


def test_a_reader_never_sees_half_a_file(path, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [snapshot.write(tmp_path, [tuned({"m": m})]) for m in range(100, 150)])
        while not writing.done():
            assert snapshot.find(path, 1, Problem(m=16)) == tuned()
            assert len(snapshot.read(path)) >= 3
        writing.result()


def test_a_snapshot_is_as_readable_as_any_file(tmp_path):
    before = os.umask(0o022)
    try:
        [path] = snapshot.write(tmp_path, [tuned()])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# Damage


@settings(max_examples=200)
@given(cut=st.integers(0, 2000))
def test_a_torn_file_is_noticed(tmp_path_factory, cut):
    [path] = snapshot.write(tmp_path_factory.mktemp("torn"), [tuned({"m": m}) for m in (16, 32, 64)])
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data) - 2)])
    for use in (snapshot.read, snapshot.problems, lambda path: snapshot.find(path, 1, Problem(m=16))):
        with pytest.raises(SnapshotError, match=r"matmul.json .*(restore it, or delete it|rename)"):
            use(path)


@settings(max_examples=300)
@given(at=st.floats(0, 1, exclude_max=True), byte=st.binary(min_size=1, max_size=1))
def test_an_edited_file_is_noticed_or_says_the_same(tmp_path_factory, at, byte):
    configs = [tuned({"m": m}) for m in (16, 32, 64)]
    [path] = snapshot.write(tmp_path_factory.mktemp("edited"), configs)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] = byte[0]
    path.write_bytes(data)
    with contextlib.suppress(SnapshotError):
        assert snapshot.read(path) == configs
    for one in configs:
        with contextlib.suppress(SnapshotError):
            assert snapshot.find(path, 1, one.problem) in (one, None)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda text: text.replace("m=32", "m=33"), "does not match its checksum"),
        (lambda text: text.replace('"block_m":64', '"block_m":65'), "does not match its checksum"),
        (
            lambda text: "".join(text.splitlines(keepends=True)[:1] + text.splitlines(keepends=True)[2:]),
            "added or removed",
        ),
        (lambda text: "<<<<<<< HEAD\n" + text, "torn or was edited by hand"),
        (lambda _: "[1, 2]", "is not a snapshot of autotune"),
        (lambda _: "{}", "is not a snapshot of autotune"),
        (lambda text: text.replace('"schema": 1', '"schema": "1"'), "is not a snapshot of autotune"),
        (
            lambda text: text.replace('"schema": 1', '"schema": 2'),
            "has schema 2, and autotune .* knows up to 1; upgrade",
        ),
        (lambda text: text.replace('"sku": "h200"', '"sku": "a100"'), "added or removed"),
        (lambda _: "\xff", "torn or was edited by hand"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused_and_never_replaced(path, tmp_path, edit, sentence):
    path.write_bytes(edit(path.read_text()).encode("latin-1"))
    before = path.read_bytes()
    for use in (snapshot.read, lambda _: snapshot.write(tmp_path, [tuned()])):
        with pytest.raises(SnapshotError, match=sentence):
            use(path)
    with pytest.raises(SnapshotError, match=sentence):
        snapshot.write(tmp_path, [tuned()], merge=False)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["matmul.json"]


def test_a_reformatted_file_says_the_same(path):
    before = snapshot.read(path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert snapshot.read(path) == before
    assert snapshot.find(path, 1, Problem(m=32)) == before[1]
    assert snapshot.find(path, 1, Problem(m=33)) is None
    assert [problem.m for _, problem in snapshot.problems(path)] == [16, 32, 64]


def test_a_file_under_another_skus_name_is_refused(path, tmp_path):
    other = snapshot.path_of(tmp_path, "a100", "matmul")
    other.parent.mkdir()
    shutil.copy(path, other)
    for use in (lambda: snapshot.find(other, 1, Problem(m=16)), lambda: snapshot.write(tmp_path, [tuned(sku="a100")])):
        with pytest.raises(SnapshotError, match="holds matmul on h200; rename it"):
            use()
    assert snapshot.read(other) == snapshot.read(path)


def test_what_is_not_there_is_not_found(tmp_path):
    assert snapshot.find(tmp_path / "a/b.json", 1, Problem(m=1)) is None
    assert snapshot.problems(tmp_path / "a/b.json") == []
    (tmp_path / "a").write_text("a file where a folder could be")
    assert snapshot.find(tmp_path / "a/b.json", 1, Problem(m=1)) is None
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        snapshot.read(tmp_path / "b.json")
    with pytest.raises(SnapshotError, match="there is no snapshot below"):
        snapshot.read_all(tmp_path)


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "h200" / "matmul.json").mkdir(parents=True)
    for use in (
        lambda p: snapshot.find(p, 1, Problem(m=1)),
        snapshot.read,
        lambda _: snapshot.write(tmp_path, [tuned()]),
    ):
        with pytest.raises(SnapshotError, match=r"matmul.json cannot be read: Is a directory"):
            use(tmp_path / "h200" / "matmul.json")


# Disks


def test_a_read_only_folder_is_said_to_be_one():
    with shared_folder() as folder:
        [path] = snapshot.write(folder, [tuned()])
        path.parent.chmod(0o555)
        folder.chmod(0o555)
        read_only = "cannot be written, and was not changed: its folder is read-only; make it writable, or give another"
        assert read_only in as_another_user(lambda: snapshot.write(folder, [tuned({"m": 1})]))
        assert read_only in as_another_user(lambda: snapshot.write(folder, [tuned(sku="a100")]))
        assert snapshot.read(path) == [tuned()]


def test_a_file_that_may_not_be_read_is_said_to_be_one():
    with shared_folder() as folder:
        [path] = snapshot.write(folder, [tuned()])
        path.chmod(0)
        for use in (lambda: snapshot.find(path, 1, Problem(m=16)), lambda: snapshot.read(path)):
            assert as_another_user(use) == f"the snapshot {path} cannot be read: Permission denied."


FILL = """
import os
from pathlib import Path
from autotune import snapshot
from autotune.errors import SnapshotError
from tests.unit.test_snapshot import tuned
folder = Path({folder!r})
[path] = snapshot.write(folder, [tuned({{"m": m}}) for m in range(10)])
try:
    snapshot.write(folder, [tuned({{"m": m}}) for m in range(500)])
except SnapshotError as error:
    print(error, len(snapshot.read(path)), os.listdir(path.parent))
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    printed = on_a_small_disk(tmp_path, FILL.format(folder=str(tmp_path)))
    assert "cannot be written, and was not changed: the disk is full, free some space. 10 ['matmul.json']" in printed


# Portfolios


def test_a_portfolio_lies_beside_the_entries_and_neither_hides_the_other(tmp_path):
    configs = [tuned({"m": m}, gpus=gpus) for m in (16, 32) for gpus in (0, 1, 10)]
    rules = [portfolio(), portfolio(gpus=2), portfolio(metric="energy_j")]
    [path] = snapshot.write(tmp_path, configs, rules)
    assert by_problem(snapshot.read(path)) == by_problem(configs)
    assert [snapshot.find(path, one.gpus, one.problem) for one in configs] == configs
    assert snapshot.find(path, 1, Problem(m=33)) is None
    assert len(snapshot.problems(path)) == 6
    assert sorted(snapshot.portfolios(path), key=lambda one: one.measure) == sorted(rules, key=lambda one: one.measure)
    assert sorted(json.loads(path.read_text())["portfolios"]) == [
        "rule 1 minimize energy_j cold",
        "rule 1 minimize latency_ms cold",
        "rule 2 minimize latency_ms cold",
    ]


def test_without_portfolios_a_file_is_as_it_was_before_there_were_any(path):
    assert set(json.loads(path.read_text())) == {"schema", "workload", "sku", "entries", "sha256", "size_bytes"}
    assert snapshot.portfolios(path) == []
    assert snapshot.portfolios(path.with_name("none.json")) == []


def test_a_portfolio_alone_is_a_snapshot_too(tmp_path):
    [path] = snapshot.write(tmp_path, [], [portfolio()])
    assert (snapshot.read(path), snapshot.portfolios(path)) == ([], [portfolio()])
    assert snapshot.find(path, 1, Problem(m=16)) is None
    snapshot.write(tmp_path, [tuned()])
    assert (snapshot.read(path), snapshot.portfolios(path)) == ([tuned()], [portfolio()])


def test_a_portfolio_is_replaced_by_one_of_its_measure_and_kept_where_entries_are_written(path, tmp_path):
    snapshot.write(tmp_path, [], [portfolio(), portfolio(gpus=2)])
    snapshot.write(tmp_path, [tuned({"m": 128})], [portfolio(version="later")])
    assert [one.version for one in snapshot.portfolios(path)] == ["later", "0123456789ab"]
    assert len(snapshot.read(path)) == 4
    snapshot.write(tmp_path, [tuned()], merge=False)
    assert (len(snapshot.read(path)), snapshot.portfolios(path)) == (1, [])


def test_a_portfolio_that_was_edited_is_refused_and_costs_no_entry(path, tmp_path):
    snapshot.write(tmp_path, [], [portfolio()])
    path.write_text(path.read_text().replace('"at_most":90', '"at_most":91'))
    with pytest.raises(
        SnapshotError, match="the portfolio 'rule 1 minimize latency_ms cold' does not match its checks"
    ):
        snapshot.portfolios(path)
    with pytest.raises(SnapshotError, match="does not match its checksum"):
        snapshot.write(tmp_path, [tuned()])
    assert snapshot.find(path, 1, Problem(m=16)) == tuned()


def test_a_portfolio_of_a_reformatted_file_is_the_same_and_one_of_a_later_kind_is_left_out(path, tmp_path):
    class Later:  # what another version would write
        measure = "1 pareto"

        def to_json(self):
            return {"front": []}

    path.write_bytes(snapshot_format.encode("matmul", "h200", snapshot.read(path), [portfolio(), Later()]))
    assert snapshot.portfolios(path) == [portfolio()]
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert snapshot.portfolios(path) == [portfolio()]


def test_a_torn_file_has_no_portfolios_but_an_error(path, tmp_path):
    snapshot.write(tmp_path, [], [portfolio()])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SnapshotError, match="torn"):
        snapshot.portfolios(path)


def test_a_portfolio_under_another_skus_name_is_refused(tmp_path):
    [path] = snapshot.write(tmp_path, [], [portfolio()])
    other = snapshot.path_of(tmp_path, "a100", "matmul")
    other.parent.mkdir()
    shutil.copy(path, other)
    with pytest.raises(SnapshotError, match="holds matmul on h200; rename it"):
        snapshot.portfolios(other)
