"""The shipped workloads, as far as they can be tried without a GPU: interpreted, only compiled, or on the CPU."""

import ast
import ctypes
import importlib.metadata
import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autotune import bench
from autotune.device import Device, cpu_device
from autotune.measurement import Measurement
from autotune.search_spaces import tiles
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import load

WORKLOADS = Path(__file__).parents[2] / "workloads"
TRITON = importlib.util.find_spec("triton") is not None
TRITON_VERSION = tuple(map(int, importlib.metadata.version("triton").split(".")[:2])) if TRITON else (0, 0)

needs_triton = pytest.mark.skipif(not TRITON, reason="needs triton")
# The interpreter of older versions converts arrays to scalars in a way that NumPy 2.4 no longer allows.
needs_interpreter = pytest.mark.skipif(TRITON_VERSION < (3, 9), reason="needs the interpreter of triton 3.9")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")

LIMITS = {"sm_90": 232_448, "sm_80": 166_912}
NARROW_TYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def gpu(arch):
    return Device(
        kind="gpu",
        index=0,
        sku=arch,
        name=arch,
        uuid="GPU-0",
        arch=arch,
        memory_bytes=80 << 30,
        shared_memory_per_block_bytes=LIMITS[arch],
        registers_per_block=65536,
        max_threads_per_block=1024,
        multiprocessors=132,
    )


def loaded(name):
    """The workload of that file, and the module that the file became."""
    [found] = load(WORKLOADS / f"{name}.py")
    return found, sys.modules[found.body.__module__]


def interpreted(name, call, cases):
    """Run `call` for each case in a process whose Triton interprets, on a pretended GPU of three multiprocessors."""
    script = f"""
import sys, torch
from pathlib import Path
from types import SimpleNamespace
from autotune import Config
from autotune.workload import load
[found] = load(Path({str(WORKLOADS)!r}) / "{name}.py")
module = sys.modules[found.body.__module__]
torch.cuda.get_device_properties = lambda device: SimpleNamespace(multi_processor_count=3)
torch.manual_seed(0)
for shape, config in {cases!r}:
    config = Config(config)
{call}
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=WORKLOADS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@needs_interpreter
def test_every_schedule_of_the_matmul_gives_the_product():
    tile = {"block_m": 16, "block_n": 32, "block_k": 32, "group_m": 2, "num_warps": 8, "num_stages": 2}
    schedules = [{"schedule": name} for name in ("pointers", "descriptors", "specialized")]
    schedules.append({"schedule": "persistent", "programs_per_sm": 1})
    shapes = [(64, 64, 64), (16, 72, 40)]
    call = """
    m, n, k = shape
    a, b = torch.randn(m, k).half(), torch.randn(k, n).half()
    c = torch.full((m, n), float("nan")).half()
    module.multiply(a, b, c, config)()
    torch.testing.assert_close(c.float(), a.float() @ b.float(), rtol=1e-2, atol=1e-2)
"""
    interpreted("triton_matmul", call, [(shape, tile | schedule) for shape in shapes for schedule in schedules])


@needs_interpreter
def test_softmax_is_right_in_one_pass_and_in_two_persistent_or_not():
    cases = [
        (
            (rows, cols),
            {"block": block, "rows_per_program": taken, "num_warps": 4, "num_stages": 2, "programs_per_sm": sm},
        )
        for rows, cols, block, taken, sm in [
            (5, 40, 64, 1, 0),
            (5, 40, 64, 2, 1),
            (7, 40, 16, 2, 0),
            (8, 48, 16, 1, 1),
        ]
    ]
    call = """
    x = torch.randn(shape)
    y = torch.full_like(x, float("nan"))
    module.row_softmax(x, y, config)()
    torch.testing.assert_close(y, torch.softmax(x, dim=1))
"""
    interpreted("triton_softmax", call, cases)


@needs_interpreter
def test_the_autotuned_kernel_is_right_where_tiles_overhang_the_edges():
    call = """
    M, N, K = shape
    a, b, c = torch.randn(M, K), torch.randn(K, N), torch.full((M, N), float("nan"))
    with AutotunedKernel.of(module.matmul_kernel).pin(config).held():
        module.matmul(a, b, c)
    torch.testing.assert_close(c, torch.nn.functional.leaky_relu(a @ b, 0.01), rtol=1e-3, atol=1e-3)
