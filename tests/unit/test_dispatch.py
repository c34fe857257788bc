"""Which job goes to which node: room, turns, what a lost node costs, and how long a job waits for one."""

import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.device import cpu_device
from autotune.executors.dispatch import MOST_ATTEMPTS, Dispatch, Job, Node
from autotune.executors.ray_cluster import _explained
from autotune.executors.shipment import Shipment, Warehouse
from autotune.trial import Trial, WorkloadReference
from autotune.values import Config, Problem
from autotune.workload import source_version

SHIPMENT = Shipment(path=Path("/w.py"), version="1", sources={})


def node(key, count=1, sku="a", slots=None):
    devices = tuple(replace(cpu_device(), sku=sku, index=index) for index in range(count))
    return Node(key, key, devices, {sku: slots or count})


def job(name="w", *, sku="a", gpus=1, study=0):
    trial = Trial(
        workload=WorkloadReference(path=Path("/w.py"), name=name, version="1"),
        problem=Problem(study=study),
        config=Config(),
        sku=sku,
        gpus=gpus,
    )
    return Job((trial,), {}, SHIPMENT, Future())


def dispatch(*nodes):
    made = Dispatch()
    for one in nodes:
        made.join(one)
    return made


def names(placed):
    return [(job.trials[0].workload.name, node.key) for job, node in placed]


def test_a_job_goes_where_most_room_is_and_no_node_is_overfilled():
    cluster = dispatch(node("small", 1), node("large", 2), node("other", 4, sku="b"))
    for _ in range(5):
        cluster.queue(job())
    assert names(cluster.placed()) == [("w", "large"), ("w", "small"), ("w", "large")]
    assert len(cluster.waiting()) == 2


def test_studies_take_turns_whatever_their_number_of_jobs():
    cluster = dispatch(node("one", 4))
    for name in ["first"] * 5 + ["second"] * 2:
        cluster.queue(job(name))
    assert [name for name, _ in names(cluster.placed())] == ["first", "second", "first", "second"]


def test_two_problems_of_a_workload_are_two_studies():
    cluster = dispatch(node("one", 2))
    for study in (0, 0, 1):
        cluster.queue(job(study=study))
    assert [placed.trials[0].problem["study"] for placed, _ in cluster.placed()] == [0, 1]


def test_a_withdrawn_job_is_passed_over():
    cluster = dispatch(node("one"))
    first, second = job("first"), job("second")
    cluster.queue(first)
    cluster.queue(second)
    first.future.cancel()
    assert names(cluster.placed()) == [("second", "one")]


def test_the_jobs_of_a_lost_node_run_first_and_elsewhere():
    cluster = dispatch(node("bad", 2), node("good", 1))
    lost = job("lost")
    cluster.queue(lost)
    assert names(cluster.placed()) == [("lost", "bad")]
    cluster.queue(job("other"))
    bad = cluster.nodes["bad"]
    assert cluster.leave("bad") == [lost]
    assert cluster.retry(lost, bad)
    cluster.join(node("bad", 2))
    assert names(cluster.placed()) == [("lost", "good"), ("other", "bad")]


def test_a_job_is_begun_a_few_times_and_no_more():
    only = node("only")
    cluster = dispatch(only)
    unlucky = job()
    cluster.queue(unlucky)
    tries = []
    for _ in range(MOST_ATTEMPTS):
        assert names(cluster.placed()) == [("w", "only")]
        tries.append(cluster.retry(unlucky, only))
    assert tries == [True] * (MOST_ATTEMPTS - 1) + [False]
    assert not cluster.waiting()


def test_a_gang_waits_for_one_node_with_room_for_all_of_it():
    cluster = dispatch(node("a", 2), node("b", 4))
    cluster.queue(job(gpus=3))
    cluster.queue(job(gpus=3))
    assert names(cluster.placed()) == [("w", "b")]
    assert cluster.largest("a").key == "b"
    assert cluster.largest("none") is None


def test_patience_is_counted_from_when_the_last_node_of_the_sku_left():
    cluster = dispatch(node("one"))
    waiting = job()
    cluster.queue(waiting)
    assert cluster.homeless(100.0, patience_s=5) == []
    cluster.leave("one")
    assert cluster.homeless(200.0, patience_s=5) == []
    assert cluster.homeless(204.0, patience_s=5) == []
    cluster.join(node("one", 0))
    assert cluster.homeless(206.0, patience_s=5) == [waiting]
    cluster.join(node("two", 1))
    assert cluster.homeless(207.0, patience_s=5) == []


def test_what_is_shipped_is_the_same_version_where_it_arrives(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/__init__.py").write_text("")
    (tmp_path / "kernels/one.py").write_bytes("VALUE = 'µ'\n".encode())
    path = tmp_path / "tuned.py"
    path.write_text("from kernels import one\n")
    shipment = Shipment.pack(path)
    assert set(shipment.sources) == {"tuned.py", "kernels/__init__.py", "kernels/one.py"}
    warehouse = Warehouse()
    arrived = warehouse.store(shipment.key, path.name, shipment.sources)
    assert arrived.parent != tmp_path
    assert source_version(arrived) == shipment.version == source_version(path)
    warehouse.close()
    assert not arrived.exists()


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_nothing_is_unpacked_outside_of_the_folder(name):
    warehouse = Warehouse()
    with pytest.raises(ValueError, match="outside"):
        warehouse.store("key", "tuned.py", {name: ""})
    warehouse.close()


ABANDONED = """
import asyncio
import autotune
from autotune.executors.cluster_node import ClusterNode

async def main():
    asked = dict.fromkeys(("canary", "compile_workers", "show_output", "shared"))
    answer = await node.begin({**asked, "version": autotune.__version__, "device": "cpu", "abandoned_s": 1.0})
    print(len(answer["devices"]), flush=True)
    for _ in range(8):
        await asyncio.sleep(0.2)
        await node.state()
    print("asked", flush=True)
    await asyncio.sleep(60)

node = ClusterNode()
asyncio.run(main())
"""


def test_a_node_that_nobody_asks_any_more_ends_by_itself():
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.split() == ["1", "asked"]


def test_what_ray_says_of_another_version_is_kept_in_one_sentence():
    error = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n")
    assert _explained(error) == (
        "Version mismatch: The cluster was started with: Ray: 2.9.0 Python: 3.10.1 Install the cluster's versions here"
    )
