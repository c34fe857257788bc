"""The rules of the shared search spaces: what they reject is of no use on the device, and the default survives them."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.device import Device
from autotune.search_spaces import batching, tiles, unrolling
from autotune.values import Config, Problem


def gpu(arch="sm_90", shared_kib=227, multiprocessors=132, registers=65536, threads=1024):
    return Device(
        kind="gpu",
        index=0,
        sku=f"gpu-{arch}",
        name="a GPU",
        uuid="GPU-0",
        arch=arch,
        memory_bytes=80 << 30,
        shared_memory_per_block_bytes=shared_kib * 1024 if shared_kib else None,
        registers_per_block=registers,
        max_threads_per_block=threads,
        multiprocessors=multiprocessors,
        l2_bytes=50 << 20,
    )


def cpu(cores):
    return Device(
        kind="cpu",
        index=0,
        sku="cpu",
        name="a CPU",
        uuid="CPU",
        arch="x86_64",
        memory_bytes=1 << 34,
        multiprocessors=cores,
    )


H200 = gpu()
A100 = gpu("sm_80", 163, 108)
L40S = gpu("sm_89", 99, 142)
SILENT = gpu(shared_kib=None, registers=None, threads=None)
GPUS = st.sampled_from([H200, A100, L40S, SILENT])
MATMUL = Problem(m=4096, n=4096, k=4096, dtype="bfloat16")
SPACES = {
    "matmul": (tiles.matmul(), MATMUL),
    "rows": (tiles.rows(), Problem(rows=8192, cols=4096, dtype="bfloat16")),
    "stencil": (unrolling.stencil(), Problem(width=16384, height=16384, dtype="float32")),
    "inference": (batching.inference(), Problem(requests=64)),
}

sizes = st.integers(1, 1 << 15)
dtypes = st.sampled_from(["float32", "bfloat16", "float16", "float8_e4m3fn", "int8"])


@st.composite
def configs(draw, space):
    chosen = {}
    for name, parameter in space.parameters.items():
        if parameter.active(chosen):
            chosen[name] = draw(st.sampled_from(list(parameter.values)))
    return Config(chosen)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("device", [H200, A100, L40S, SILENT, cpu(2)], ids=lambda d: d.sku)
def test_the_default_is_valid_as_declared(name, device):
    space, problem = SPACES[name]
    assert space.bind(problem, device).default_is_declared


@pytest.mark.parametrize("name", SPACES)
def test_every_reason_says_what_is_wrong_with_the_configuration(name):
    space, _ = SPACES[name]
    for constraint in space.constraints:
        assert constraint.reason.endswith("."), constraint.name
        assert constraint.reason != constraint.name
        if name != "inference":
            assert constraint.reason.startswith(("Cannot run: ", "Pointless: "))


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data())
def test_without_a_problem_and_a_device_what_they_limit_is_not_rejected(name, data):
    space, _ = SPACES[name]
    config = data.draw(configs(space))
    needs_neither = {
        "accumulators_in_registers",
        "threads_have_work",
        "elements_per_thread",
        "unroll_divides_steps",
        "whole_warps",
    }
    rejecting = {c.name for c in space.constraints if not c.allows(config, Problem(), None)}
    assert rejecting <= needs_neither


@given(m=sizes, n=sizes, k=sizes, dtype=dtypes, device=GPUS)
def test_a_usual_matmul_tile_is_valid_for_problems_of_any_size(m, n, k, dtype, device):
    problem = Problem(m=m, n=n, k=k, dtype=dtype)
    space = tiles.matmul()
    default = space.default_for(problem, device)
    rejected = {c.name for c in space.constraints if not c.allows(default, problem, device)}
    # Matrices narrower than the tile, and float32 where shared memory is small: then the nearest valid one is taken.
    assert rejected <= {"tile_within_problem", "pipeline_within_loop", "fits_shared_memory"}
    assert n < 128 or k < 192 or dtype == "float32" or not rejected


@given(rows=sizes, cols=sizes, dtype=dtypes, device=GPUS)
def test_a_program_for_a_whole_row_is_valid_for_rows_of_any_length(rows, cols, dtype, device):
    problem = Problem(rows=rows, cols=cols, dtype=dtype)
    space = tiles.rows()
    default = space.default_for(problem, device)
    assert space.rejection(default, problem, device) is None
    assert default.block >= cols or default.block == 65536


# Read off what Triton 3.6 and 3.9 compiled for the architecture: metadata.shared of a bfloat16 matmul by pointers.
@pytest.mark.parametrize(
    ("arch", "block_m", "block_n", "block_k", "num_stages", "compiled_bytes"),
    [
        ("sm_90", 128, 128, 64, 3, 98_304),
        ("sm_90", 128, 256, 64, 3, 147_456),
        ("sm_90", 16, 32, 64, 3, 12_288),
        ("sm_100", 128, 128, 64, 3, 98_320),
        ("sm_100", 16, 32, 64, 3, 12_288),
        ("sm_80", 128, 128, 64, 3, 65_536),
        ("sm_80", 128, 256, 64, 3, 98_304),
        ("sm_89", 64, 64, 64, 3, 32_768),
        ("sm_120", 128, 128, 64, 3, 65_536),
    ],
)
def test_estimated_shared_memory_is_what_the_compiler_takes(
    arch, block_m, block_n, block_k, num_stages, compiled_bytes
):
    config = Config(block_m=block_m, block_n=block_n, block_k=block_k, num_stages=num_stages)
    estimate = tiles.operand_bytes(config, MATMUL, gpu(arch))
    assert compiled_bytes - 64 <= estimate <= compiled_bytes


@given(config=configs(tiles.matmul()), device=GPUS, dtype=dtypes)
def test_a_matmul_tile_that_fits_takes_no_more_shared_memory_than_there_is(config, device, dtype):
    problem = Problem(MATMUL, dtype=dtype)
    assume(tiles.matmul().rejection(config, problem, device) is None)
    limit = device.shared_memory_per_block_bytes or math.inf
    assert tiles.operand_bytes(config, problem, device) <= limit
    assert config.block_m * config.block_n / (32 * config.num_warps) <= 255


@given(config=configs(tiles.matmul()))
def test_more_shared_memory_never_makes_a_matmul_tile_invalid(config):
    small, large = gpu(shared_kib=99), gpu(shared_kib=227)
    if tiles.matmul().rejection(config, MATMUL, small) is None:
        assert tiles.matmul().rejection(config, MATMUL, large) is None


def test_a_matmul_space_is_of_a_size_that_a_study_can_search():
    assert 1000 <= tiles.matmul().bind(MATMUL, H200).size <= 5000


def test_small_tiles_stay_where_larger_ones_would_leave_multiprocessors_idle():
    narrow = Problem(m=16, n=4096, k=4096, dtype="bfloat16")
    config = Config(block_m=16, block_n=32, block_k=128, num_warps=4, num_stages=4, group_m=1)
    assert tiles.matmul().rejection(config, narrow, H200) is None
    assert "larger ones" in tiles.matmul().rejection(config, MATMUL, H200)


@given(config=configs(tiles.rows()), device=GPUS)
def test_valid_rows_fit_the_device(config, device):
    space, problem = SPACES["rows"]
    assume(space.rejection(config, problem, device) is None)
    assert 32 * config.num_warps <= (device.max_threads_per_block or math.inf)
    assert tiles.ahead_bytes(config, problem) <= (device.shared_memory_per_block_bytes or math.inf)


@given(config=configs(unrolling.stencil()), width=sizes, device=GPUS)
def test_a_valid_stencil_divides_its_work(config, width, device):
    problem = Problem(width=width, height=4096, dtype="float32")
    assume(unrolling.stencil().rejection(config, problem, device) is None)
    assert config.steps_per_thread % config.unroll == 0
    assert width % config.vector == 0
    assert config.block_x * config.block_y % 32 == 0
    assert config.block_x * config.block_y <= (device.max_threads_per_block or math.inf)


@given(config=configs(batching.inference()), cores=st.integers(1, 96))
def test_batches_in_flight_share_the_cores(config, cores):
    assume(batching.inference().rejection(config, Problem(requests=64), cpu(cores)) is None)
    assert config.in_flight * config.threads <= cores
    assert config.in_flight * config.batch_size <= 64


@given(cores=st.integers(1, 256))
def test_the_naive_server_is_valid_on_any_number_of_cores(cores):
    space, problem = batching.inference(), Problem(requests=64)
    default = space.default_for(problem, cpu(cores))
    assert space.rejection(default, problem, cpu(cores)) is None
    assert (default.batch_size, default.in_flight) == (1, 1)
    assert cores / 2 < default.threads or default.threads == 64


def test_a_gpu_needs_one_cpu_thread_for_each_batch_in_flight():
    assert {c.threads for c in batching.inference().bind(Problem(requests=64), H200)} == {1}


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("bfloat16", 2), ("float32", 4), ("float64", 8), ("float8_e4m3fn", 1), ("int8", 1), ("int4", 1), (None, 1)],
)
def test_bytes_of_a_dtype_are_read_off_its_name(dtype, expected):
    assert tiles.element_bytes(dtype) == expected


@pytest.mark.parametrize(("arch", "expected"), [("sm_90", 90), ("sm_90a", 90), ("sm_100", 100), ("gfx942", 0)])
def test_the_capability_is_read_off_the_architecture(arch, expected):
    assert tiles.capability(gpu(arch)) == expected