"""
    call = f"    from autotune.drop_in.kernel import AutotunedKernel\n{call}"
    tile = {"BLOCK_M": 32, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 8, "num_warps": 2, "num_stages": 5}
    interpreted("triton_autotuned", call, [((40, 100, 48), tile), ((70, 64, 33), {**tile, "BLOCK_M": 64})])


@needs_triton
def test_the_autotuned_kernels_list_is_searched_as_a_product_from_its_first():
    found, _ = loaded("triton_autotuned")
    valid = found.space.bind(found.problems[0], gpu("sm_90"))
    assert valid.default_is_declared
    assert (len(found.seeds), valid.size) == (7, 192)


@pytest.fixture
def ahead(monkeypatch, tmp_path):
    """Compiles a kernel for an architecture without a GPU: `ahead(kernel, arch, types, constants, **options)`."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # triton 3.9 warns where it is left to its default
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def build(kernel, arch, types, constants, **options):
        names = kernel.arg_names
        source = ASTSource(
            fn=kernel,
            signature={name: types.get(name, "constexpr") for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind[0] in "*i"},
        )
        target = GPUTarget("cuda", tiles.capability(gpu(arch)), 32)
        return triton.compile(source, target=target, options=options)

    return build


def matmul_ahead(ahead, module, problem, config, arch):
    """As `multiply` launches it."""
    kind, width = NARROW_TYPES[problem.dtype], module.stored_width(config)
    blocks = {
        "a": [config.block_m, config.block_k],
        "b": [config.block_k, config.block_n],
        "c": [config.block_m, width],
    }
    by_pointer = config.schedule in ("pointers", "specialized")
    types = {name: f"*{kind}" if by_pointer else f"tensordesc<{kind}{block}>" for name, block in blocks.items()}
    constants = {name: config[name] for name in ("schedule", "block_m", "block_n", "block_k", "group_m")}
    return ahead(
        module.matmul_kernel,
        arch,
        types | dict.fromkeys("mnk", "i32"),
        constants | {"c_width": width},
        num_warps=config.num_warps // 2 if config.schedule == "specialized" else config.num_warps,
        num_stages=config.num_stages,
    )


@needs_triton
@pytest.mark.parametrize("arch", LIMITS)
def test_matmul_configurations_compile_and_fit_as_estimated(ahead, arch):
    found, module = loaded("triton_matmul")
    device, rng = gpu(arch), random.Random(1)
    for problem in found.problems:
        valid = found.space.bind(problem, device)
        for config in [valid.default, valid.sample(rng)]:
            shared_bytes = matmul_ahead(ahead, module, problem, config, arch).metadata.shared
            stored_while_loading = config.schedule in ("persistent", "specialized")
            estimate = (module.resident_bytes if stored_while_loading else tiles.operand_bytes)(config, problem, device)
            assert estimate <= shared_bytes <= LIMITS[arch], config.text


@needs_triton
def test_the_specialized_matmul_really_divides_its_warps(ahead):
    found, module = loaded("triton_matmul")
    config = Config(block_m=128, block_n=256, block_k=64, num_warps=8, num_stages=3, group_m=8, schedule="specialized")
    assert found.space.rejection(config, found.problems[0], gpu("sm_90")) is None
    assert "ttg.warp_specialize(" in matmul_ahead(ahead, module, found.problems[0], config, "sm_90").asm["ttgir"]


@needs_triton
@pytest.mark.parametrize("arch", LIMITS)
def test_softmax_configurations_compile_and_fit(ahead, arch):
    found, module = loaded("triton_softmax")
    device, rng = gpu(arch), random.Random(2)
    for problem in found.problems:
        valid = found.space.bind(problem, device)
        assert valid.default_is_declared
        for config in [valid.default, valid.sample(rng)]:
            kind = f"*{NARROW_TYPES[problem.dtype]}"
            constants = {
                "block": config.block,
                "rows_per_program": config.rows_per_program,
                "whole": problem.cols <= config.block,
                "stages": config.num_stages,
            }
            types = {"x": kind, "y": kind, "rows": "i32", "cols": "i32"}
            compiled = ahead(module.softmax_kernel, arch, types, constants, num_warps=config.num_warps)
            assert compiled.metadata.shared <= LIMITS[arch], config.text


