"""Trials on a Ray cluster: where they run, and what becomes of them when workers, actors, nodes and devices fail."""

import os
import signal
import time
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.errors import DeviceError, UserError
from autotune.event import EventKind
from autotune.executor import ExecutorOptions, load_executor
from autotune.executors.ray_cluster import RayExecutor
from autotune.measurement import Failure, FailureKind, Measurement
from autotune.round import Round
from autotune.testing import ExecutorContract
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
from tests.cluster.conftest import CANARY
from tests.waiting import eventually, processes_of

WORKLOAD = Path(__file__).parents[1] / "workloads/clustered.py"
H200, A100 = "h200-sxm-141gb", "a100-sxm-80gb"
GPU = [f"GPU-10000000-0000-0000-0000-00000000000{n}" for n in (1, 2)]
WAIT_S = 60


@pytest.fixture
def ask(tmp_path):
    """Makes trials; what they note is in `notes`."""
    found = find(load(WORKLOAD), "clustered")

    def make(mode, sku=H200, n=0, study=0, **asked):
        trial = Trial(
            workload=found.reference,
            problem=Problem(notes=str(tmp_path / "notes"), study=study),
            config=Config(mode=mode, n=n),
            sku=sku,
            gpus=0 if sku.startswith("cpu") else 1,
            timeout_s=found.timeout_s,
            effort=Effort.QUICK,
        )
        return replace(trial, **asked)

    return make


@pytest.fixture
def notes(tmp_path):
    """Who ran what was asked for, in order: process, visible devices, host, file."""

    def read():
        path = tmp_path / "notes"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    return read


def kinds(executor):
    return [event.kind for event in executor.events]


@pytest.fixture(scope="module")
def lasting(hosts):
    """One for the tests of the contract that do not close it."""
    with RayExecutor(
        ExecutorOptions(argument=hosts.address, device="gpu"), compile_workers=0, canary=CANARY
    ) as running:
        yield running


class TestRayExecutorKeepsTheContract(ExecutorContract):
    @pytest.fixture
    def executor(self, lasting):
        return lasting

    def test_closing_twice_is_closing_once(self, lasting):
        """The last one here: only one connection to a cluster can be had in a process."""
        super().test_closing_twice_is_closing_once(lasting)


def test_trials_run_on_the_node_of_their_sku_and_see_one_gpu(connect, ask, notes):
    executor = connect()
    skus = [device.sku for device in executor.devices()]
    assert sorted(sku for sku in skus if not sku.startswith("cpu")) == [A100, H200, H200]
    assert [executor.slots(sku) for sku in (H200, A100)] == [2, 1]
    assert executor.submit(ask("where", A100)).result(WAIT_S).medians["neighbour"] == 42
    futures = [executor.submit(ask("slow", H200, n)) for n in range(4)]
    assert all(isinstance(future.result(WAIT_S), Measurement) for future in futures)
    first, *others = [(visible, host.rpartition("-")[0]) for _, visible, host, _ in notes()]
    assert first == ("GPU-30000000-0000-0000-0000-000000000001", "one_a100")
    assert set(others) == {(uuid, "two_h200s") for uuid in GPU}
    cpu = next(sku for sku in skus if sku.startswith("cpu"))
    assert isinstance(executor.submit(ask("where", cpu)).result(WAIT_S), Measurement)
    assert notes()[-1][1] != "unset"
    assert not executor.events


def test_the_source_is_sent_and_the_users_own_path_is_in_what_is_said(connect, ask, notes):
    executor = connect()
    for sku in (H200, A100):
        executor.submit(ask("where", sku)).result(WAIT_S)
    files = [Path(file) for *_, file in notes()]
    assert len(set(files)) == 2  # each node has its own
    assert all(WORKLOAD.parent not in file.parents for file in files)
    assert all((file.parent / "clustered_neighbour.py").exists() for file in files)
    assert oct(files[0].parents[1].stat().st_mode & 0o777) == "0o700"
    hung = executor.submit(ask("hangs", timeout_s=1.0)).result(WAIT_S)
    assert str(files[0].parent) not in hung.details
    assert str(WORKLOAD) in hung.details
    executor.close()
    assert not any(file.exists() for file in files)


def test_a_trial_that_holds_the_interpreters_lock_is_ended_by_its_limit(connect, ask):
    executor = connect()
    hung = executor.submit(ask("hangs_natively", A100, timeout_s=1.0)).result(WAIT_S)
    assert hung.kind is FailureKind.TIMEOUT
    assert isinstance(executor.submit(ask("where", A100)).result(WAIT_S), Measurement)


def test_a_killed_worker_costs_a_trial_nothing_but_time(connect, ask, notes):
    executor = connect()
    assert isinstance(executor.submit(ask("dies_once")).result(WAIT_S), Measurement)
    assert len(notes()) == 2
    assert eventually(lambda: EventKind.REPLACED in kinds(executor))
    (event,) = (event for event in executor.events if event.kind is EventKind.REPLACED)
    assert event.device in GPU
    assert event.node


def test_what_is_killed_each_time_is_lost_and_never_a_bad_score(connect, ask, notes):
    outcome = connect().submit(ask("dies")).result(WAIT_S)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.LOST
    assert len(notes()) == 3


def test_a_killed_actor_is_replaced_and_its_trials_run_again(connect, ask, hosts, notes):
    executor = connect()
    trials = [ask("long", A100), *(ask("slow", H200, n) for n in range(4))]
    futures = [executor.submit(trial) for trial in trials]
    assert eventually(lambda: any(host.startswith("one_a100") for _, _, host, _ in notes()))
    (actor,) = actors(hosts, "one_a100")
    os.kill(actor, signal.SIGKILL)
    assert all(isinstance(future.result(WAIT_S), Measurement) for future in futures)
    assert kinds(executor) == [EventKind.LOST, EventKind.REPLACED]


