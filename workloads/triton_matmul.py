"""C = A @ B in Triton: the tile sizes, and how the tiles are moved and scheduled, are ours to choose."""

from functools import partial

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

import autotune
from autotune import Problem, SearchSpace, choice
from autotune.search_spaces import tiles


@triton.jit
def load_tile(matrix, row, col, rows, cols, height: tl.constexpr, width: tl.constexpr, by_pointer: tl.constexpr):
    if by_pointer:
        r, c = row + tl.arange(0, height)[:, None], col + tl.arange(0, width)[None, :]
        tile = tl.load(matrix + r * cols + c, mask=(r < rows) & (c < cols), other=0.0)
    else:
        tile = matrix.load([row, col])
    return tile


@triton.jit
def store_tile(matrix, tile, row, col, rows, cols, height: tl.constexpr, width: tl.constexpr, by_pointer: tl.constexpr):
    if by_pointer:
        r, c = row + tl.arange(0, height)[:, None], col + tl.arange(0, width)[None, :]
        tl.store(matrix + r * cols + c, tile.to(matrix.dtype.element_ty), mask=(r < rows) & (c < cols))
    else:
        matrix.store([row, col], tile.to(matrix.dtype))


@triton.jit
def multiply_tile(
    a, b, c, tile, m, n, k, by_pointer: tl.constexpr,
    block_m: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr, group_m: tl.constexpr, c_width: tl.constexpr,
):  # fmt: skip
    """One tile of c. Tiles are numbered down `group_m` rows of tiles at a time, so that neighbours meet in the L2."""
    tiles_m, tiles_n = tl.cdiv(m, block_m), tl.cdiv(n, block_n)
    first = tile // (group_m * tiles_n) * group_m
    height = min(tiles_m - first, group_m)
    row = (first + tile % height) * block_m
    col = tile % (group_m * tiles_n) // height * block_n
    total = tl.zeros((block_m, block_n), dtype=tl.float32)
    for depth in range(0, k, block_k):
        left = load_tile(a, row, depth, m, k, block_m, block_k, by_pointer)
        right = load_tile(b, depth, col, k, n, block_k, block_n, by_pointer)
        total = tl.dot(left, right, total)
    if c_width < block_n:
        left_half, right_half = tl.split(tl.permute(tl.reshape(total, (block_m, 2, c_width)), (0, 2, 1)))
        store_tile(c, left_half, row, col, m, n, block_m, c_width, by_pointer)
        store_tile(c, right_half, row, col + c_width, m, n, block_m, c_width, by_pointer)
    else:
        store_tile(c, total, row, col, m, n, block_m, c_width, by_pointer)


@triton.jit
def matmul_kernel(
    a, b, c, m, n, k, schedule: tl.constexpr,
    block_m: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr, group_m: tl.constexpr, c_width: tl.constexpr,
):  # fmt: skip
    """a, b, c: row-major, as pointers for the schedules "pointers" and "specialized", as descriptors for the others."""
    first, step = tl.program_id(0), tl.num_programs(0)
    count = tl.cdiv(m, block_m) * tl.cdiv(n, block_n)
    if schedule == "pointers":
        multiply_tile(a, b, c, first, m, n, k, True, block_m, block_n, block_k, group_m, c_width)
    elif schedule == "descriptors":
        multiply_tile(a, b, c, first, m, n, k, False, block_m, block_n, block_k, group_m, c_width)
    elif schedule == "persistent":  # flattened into one loop, so that the next tile is loaded while this one is stored
        for tile in tl.range(first, count, step, flatten=True):
            multiply_tile(a, b, c, tile, m, n, k, False, block_m, block_n, block_k, group_m, c_width)
    else:  # the compiler halves the blocks between two groups of warps, which it can do to its own descriptors only
        a = tl.make_tensor_descriptor(a, [m, k], [k, 1], [block_m, block_k])
        b = tl.make_tensor_descriptor(b, [k, n], [n, 1], [block_k, block_n])
        c = tl.make_tensor_descriptor(c, [m, n], [n, 1], [block_m, block_n])
        for tile in tl.range(first, count, step, warp_specialize=True):
            multiply_tile(a, b, c, tile, m, n, k, False, block_m, block_n, block_k, group_m, c_width)