def stencil_source():
    """The CUDA C++ of workloads/cuda_stencil.py, read without running the file, which needs cuda-core."""
    for node in ast.parse((WORKLOADS / "cuda_stencil.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "SOURCE":
            return ast.literal_eval(node.value)
    raise AssertionError("cuda_stencil.py has no SOURCE")


def on_the_host(folder, macros, grid):
    """The kernel as a function of two addresses, its threads run one after another."""
    source = f"""
#include <cstddef>
struct Place {{ int x, y; }};
static Place blockIdx, threadIdx;
{stencil_source()}
extern "C" void step(const float* before, float* after) {{
    for (blockIdx.y = 0; blockIdx.y < {grid[1]}; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < {grid[0]}; ++blockIdx.x)
            for (threadIdx.y = 0; threadIdx.y < BLOCK_Y; ++threadIdx.y)
                for (threadIdx.x = 0; threadIdx.x < BLOCK_X; ++threadIdx.x) jacobi(before, after);
}}
"""
    (folder / "stencil.cpp").write_text(source.replace("size_t(", "std::size_t("))
    defined = [f"-D{name.upper()}={value}" for name, value in macros.items()]
    ignored = ["-D__device__=", "-D__global__=", "-D__launch_bounds__(threads)="]
    command = ["g++", "-O1", "-shared", "-fPIC", "-std=c++17", "-w", *defined, *ignored]
    subprocess.run([*command, "-o", folder / "stencil.so", folder / "stencil.cpp"], check=True)
    return ctypes.CDLL(str(folder / "stencil.so")).step


@needs_compiler
@pytest.mark.parametrize(
    ("block", "steps", "unroll", "vector"), [((32, 1), 1, 1, 1), ((16, 2), 4, 2, 2), ((16, 4), 8, 8, 4)]
)
def test_the_stencil_is_the_mean_of_four_neighbours_up_to_the_edges(tmp_path, block, steps, unroll, vector):
    config = Config(block_x=block[0], block_y=block[1], steps_per_thread=steps, unroll=unroll, vector=vector)
    width, height = 72, 50  # neither divides into blocks
    columns, rows = config.block_x * config.vector, config.block_y * config.steps_per_thread
    step = on_the_host(
        tmp_path, {**config, "width": width, "height": height}, (-(-width // columns), -(-height // rows))
    )
    before = torch.randn(height, width)
    after = torch.full_like(before, float("nan"))
    step(ctypes.c_void_p(before.data_ptr()), ctypes.c_void_p(after.data_ptr()))
    around = torch.nn.functional.pad(before, (1, 1, 1, 1))
    expected = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
    torch.testing.assert_close(after, expected)


@pytest.mark.parametrize(("batch_size", "in_flight"), [(1, 1), (4, 2)])
def test_inference_reports_its_metrics_from_a_real_trial_on_the_cpu(batch_size, in_flight, monkeypatch):
    found, module = loaded("inference_batching")
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "DTYPE", torch.float32)
    device = cpu_device()
    trial = Trial(
        workload=found.reference,
        problem=Problem(requests=16, tokens=4, width=64, layers=1),
        config=Config(batch_size=batch_size, in_flight=in_flight, threads=1, mode="eager"),
        sku=device.sku,
        effort=Effort.QUICK,
    )
    outcome = bench.perform(found, trial, device, lambda phase: None)
    assert isinstance(outcome, Measurement), outcome
    assert outcome.medians["tokens_per_s"] > 0
    assert 0 < outcome.medians["p99_ms"] <= outcome.medians["latency_ms"] * 1.5


def test_inference_leaves_torch_with_the_threads_it_had():
    found, _ = loaded("inference_batching")
    before = torch.get_num_threads()
    body = found(
        Problem(requests=4, tokens=2, width=64, layers=1), Config(batch_size=2, in_flight=1, threads=1, mode="eager")
    )
    next(body)()
    assert next(body, "done") == "done"
    assert torch.get_num_threads() == before


def test_on_a_cpu_inference_is_tuned_over_eager_batches_within_the_cores():
    found, _ = loaded("inference_batching")
    device = cpu_device()
    valid = found.space.bind(found.problems[0], device)
    assert valid.default_is_declared
    assert (valid.default.batch_size, valid.default.mode) == (1, "eager")
    assert {config.mode for config in valid} == {"eager"}
    assert max(config.in_flight * config.threads for config in valid) <= device.multiprocessors
