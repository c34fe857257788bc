"""Tile sizes of Triton kernels, for matrix products and row-wise passes; the loops of CUDA C++ are in `unrolling`.

A rule rejects only what cannot run on the device or is certainly pointless there, and its docstring says which of the
two. Estimates err on the small side. A limit that the device does not tell rejects nothing.
"""

from __future__ import annotations

import math
import re

from autotune.device import Device
from autotune.space import SearchSpace, choice, integer, power_of_two
from autotune.values import Config, Problem

THREADS_PER_WARP = 32
REGISTERS_PER_THREAD = 255
"""What an instruction can address, from sm_35 on; no attribute of the device tells it."""
WARP_GROUP_ROWS = 64
"""The fewest rows of a matrix instruction for a whole group of four warps, on sm_90 and sm_100."""
GROUPS = (1, 4, 8, 16)


def matmul() -> SearchSpace:
    """Tiles of C = A @ B: block_m/n/k, num_warps, num_stages, group_m; problems of m, n, k and dtype."""
    space = SearchSpace(
        block_m=power_of_two(16, 256, default=128),
        block_n=power_of_two(16, 256, default=128),
        block_k=power_of_two(32, 128, default=64),
        num_warps=choice(4, 8),
        num_stages=integer(2, 5, default=3),
        group_m=choice(*GROUPS, default=8),
    )
    rules = (
        tile_within_problem,
        no_crowd_of_small_tiles,
        accumulators_in_registers,
        threads_have_work,
        pipeline_within_loop,
        fits_shared_memory,
        group_within_rows,
    )
    return space.where(*rules).with_default(usual_tile)


def rows() -> SearchSpace:
    """Passes over rows: block, rows_per_program, num_warps, programs_per_sm, num_stages; problems of rows, cols, dtype.

    A row is read in blocks of `block` elements: once where one block holds it, else as often as the kernel needs.
    programs_per_sm: so many programs on each multiprocessor go from rows to rows until none is left; 0 is a program of
    its own for every `rows_per_program` rows. num_stages: of the loop over blocks, or over rows where a block is a row.
    """
    space = SearchSpace(
        block=power_of_two(256, 65536, default=1024),
        rows_per_program=power_of_two(1, 16),
        num_warps=power_of_two(1, 32, default=4),
        programs_per_sm=choice(0, 1, 2, 4, 8),
        num_stages=integer(1, 4),
    )
    rules = (
        block_within_row,
        rows_within_problem,
        threads_within_device,
        elements_per_thread,
        persistent_programs_loop,
        persistent_threads_fit,
        stages_need_a_loop,
        stages_fit_shared_memory,
    )
    return space.where(*rules).with_default(whole_row)


def usual_tile(problem: Problem, device: Device | None) -> dict[str, int]:
    """The default: 128 by 128, and no more rows than there are."""
    m = extent(problem, "m")
    block_m = min(128, max(16, power_of_two_over(m)))
    fitting = [group for group in GROUPS if group <= 8 and group_exists(group, block_m, m)]
    return {"block_m": block_m, "group_m": max(fitting)}


def tile_within_problem(config: Config, problem: Problem) -> bool:
    """Pointless: most of the tile lies outside the matrices."""
    # A smaller problem may still want the rows that the widest matrix instructions need.
    return bool(
        config.block_m <= max(WARP_GROUP_ROWS, power_of_two_over(extent(problem, "m")))
        and config.block_n <= max(16, power_of_two_over(extent(problem, "n")))
        and config.block_k <= max(32, power_of_two_over(extent(problem, "k")))
    )


def no_crowd_of_small_tiles(config: Config, problem: Problem, device: Device | None) -> bool:
    """Pointless: tiles under 64 by 64, over 32 for each multiprocessor; larger ones read A and B less often."""
    m, n = extent(problem, "m"), extent(problem, "n")
    if device is None or m is None or n is None or tile_elements(config) >= 64 * 64:
        return True
    return bool(math.ceil(m / config.block_m) * math.ceil(n / config.block_n) <= 32 * device.multiprocessors)


