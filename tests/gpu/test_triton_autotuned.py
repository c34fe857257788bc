"""Kernels under @triton.autotune on a real GPU: pinned in trials and rounds, restored, and launched as tuned."""

import random
from pathlib import Path

import pytest
import torch

import autotune
from autotune import Config, Problem, snapshot
from autotune.bench import perform
from autotune.device import current_sku, gpu_devices
from autotune.lookup import refresh
from autotune.measurement import Measurement
from autotune.trial import Effort, Trial
from autotune.workload import load

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

WORKLOADS = Path(__file__).parents[2] / "workloads"
PROBLEM = Problem(n=10_000)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch 2.11's own, in its compiler


@pytest.fixture(scope="module")
def device():
    return gpu_devices()[0]


@triton.jit
def double(x, n, BLOCK: tl.constexpr):
    """In place."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + place, 2 * tl.load(x + place, mask=place < n), mask=place < n)


def autotuned(**options):
    listed = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in ((128, 4), (1024, 8))]
    return triton.autotune(configs=listed, key=["n"], **options)(double)


def declared(kernel, blocks):
    """A workload of the kernel that notes which blocks are launched."""

    @autotune.triton_autotuned(kernel, problems=[PROBLEM])
    def doubled(problem):
        x = torch.ones(problem.n, device="cuda")
        yield lambda: kernel[lambda meta: noted(meta["BLOCK"], problem.n, blocks)](x, problem.n)
        torch.testing.assert_close(x, torch.full_like(x, 2))

    return doubled


def noted(block, n, blocks):
    blocks.append(block)
    return (triton.cdiv(n, block),)


def run(workload, problem, config, device):
    trial = Trial(
        workload=workload.reference, problem=problem, config=config, sku=device.sku, gpus=1, effort=Effort.QUICK
    )
    return perform(workload, trial, device, lambda phase: None)


def test_a_trial_of_a_kernel_in_place_launches_its_configuration_alone_and_verifies(device):
    kernel, blocks = autotuned(restore_value=["x"]), []
    outcome = run(declared(kernel, blocks), PROBLEM, Config(BLOCK=1024, num_warps=4, num_stages=3), device)
    assert isinstance(outcome, Measurement), outcome
    assert set(blocks) == {1024}
    assert not kernel.cache


def test_prepared_together_each_is_called_with_its_own(device):
    kernel, blocks = autotuned(), []
    workload = declared(kernel, blocks)
    bodies = [workload(PROBLEM, Config(BLOCK=block, num_warps=4, num_stages=3)) for block in (128, 1024)]
    calls = [next(body) for body in bodies]
    for call in (*calls, *reversed(calls)):
        call()
    torch.cuda.synchronize()
    assert blocks == [128, 1024, 1024, 128]


def test_the_shipped_kernel_verifies_as_listed_and_in_between(device):
    [workload] = load(WORKLOADS / "triton_autotuned.py")
    problem = Problem(M=500, N=1000, K=520, dtype="float16")
    valid, rng = workload.space.bind(problem, device), random.Random(0)
    for config in [*workload.seeds[-2:], *(valid.sample(rng) for _ in range(3))]:
        outcome = run(workload, problem, config, device)
        # What needs more shared memory than the device has is refused when it is loaded.
        assert isinstance(outcome, Measurement) or outcome.kind.value == "invalid", f"{config.text}: {outcome}"


def test_a_launch_takes_what_was_tuned_and_benchmarks_nothing(home):
    pytest.importorskip("hypothesis")
    from tests.unit.test_lookup import tuned

    kernel = autotuned(do_bench=lambda *_, **__: pytest.fail("it was benchmarked"))
    best = Config(BLOCK=256, num_warps=2, num_stages=3)
    snapshot.write(
        home / "snapshots", [tuned(workload="doubled", problem=PROBLEM, config=best, sku=current_sku(), gpus=1)]
    )
    refresh()
    autotune.use_tuned(kernel, "doubled")
    x = torch.ones(PROBLEM.n, device="cuda")
    for _ in range(2):
        kernel[lambda meta: (triton.cdiv(PROBLEM.n, meta["BLOCK"]),)](x, PROBLEM.n)
    torch.testing.assert_close(x, torch.full_like(x, 4))
    assert (kernel.best_config.kwargs, kernel.best_config.num_warps) == ({"BLOCK": 256}, 2)
