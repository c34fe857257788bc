"""Compiling for an sm_90 that is not here, by Triton itself: what it makes, and what a binary's digest tells apart."""

import os
from pathlib import Path

import pytest

from autotune.ahead import Compiled
from autotune.device import Device
from autotune.executors.compile_pool import CompilePool
from autotune.measurement import FailureKind
from autotune.trial import Trial
from autotune.values import Config, Problem
from autotune.workload import WorkloadReference, source_version

HERE = Path(__file__).parents[1] / "workloads"
SHIPPED = Path(__file__).parents[2] / "workloads"
H200 = Device(
    kind="gpu",
    index=0,
    sku="h200-sxm-141gb",
    name="NVIDIA H200",
    uuid="GPU-0",
    arch="sm_90",
    memory_bytes=141 << 30,
    shared_memory_per_block_bytes=232448,
    registers_per_block=65536,
    max_threads_per_block=1024,
    multiprocessors=132,
    l2_bytes=60 << 20,
)


class Compiler:
    """A pool for one file, with a cache of its own."""

    def __init__(self, file, timeout_s=120.0):
        self._timeout_s = timeout_s
        self._reference = WorkloadReference(path=file, name=file.stem, version=source_version(file))
        self.pool = CompilePool(H200, 2)

    def submit(self, problem=None, **config):
        asked = Trial(
            workload=self._reference,
            problem=Problem(problem or {}),
            config=Config(config),
            sku=H200.sku,
            gpus=1,
            timeout_s=self._timeout_s,
        )
        return self.pool.submit(asked)

    def __call__(self, problem=None, **config):
        return self.submit(problem, **config).result(60)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    before = os.environ.get("TRITON_CACHE_DIR")
    os.environ["TRITON_CACHE_DIR"] = str(folder)
    yield folder
    os.environ.pop("TRITON_CACHE_DIR")
    if before is not None:
        os.environ["TRITON_CACHE_DIR"] = before


@pytest.fixture(scope="module")
def compiled(cache):
    compiler = Compiler(HERE / "ahead_of_gpu.py")

    def ask(mode="scaled", stages=1, factor=1.0):
        return compiler(mode=mode, stages=stages, factor=factor)

    yield ask
    assert compiler.pool.serves, compiler.pool.reason
    compiler.pool.close()


@pytest.fixture(scope="module")
def matmul(cache):
    compiler = Compiler(SHIPPED / "triton_matmul.py")
    yield compiler
    compiler.pool.close()


def test_bodies_that_hang_without_the_device_are_soon_left_to_it(cache, tmp_path):
    file = tmp_path / "waits.py"
    file.write_text(
        "import time, autotune, triton\n"
        "@autotune.workload(space=autotune.SearchSpace(n=autotune.choice(*range(9))), gpus=1, timeout_s=0.5)\n"
        "def waits(problem, config):\n"
        "    time.sleep(1000)\n"
        "    yield\n"
    )
    compiler = Compiler(file, timeout_s=0.5)
    futures = [compiler.submit(n=n) for n in range(8)]
    assert {future.result(60) for future in futures} == {Compiled()}
    assert compiler.pool.reason == "its body hung 2 times without a device"
    compiler.pool.close()


BASE = {"block_m": 64, "block_n": 64, "block_k": 32, "group_m": 8, "num_warps": 4, "num_stages": 2}
SQUARE = {"m": 4096, "n": 4096, "k": 4096, "dtype": "bfloat16"}


def test_every_schedule_of_the_shipped_matmul_compiles_into_tritons_cache(matmul, cache):
    tiles = {"block_m": 128, "block_n": 128, "num_warps": 8}
    futures = [
        matmul.submit(SQUARE, **{**BASE, **tiles, "schedule": name})
        for name in ("pointers", "descriptors", "persistent", "specialized")
    ]
    binaries = [future.result(60).binary for future in futures]
    assert all(binaries)
    assert len({binary.digest for binary in binaries}) == 4
    assert all(0 < binary.shared_memory_bytes <= H200.shared_memory_per_block_bytes for binary in binaries)
    assert len(list(cache.rglob("matmul_kernel.cubin"))) == 4


def test_too_large_a_tile_is_invalid_with_both_numbers_before_it_reaches_a_device(matmul):
    tiles = {"block_m": 128, "block_n": 256, "block_k": 128, "num_warps": 8, "num_stages": 4}
    failure = matmul(SQUARE, **{**BASE, **tiles, "schedule": "pointers"}).failure
    assert failure.kind is FailureKind.INVALID
    assert "the device cannot run it: a block needs 393216 bytes of shared memory" in failure.message
    assert "at most 1024 threads, 65536 registers, 232448 bytes" in failure.message


def test_stages_without_a_loop_make_the_same_binary_and_are_found_in_the_cache_again(compiled):
    first, second = compiled(stages=1), compiled(stages=4)
    assert first.binary == second.binary
    assert (first.fresh, second.fresh) == (True, True)  # two keys of Triton's cache
    again = compiled(stages=1)
    assert (again.binary, again.fresh) == (first.binary, False)


@pytest.mark.parametrize("other", [{"factor": 2.0}, {"mode": "twice"}, {"mode": "misaligned"}])
def test_another_argument_another_operation_and_another_alignment_are_other_binaries(compiled, other):
    assert compiled(**other).binary.digest != compiled().binary.digest


def test_values_that_the_host_puts_into_tensors_are_part_of_the_digest(compiled):
    one, other = compiled("by_value", stages=1), compiled("by_value", stages=2)
    assert one.binary == other.binary
    assert one.binary != compiled("by_value", factor=2.0).binary


def test_tritons_cache_key_is_that_of_real_tensors(compiled):
    assert compiled("agrees").binary


def test_what_the_body_asks_of_its_device_is_answered(compiled):
    assert compiled("asks").binary


@pytest.mark.parametrize("mode", ["needs_value", "needs_device", "launches_nothing"])
def test_what_cannot_be_known_without_the_device_is_left_to_it(compiled, mode):
    result = compiled(mode)
    assert (result.binary, result.failure) == (None, None)


def test_what_triton_refuses_is_a_compile_failure(compiled):
    failure = compiled("does_not_compile").failure
    assert failure.kind is FailureKind.COMPILE
    assert failure.phase == "compile"
    assert "no_such_operation" in failure.message + failure.details


def test_shared_memory_is_that_of_the_launch_that_needs_most(compiled):
    assert "262144 bytes" in compiled("too_large").failure.message