def accumulators_in_registers(config: Config, device: Device | None) -> bool:
    """Pointless: the tile's fp32 accumulators alone fill the registers of its threads and spill to memory."""
    per_block = device.registers_per_block if device else None
    per_thread = REGISTERS_PER_THREAD if per_block is None else min(REGISTERS_PER_THREAD, per_block // threads(config))
    return per_thread >= tile_elements(config) / threads(config)


def threads_have_work(config: Config) -> bool:
    """Pointless: under four elements of the tile for each thread, so that several threads compute the same ones."""
    return tile_elements(config) >= 4 * threads(config)


def pipeline_within_loop(config: Config, problem: Problem) -> bool:
    """Pointless: more stages than the loop over k has steps."""
    k = extent(problem, "k")
    return bool(k is None or config.num_stages <= max(2, math.ceil(k / config.block_k)))


def fits_shared_memory(config: Config, problem: Problem, device: Device | None) -> bool:
    """Cannot run: the stages of A and B need more shared memory than a block can have on the device."""
    return fits(operand_bytes(config, problem, device), device)


def group_within_rows(config: Config, problem: Problem) -> bool:
    """Pointless: a group of more rows of tiles than there are is the same as one of all of them."""
    return group_exists(config.group_m, config.block_m, extent(problem, "m"))


def group_exists(group_m: int, block_m: int, m: int | None) -> bool:
    """Whether m rows make so many rows of tiles."""
    return group_m == 1 or m is None or group_m <= math.ceil(m / block_m)


def operand_bytes(config: Config, problem: Problem, device: Device | None) -> int:
    """Shared memory that the pipelined tiles of A and B take, as Triton 3.6 and 3.9 allocate it.

    Instructions for a group of warps (sm_90 and sm_100, from 64 rows up) read it while later stages arrive: a buffer
    for each stage. Elsewhere a stage is in registers once it is in use: one buffer less.
    """
    by_group = capability(device) // 10 in (9, 10) and config.block_m >= WARP_GROUP_ROWS
    buffers: int = config.num_stages if by_group else max(1, config.num_stages - 1)
    elements: int = config.block_k * (config.block_m + config.block_n)
    return buffers * elements * element_bytes(problem.get("dtype"))


def whole_row(problem: Problem, device: Device | None) -> dict[str, int]:
    """The default: one program for a row, which holds it whole where a block can, and 32 elements for each thread."""
    cols = extent(problem, "cols")
    if cols is None:
        return {}
    block = min(65536, max(256, power_of_two_over(cols)))
    return {"block": block, "num_warps": min(32, max(1, block // (32 * THREADS_PER_WARP)))}


def block_within_row(config: Config, problem: Problem) -> bool:
    """Pointless: most of the block lies outside the row."""
    return bool(config.block <= max(256, power_of_two_over(extent(problem, "cols"))))


def rows_within_problem(config: Config, problem: Problem) -> bool:
    """Pointless: a program would take more rows than there are."""
    rows = extent(problem, "rows")
    return bool(rows is None or config.rows_per_program <= rows)


def threads_within_device(config: Config, device: Device | None) -> bool:
    """Cannot run: more threads than a block can have on the device."""
    limit = device.max_threads_per_block if device else None
    return limit is None or limit >= threads(config)


def elements_per_thread(config: Config) -> bool:
    """Pointless: under one element of a block for each thread, or over 64, which spill to memory."""
    return threads(config) <= block_elements(config) <= 64 * threads(config)


def persistent_programs_loop(config: Config, problem: Problem, device: Device | None) -> bool:
    """Pointless: each persistent program would find rows only once, as one that is not persistent does."""
    rows = extent(problem, "rows")
    if config.programs_per_sm == 0 or rows is None or device is None:
        return True
    return bool(device.multiprocessors * config.programs_per_sm * config.rows_per_program < rows)


def persistent_threads_fit(config: Config, device: Device | None) -> bool:
    """Pointless: the programs that are to share a multiprocessor have more threads than it can hold."""
    # No multiprocessor holds more than twice the threads of its largest block.
    limit = device.max_threads_per_block if device else None
    return limit is None or int(config.programs_per_sm) * threads(config) <= 2 * limit


def stages_need_a_loop(config: Config, problem: Problem) -> bool:
    """Pointless: nothing to load ahead, since a program reads one block only."""
    cols = extent(problem, "cols")
    return bool(config.num_stages == 1 or config.programs_per_sm > 0 or cols is None or config.block < cols)


def stages_fit_shared_memory(config: Config, problem: Problem, device: Device | None) -> bool:
    """Cannot run: the blocks that are loaded ahead need more shared memory than a block can have on the device."""
    return fits(ahead_bytes(config, problem), device)


def ahead_bytes(config: Config, problem: Problem) -> int:
    """Shared memory of the blocks under way besides the one in use."""
    return int(config.num_stages - 1) * block_elements(config) * element_bytes(problem.get("dtype"))


def fits(shared_bytes: int, device: Device | None) -> bool:
    """Whether a block can have so much shared memory; True where the device does not tell."""
    limit = device.shared_memory_per_block_bytes if device else None
    return limit is None or shared_bytes <= limit


def capability(device: Device | None) -> int:
    """90 for sm_90; 0 for what is no NVIDIA GPU."""
    found = re.fullmatch(r"sm_(\d+)[a-z]?", device.arch) if device else None
    return int(found[1]) if found else 0


def element_bytes(dtype: object) -> int:
    """2 for bfloat16, 1 for float8_e4m3fn: the first number in a dtype's name counts bits; 1 where there is none."""
    found = re.search(r"\d+", str(dtype))
    return max(1, int(found[0]) // 8) if found else 1


def threads(config: Config) -> int:
    """Of one program."""
    return int(config.num_warps) * THREADS_PER_WARP


def tile_elements(config: Config) -> int:
    """Of one tile of C."""
    return int(config.block_m) * int(config.block_n)


def block_elements(config: Config) -> int:
    """Of one block of rows."""
    return int(config.block) * int(config.rows_per_program)


def extent(problem: Problem, name: str) -> int | None:
    """A size of the problem; None where it has none of that name."""
    value = problem.get(name)
    return value if isinstance(value, int) else None


def power_of_two_over(size: int | None) -> int:
    """The least power of two that is at least `size`; beyond every tile where the size is not known."""
    return 1 << 62 if size is None else 1 << max(0, size - 1).bit_length()