def multiply(a, b, c, config):
    """A callable that computes c = a @ b as the configuration says."""
    (m, k), n = a.shape, b.shape[1]
    block_m, block_n, block_k, num_warps = config.block_m, config.block_n, config.block_k, config.num_warps
    operands, c_width = (a, b, c), stored_width(config)
    if config.schedule in ("descriptors", "persistent"):
        blocks = [block_m, block_k], [block_k, block_n], [block_m, c_width]
        operands = map(TensorDescriptor.from_tensor, operands, blocks)
    elif config.schedule == "specialized":
        num_warps //= 2  # the compiler adds the second group that computes, and one that loads
        triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device="cuda"))
    programs = triton.cdiv(m, block_m) * triton.cdiv(n, block_n)
    if config.schedule in ("persistent", "specialized"):
        multiprocessors = torch.cuda.get_device_properties("cuda").multi_processor_count
        programs = min(programs, config.get("programs_per_sm", 1) * multiprocessors)
    return partial(
        matmul_kernel[(programs,)],
        *operands, m, n, k, config.schedule, block_m, block_n, block_k, config.group_m, c_width,
        num_warps=num_warps, num_stages=config.num_stages,
    )  # fmt: skip


def has_descriptors(config, device):
    """Pointless: before sm_90 descriptors are replaced by loads that are not pipelined."""
    return config.schedule == "pointers" or not 0 < tiles.capability(device) < 90


def divides_among_groups(config):
    """Cannot run: specialized means two groups of four warps that compute, each on 64 rows of the tile or more."""
    return config.schedule != "specialized" or (config.num_warps == 8 and config.block_m >= 128)


def store_fits(config, problem, device):
    """Cannot run: the tile of c, stored while the next tiles are loaded, does not fit beside them."""
    return config.schedule in ("pointers", "descriptors") or tiles.fits(resident_bytes(config, problem, device), device)


def programs_fit(config, problem, device):
    """Pointless: the programs that are to share a multiprocessor do not fit into its shared memory together."""
    programs = config.programs_per_sm
    return programs == 1 or tiles.fits(programs * resident_bytes(config, problem, device), device)


def programs_loop(config, problem, device):
    """Pointless: each persistent program would find work only once, as one program for each tile does."""
    count = -(-problem.m // config.block_m) * -(-problem.n // config.block_n)
    return config.schedule != "persistent" or count > config.programs_per_sm * device.multiprocessors


def resident_bytes(config, problem, device):
    """Shared memory of a program that stores one tile while it loads the next."""
    c_elements = config.block_m * stored_width(config)
    return tiles.operand_bytes(config, problem, device) + c_elements * tiles.element_bytes(problem.dtype)


def stored_width(config):
    """A persistent program stores its tile in two halves, which leaves more shared memory to the stages of a and b."""
    return config.block_n // 2 if config.schedule == "persistent" else config.block_n


SCHEDULES = SearchSpace(
    # One program for each tile, or a few that go from tile to tile; specialized: some of their warps only load.
    schedule=choice("pointers", "descriptors", "persistent", "specialized"),
    programs_per_sm=choice(1, 2).when(schedule="persistent"),
).where(has_descriptors, divides_among_groups, store_fits, programs_fit, programs_loop)


@autotune.workload(
    space=tiles.matmul() | SCHEDULES,
    problems=[Problem(m=m, n=4096, k=4096, dtype="bfloat16") for m in (4096, 256, 16)],
    gpus=1,
    timeout_s=60,
    flops=lambda problem: 2 * problem.m * problem.n * problem.k,
    bytes=lambda problem: (
        (problem.m * problem.k + problem.k * problem.n + problem.m * problem.n) * tiles.element_bytes(problem.dtype)
    ),
)
def triton_matmul(problem, config):
    """C = A @ B, all three row-major."""
    dtype = getattr(torch, problem.dtype)
    a = torch.randn(problem.m, problem.k, device="cuda", dtype=dtype)
    b = torch.randn(problem.k, problem.n, device="cuda", dtype=dtype)
    c = torch.full((problem.m, problem.n), float("nan"), device="cuda", dtype=dtype)
    run = multiply(a, b, c, config)

    yield run

    a.normal_(), b.normal_(), c.fill_(float("nan"))
    run()
    expected = a.float() @ b.float()
    error = (c.float() - expected).norm() / expected.norm()
    assert error < 1e-2, f"relative error {error:.2g}"
