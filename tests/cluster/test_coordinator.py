"""The coordinator's own end, and what keeps it from reaching a cluster: each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
from tests.waiting import eventually, processes_of

ROOT = Path(__file__).parents[2]
WORKLOAD = ROOT / "tests/workloads/clustered.py"
COORDINATOR = """
import json, sys, time
from autotune.executor import ExecutorOptions
from autotune.executors.ray_cluster import RayExecutor
from autotune.trial import Trial
executor = RayExecutor(ExecutorOptions(argument=sys.argv[1]), compile_workers=0)
futures = [executor.submit(Trial.from_json(asked)) for asked in json.loads(sys.argv[2])]
print("submitted", flush=True)
time.sleep(600)
"""


def hanging(notes, sku, n):
    trial = Trial(
        workload=find(load(WORKLOAD), "clustered").reference,
        problem=Problem(notes=str(notes), study=0),
        config=Config(mode="hangs_natively", n=n),
        sku=sku,
        gpus=1,
        timeout_s=600,
        effort=Effort.QUICK,
    )
    return trial.to_json()


def left(tag):
    ours = ("autotune.executors", "ClusterNode")
    return [command for command in processes_of(tag).values() if any(name in command for name in ours)]


def test_a_killed_coordinator_leaves_no_process_on_any_node(hosts, tmp_path):
    notes = tmp_path / "notes"
    asked = [
        hanging(notes, "h200-sxm-141gb", 0),
        hanging(notes, "h200-sxm-141gb", 1),
        hanging(notes, "a100-sxm-80gb", 2),
    ]
    command = [sys.executable, "-c", COORDINATOR, hosts.address, json.dumps(asked)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout.readline() == b"submitted\n"
        assert eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) == 3)
        assert len(left(hosts.tag)) >= 6
        coordinator.kill()
    assert eventually(lambda: not left(hosts.tag), 15), left(hosts.tag)


def trial_command(address, **environment):
    """Through the command line: its exit code, what it said, and how long that took."""
    started = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "autotune",
        "trial",
        str(WORKLOAD),
        "--address",
        address,
        "--quick",
        "-c",
        "mode=where",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - started


def test_a_wrong_token_is_said_with_what_to_do(hosts):
    code, said, seconds = trial_command(hosts.address, RAY_AUTH_TOKEN="0" * 32)
    assert code == 2, said
    assert "its token is not ours" in said
    assert "auth_token" in said
    assert len(said.strip().splitlines()) == 1, said
    assert seconds < 30


def test_the_command_line_runs_a_trial_on_the_cluster(hosts):
    code, said, _ = trial_command(hosts.address)
    assert code == 0, said
    assert "latency_ms" in said


def test_no_cluster_on_this_host_is_said_with_what_to_do(hosts):
    code, said, _ = trial_command("auto", RAY_ADDRESS="127.0.0.1:9")
    assert code == 2, said
    assert "ray start --head" in said
