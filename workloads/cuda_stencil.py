"""One Jacobi step of the five-point stencil in CUDA C++, compiled by NVRTC through NVIDIA's cuda-core."""

import hashlib

import torch
from cuda.core import Device, LaunchConfig, Program, ProgramOptions, Stream, launch
from cuda.core.utils import FileStreamProgramCache

import autotune
from autotune import Problem
from autotune.search_spaces import tiles, unrolling
from autotune.workload import Binary

# WIDTH, HEIGHT and each parameter in capitals are macros: all known to the compiler.
SOURCE = """
constexpr int unrolled = UNROLL;  // not every compiler expands macros in a pragma

struct alignas(VECTOR * sizeof(float)) Cells { float at[VECTOR]; };

// VECTOR cells of a row, in one access; cells outside the grid are 0.
__device__ Cells read(const float* grid, int x, int y) {
    if (y < 0 || y >= HEIGHT) return Cells{};
    return *reinterpret_cast<const Cells*>(grid + size_t(y) * WIDTH + x);
}

extern "C" __global__ void __launch_bounds__(BLOCK_X * BLOCK_Y)
jacobi(const float* __restrict__ before, float* __restrict__ after) {
    const int x = (blockIdx.x * BLOCK_X + threadIdx.x) * VECTOR;
    const int top = (blockIdx.y * BLOCK_Y + threadIdx.y) * STEPS_PER_THREAD;
    if (x >= WIDTH) return;
    Cells above = read(before, x, top - 1), here = read(before, x, top);
    #pragma unroll unrolled
    for (int step = 0; step < STEPS_PER_THREAD; ++step) {
        const int y = top + step;
        if (HEIGHT % (BLOCK_Y * STEPS_PER_THREAD) && y >= HEIGHT) return;
        const float* row = before + size_t(y) * WIDTH;
        const float left = x > 0 ? row[x - 1] : 0.0f;
        const float right = x + VECTOR < WIDTH ? row[x + VECTOR] : 0.0f;
        const Cells below = read(before, x, y + 1);
        Cells mean;
        #pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const float west = i == 0 ? left : here.at[i - 1];
            const float east = i == VECTOR - 1 ? right : here.at[i + 1];
            mean.at[i] = 0.25f * (above.at[i] + below.at[i] + west + east);
        }
        *reinterpret_cast<Cells*>(after + size_t(y) * WIDTH + x) = mean;
        above = here;
        here = below;
    }
}
"""


def compiled(problem, config, arch):
    """The program for that architecture, such as sm_90, as object code; from the cache where it was compiled before."""
    sizes = {"width": problem.width, "height": problem.height}
    macros = [(name.upper(), str(value)) for name, value in {**sizes, **config}.items()]
    options = ProgramOptions(arch=arch, std="c++17", define_macro=macros)
    return Program(SOURCE, "c++", options).compile("cubin", cache=FileStreamProgramCache())


def launch_shape(problem, config):
    """Blocks in the grid, threads in a block."""
    columns, rows = config.block_x * config.vector, config.block_y * config.steps_per_thread
    return (-(-problem.width // columns), -(-problem.height // rows)), (config.block_x, config.block_y)


def compile_ahead(problem, config, device):
    """On any core, before the trial: NVRTC needs no GPU, and leaves the program in the cache where `jacobi` looks."""
    code = bytes(compiled(problem, config, device.arch).code)
    shape = repr(launch_shape(problem, config)).encode()
    return Binary(digest=hashlib.sha256(code + shape).hexdigest())


def jacobi(before, after, problem, config):
    """A callable that computes one step on torch's current stream."""
    device = Device(torch.cuda.current_device())
    device.set_current()
    kernel = compiled(problem, config, f"sm_{device.arch}").get_kernel("jacobi")
    grid, block = launch_shape(problem, config)
    shape = LaunchConfig(grid=grid, block=block)
    pointers = before.data_ptr(), after.data_ptr()
    return lambda: launch(Stream.from_handle(torch.cuda.current_stream().cuda_stream), shape, kernel, *pointers)


@autotune.workload(
    space=unrolling.stencil(),
    problems=[Problem(width=16384, height=16384, dtype="float32")],
    gpus=1,
    timeout_s=60,
    compile=compile_ahead,
    bytes=lambda problem: 2 * problem.width * problem.height * tiles.element_bytes(problem.dtype),
)
def cuda_stencil(problem, config):
    """Each cell becomes the mean of its four neighbours; bound by memory: a cell is read and written once at best."""
    before = torch.randn(problem.height, problem.width, device="cuda")
    after = torch.full_like(before, float("nan"))
    run = jacobi(before, after, problem, config)

    yield run

    before.normal_(), after.fill_(float("nan"))
    run()
    around = torch.nn.functional.pad(before, (1, 1, 1, 1))
    expected = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
    torch.testing.assert_close(after, expected)
