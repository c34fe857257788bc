"""A Ray cluster of nodes with made-up GPUs on this host: everything in this folder carries the marker `cluster`.

Real processes throughout. Only NVIDIA's libraries are stand-ins, compiled from tests/data/fake_nvidia.
"""

import os
import secrets
from pathlib import Path

import pytest

from autotune.executor import ExecutorOptions
from tests.unit.device.fake_nvidia import libraries

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CANARY = ROOT / "tests/workloads/canary.py"


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


class Hosts:
    """A head without GPUs, and nodes that each believe to be a host of their own."""

    def __init__(self, folder, tag):
        from ray.cluster_utils import Cluster

        self._folder, self._count = folder, 0
        self.tag = tag
        self._cluster = Cluster(
            initialize_head=True,
            connect=False,
            head_node_args={"num_cpus": 1, "include_dashboard": False, "env_vars": self._environment("none")},
        )
        self.address = self._cluster.address

    def _environment(self, host):
        self._count += 1
        locks = self._folder / f"locks-{self._count}"
        locks.mkdir()
        return {
            "FAKE_HOST": host,
            "LD_LIBRARY_PATH": str(libraries(False)),
            "AUTOTUNE_LOCK_FOLDER": str(locks),
            "AUTOTUNE_TEST_HOST": f"{host}-{self._count}",
            "AUTOTUNE_TEST_TAG": self.tag,
        }

    def add(self, host, gpus):
        return self._cluster.add_node(num_cpus=1, num_gpus=gpus, env_vars=self._environment(host))

    def remove(self, node):
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self):
        self._cluster.shutdown()


@pytest.fixture(scope="package")
def hosts(tmp_path_factory):
    """A head, a node with two H200 and one with an A100; Ray's token authentication is on."""
    saved = dict(os.environ)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    os.environ.update(token, PYTHONPATH=str(ROOT), RAY_USAGE_STATS_ENABLED="0")
    cluster = Hosts(tmp_path_factory.mktemp("hosts"), f"cluster-{secrets.token_hex(4)}")
    try:
        cluster.add("two_h200s", 2)
        cluster.add("one_a100", 1)
        yield cluster
    finally:
        cluster.close()
        os.environ.clear()
        os.environ.update(saved)


@pytest.fixture
def connect(hosts):
    """Makes executors, and closes them."""
    from autotune.executors.ray_cluster import RayExecutor

    made = []

    def make(device=None, **asked):
        options = ExecutorOptions(argument=hosts.address, device=device)
        made.append(RayExecutor(options, **{"compile_workers": 0, "canary": CANARY, "look_s": 0.3} | asked))
        return made[-1]

    yield make
    for one in made:
        one.close()