def actors(hosts, host):
    """The processes of our actors on that host."""
    found = processes_of(f"AUTOTUNE_TEST_HOST={host}")
    return [pid for pid, command in found.items() if "ClusterNode" in command]


def test_a_node_that_joins_is_used_and_one_that_is_lost_is_survived(connect, ask, hosts, notes):
    executor = connect(device=H200)
    node = hosts.add("one_h200", 1)
    assert eventually(lambda: executor.slots(H200) == 3, 30)
    assert kinds(executor) == [EventKind.JOINED]
    futures = [executor.submit(ask("long", n=n)) for n in range(3)]
    assert eventually(lambda: any(host.startswith("one_h200") for _, _, host, _ in notes()))
    hosts.remove(node)
    assert all(isinstance(future.result(WAIT_S), Measurement) for future in futures)
    assert executor.slots(H200) == 2
    assert EventKind.LOST in kinds(executor)
    assert [host.rpartition("-")[0] for _, _, host, _ in notes()].count("one_h200") == 1


def test_when_the_last_node_of_a_sku_is_gone_its_trials_are_lost_after_a_while(connect, ask, hosts):
    node = hosts.add("mixed", 2)
    executor = connect(patience_s=2)
    assert eventually(lambda: executor.slots("t4-16gb") == 1, 30), executor.devices()
    future = executor.submit(ask("hangs", "t4-16gb"))
    time.sleep(1)
    hosts.remove(node)
    lost = future.result(WAIT_S)
    assert lost.kind is FailureKind.LOST
    assert "no node has had t4" in lost.message


def test_a_device_that_fails_its_canary_is_never_used_again(connect, ask, notes, tmp_path, hosts):
    executor = connect()
    folder = Path(environment(actors(hosts, "two_h200s")[0])["AUTOTUNE_LOCK_FOLDER"])
    (folder / "bad").write_text(GPU[0])
    try:
        futures = [executor.submit(ask("dies", n=n)) for n in range(3)]
        assert {future.result(WAIT_S).kind for future in futures} == {FailureKind.LOST}
        assert eventually(lambda: EventKind.QUARANTINED in kinds(executor))
        (event,) = (event for event in executor.events if event.kind is EventKind.QUARANTINED)
        assert event.device == GPU[0]
        assert "two and two is five" in event.message
        assert eventually(lambda: executor.slots(H200) == 1)
        assert GPU[0] not in {device.uuid for device in executor.devices()}
        before = len(notes())
        futures = [executor.submit(ask("slow", n=n)) for n in range(4)]
        assert all(isinstance(future.result(WAIT_S), Measurement) for future in futures)
        assert {visible for _, visible, _, _ in notes()[before:]} == {GPU[1]}
    finally:
        (folder / "bad").unlink()


def environment(pid):
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_two_studies_take_turns(connect, ask):
    executor = connect()
    ended = []
    first = [executor.submit(ask("slow", A100, n)) for n in range(6)]
    second = [executor.submit(ask("slow", A100, n, study=1)) for n in range(2)]
    for name, futures in (("first", first), ("second", second)):
        for future in futures:
            future.add_done_callback(lambda _, name=name: ended.append(name))
    assert not wait([*first, *second], WAIT_S).not_done
    assert ended[:4].count("second") >= 1
    assert ended.index("second") < 3
    assert "second" not in ended[5:]


def test_a_gang_larger_than_any_node_is_refused_and_the_largest_named(connect, ask):
    executor = connect()
    with pytest.raises(DeviceError, match=r"asks for 4 GPUs in one node, and the largest with h200.* has 2"):
        executor.submit(ask("where", gpus=4))
    with pytest.raises(DeviceError, match="no device 'b200' in the cluster"):
        executor.submit(ask("where", "b200"))


def test_a_round_runs_on_one_device(connect, ask, notes):
    executor = connect()
    asked = Round(trials=(ask("where", n=0), ask("where", n=1)), number=1, passes=3)
    outcomes = executor.submit_round(asked).result(WAIT_S)
    assert all(isinstance(one, Measurement) for one in outcomes), outcomes
    assert len({pid for pid, *_ in notes()}) == 1


def test_closing_leaves_no_process(connect, ask, hosts):
    executor = connect()
    futures = [executor.submit(ask("hangs", n=n)) for n in range(3)]
    time.sleep(1)
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 5
    assert all(future.done() for future in futures)
    assert eventually(lambda: not actors(hosts, "") and not workers(hosts), 5)


def workers(hosts):
    return [pid for pid, command in processes_of(hosts.tag).items() if "autotune.executors" in command]


def test_what_cannot_be_reached_is_said_in_one_sentence_within_seconds(hosts, monkeypatch):
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no Ray cluster at 127.0.0.1:9 .*Connection refused.*ray start --head"):
        load_executor("ray:127.0.0.1:9")
    assert time.monotonic() - started < 10
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="add --executor inline"):
        load_executor("ray", ExecutorOptions(post_mortem=True))
    with pytest.raises(UserError, match="name cpu, gpu or a SKU"):
        load_executor("ray", ExecutorOptions(device="gpu:1"))


def test_a_sku_that_no_node_has_is_said_with_what_to_type(connect):
    with pytest.raises(DeviceError, match=r"has no b200 that can be used.*ray start --address"):
        connect(device="b200")
