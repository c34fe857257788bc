"""The shipped workloads on a real GPU: the default and a few valid configurations of each run and verify."""

import random
from pathlib import Path

import pytest

from autotune.bench import perform
from autotune.device import gpu_devices
from autotune.measurement import Measurement
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import load

WORKLOADS = Path(__file__).parents[2] / "workloads"
SAMPLES = 3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch 2.11's own, in its compiler


@pytest.fixture(scope="module")
def device():
    return gpu_devices()[0]


def verified(workload, problem, config, device):
    """Run one trial; what it reports is there only if the results were right."""
    trial = Trial(
        workload=workload.reference, problem=problem, config=config, sku=device.sku, gpus=1, effort=Effort.QUICK
    )
    outcome = perform(workload, trial, device, lambda phase: None)
    assert isinstance(outcome, Measurement), f"{config.text}: {outcome}"
    return outcome


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("triton_softmax", Problem(rows=1000, cols=1000, dtype="bfloat16")),
        ("triton_softmax", Problem(rows=300, cols=20000, dtype="float32")),
        ("cuda_stencil", Problem(width=1032, height=1001, dtype="float32")),
        ("triton_matmul", Problem(m=16, n=1024, k=512, dtype="float16")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.text,
)
def test_the_default_and_sampled_configurations_verify(name, problem, device):
    [workload] = load(WORKLOADS / f"{name}.py")
    valid, rng = workload.space.bind(problem, device), random.Random(0)
    for config in [valid.default, *(valid.sample(rng) for _ in range(SAMPLES))]:
        verified(workload, problem, config, device)


@pytest.mark.parametrize("schedule", ["pointers", "descriptors", "persistent", "specialized"])
def test_every_schedule_of_the_matmul_verifies_where_tiles_overhang_the_edges(schedule, device):
    [workload] = load(WORKLOADS / "triton_matmul.py")
    problem = Problem(m=1000, n=2056, k=520, dtype="bfloat16")
    of_schedule = [c for c in workload.space.bind(problem, device) if c.schedule == schedule]
    if not of_schedule:
        pytest.skip(f"{device.arch} has no {schedule} schedule")
    for config in random.Random(0).sample(of_schedule, SAMPLES):
        verified(workload, problem, config, device)


def test_inference_verifies_with_batches_on_two_streams(device):
    [workload] = load(WORKLOADS / "inference_batching.py")
    problem = Problem(requests=32, tokens=8, width=128, layers=2)
    outcome = verified(workload, problem, Config(batch_size=8, in_flight=2, threads=1, mode="eager"), device)
    assert outcome.medians["tokens_per_s"] > 0
