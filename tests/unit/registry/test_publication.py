import os
import shutil
import threading
import time

import pytest

from autotune import publication, snapshot, snapshot_folder
from autotune.errors import SnapshotError
from autotune.lookup import best_config, refresh
from autotune.registry import Registry
from autotune.study import Study
from autotune.values import Config, Problem
from tests.unit.answering import AnsweringExecutor, measured, plan
from tests.unit.registry.samples import tuned

SOFTMAX = {"workload": "softmax", "sku": "a100"}


def winners(number):
    return tuned(Config(a=number)), tuned(Config(a=number), **SOFTMAX)


def stage(registry, number):
    generation = registry.generation()
    for one in winners(number):
        registry.staging(generation).promote(one)
    return generation


def shown(folder):
    """The values of both, looked up as a program does."""
    refresh()
    found = [best_config(name, sku=sku, m=16, default=None) for name, sku in (("matmul", "h200"), ("softmax", "a100"))]
    return [one and one.a for one in found]


@pytest.fixture
def folder(home):
    return home / "snapshots"


def test_a_generation_is_shown_as_a_whole_and_rolled_back_as_a_whole(registry, folder):
    for number in (1, 2, 3):
        publication.publish(registry, stage(registry, number), folder)
        assert shown(folder) == [number, number]
        assert snapshot_folder.generation_of(folder) == number
    publication.roll_back(registry, folder)
    assert (shown(folder), snapshot_folder.generation_of(folder)) == ([2, 2], 2)
    publication.roll_back(registry, folder, 0)
    assert (shown(folder), snapshot_folder.generation_of(folder)) == ([None, None], 0)


def test_a_plain_folder_is_taken_over_with_what_only_it_knows(registry, folder):
    mine = tuned(Config(a=7), problem=Problem(m=99))
    before = tuned(Config(a=5))
    snapshot.write(folder, [mine, before])
    registry.promote(before)
    publication.publish(registry, stage(registry, 1), folder)
    assert folder.is_symlink()
    assert shown(folder) == [1, 1]
    assert best_config("matmul", sku="h200", m=99) == {"a": 7}
    publication.roll_back(registry, folder)
    assert shown(folder) == [5, None]
    assert best_config("matmul", sku="h200", m=99) == {"a": 7}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".snapshots")]


def test_no_reader_ever_misses_or_sees_half(registry, folder):
    snapshot.write(folder, winners(0))
    for one in winners(0):
        registry.promote(one)
    over, seen, wrong = threading.Event(), set(), []

    def read():
        while not over.is_set():
            if snapshot.find(snapshot.path_of(folder, "h200", "matmul"), 1, Problem(m=16)) is None:
                wrong.append("missed")
            inside = os.path.realpath(folder)
            both = {one.config.a for one in snapshot.read_all(type(folder)(inside))}
            seen.update(both)
            if len(both) != 1:
                wrong.append(both)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 13):
        publication.publish(registry, stage(registry, number), folder)
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(seen) > 3
    assert len(list(folder.with_name("snapshots.generations").iterdir())) == snapshot_folder.KEPT + 1


def test_one_that_was_killed_before_the_files_were_written_is_repaired(registry, folder):
    publication.publish(registry, stage(registry, 1), folder)
    registry.publish(stage(registry, 2))  # and no further
    assert shown(folder) == [1, 1]
    assert publication.repair(registry, folder)
    assert shown(folder) == [2, 2]
    assert not publication.repair(registry, folder)
    registry.roll_back()
    assert publication.repair(registry, folder)
    assert shown(folder) == [1, 1]
    shutil.rmtree(folder.with_name("snapshots.generations"))
    publication.rewrite(registry, folder)
    assert shown(folder) == [1, 1]


def test_nothing_is_made_of_a_plain_folder_where_no_generation_ever_was(registry, folder):
    registry.promote(winners(1)[0])
    publication.write(registry, folder, "matmul", "h200")
    assert not publication.repair(registry, folder)
    assert not folder.is_symlink()


def test_a_single_study_writes_into_what_is_shown(registry, folder):
    publication.publish(registry, stage(registry, 1), folder)
    result = Study(plan(), AnsweringExecutor(lambda config: measured(1.0 + abs(config.x - 3))), registry, folder).run()
    assert result.unpublished == ""
    assert shown(folder) == [1, 1]
    refresh()
    assert best_config("sample", sku="h200-sxm-141gb", n=1) == {"x": 3}
    publication.publish(registry, stage(registry, 2), folder)
    assert best_config("sample", sku="h200-sxm-141gb", n=1) == {"x": 3}


@pytest.mark.parametrize("missing", ["symlink", "renameat2"])
def test_where_the_file_system_lacks_links_or_exchanges(registry, folder, monkeypatch, missing):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    if missing == "symlink":
        monkeypatch.setattr("autotune.snapshot_folder.os.symlink", refuse)
    else:
        monkeypatch.setattr("autotune.snapshot_folder._RENAME_EXCHANGE", 1 << 30)  # refused by the kernel
    snapshot.write(folder, winners(0))
    for number in (1, 2):
        publication.publish(registry, stage(registry, number), folder)
        assert shown(folder) == [number, number]
    publication.roll_back(registry, folder, 0)
    assert shown(folder) == [None, None]
    assert folder.is_symlink() == (missing != "symlink")


def test_a_link_of_the_users_own_stays(registry, folder, tmp_path):
    (tmp_path / "big").mkdir()
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(tmp_path / "big" / "disk")
    publication.publish(registry, stage(registry, 1), folder)
    assert not publication.repair(registry, folder)
    publication.publish(registry, stage(registry, 2), folder)
    assert os.readlink(folder) == str(tmp_path / "big" / "disk")
    assert shown(folder) == [2, 2]


def test_files_that_cannot_be_written_cost_no_generation(registry, folder):
    number = stage(registry, 1)
    folder.parent.mkdir(exist_ok=True)
    folder.with_name("snapshots.generations").write_text("in the way")
    with pytest.raises(SnapshotError, match="The registry has generation 1 as the current one all the same"):
        publication.publish(registry, number, folder)
    assert [one.config.a for one in registry.current()] == [1, 1]


def test_a_lookup_through_the_link_is_as_fast(url, folder, tmp_path):
    with Registry.open(url) as registry:
        publication.publish(registry, stage(registry, 1), folder)
    snapshot.write(tmp_path / "plain", winners(1))
    spent_us = {}
    for name, place in (("link", folder), ("plain", tmp_path / "plain")):
        began_s = time.perf_counter()
        for _ in range(300):
            snapshot.find(snapshot.path_of(place, "h200", "matmul"), 1, Problem(m=16))
        spent_us[name] = (time.perf_counter() - began_s) / 300 * 1e6
    print(spent_us)
    assert spent_us["link"] < 3 * spent_us["plain"]
