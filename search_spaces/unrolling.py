"""Shapes of thread blocks and unrolled loops of CUDA C++ kernels; tiles of Triton kernels are in `tiles`.

A rule rejects only what cannot run on the device or is certainly pointless there, and its docstring says which of the
two. A limit that the device does not tell rejects nothing.
"""

from __future__ import annotations

from autotune.device import Device
from autotune.space import SearchSpace, choice, power_of_two
from autotune.values import Config, Problem

from .tiles import THREADS_PER_WARP, element_bytes, extent, power_of_two_over

VECTOR_BYTES = 16
"""The widest access of one thread."""


def loop() -> SearchSpace:
    """A loop of `steps_per_thread` steps, of which the compiler unrolls `unroll`."""
    return SearchSpace(
        steps_per_thread=power_of_two(1, 16),
        unroll=power_of_two(1, 16),
    ).where(unroll_divides_steps)


def thread_block() -> SearchSpace:
    """Threads of a block by column and row: block_x, block_y."""
    return SearchSpace(
        block_x=power_of_two(16, 1024, default=32),
        block_y=power_of_two(1, 32, default=8),
    ).where(whole_warps, threads_within_device)


def stencil() -> SearchSpace:
    """A pass over a grid, for problems of width, height and dtype: a thread block, a loop over rows, `vector` columns.

    A thread computes steps_per_thread rows of `vector` neighbouring columns, which it reads in one access.
    """
    vector = SearchSpace(vector=choice(1, 2, 4))
    return (thread_block() | loop() | vector).where(
        vector_within_access,
        vector_divides_width,
        block_within_width,
        block_within_height,
    )


def unroll_divides_steps(config: Config) -> bool:
    """Pointless: the unrolled steps do not divide the loop, which then ends in a rest."""
    return int(config.steps_per_thread) % int(config.unroll) == 0


def whole_warps(config: Config) -> bool:
    """Pointless: the block does not fill its last warp."""
    return int(config.block_x) * int(config.block_y) % THREADS_PER_WARP == 0


def threads_within_device(config: Config, device: Device | None) -> bool:
    """Cannot run: more threads than a block can have on the device."""
    limit = device.max_threads_per_block if device else None
    return limit is None or int(config.block_x) * int(config.block_y) <= limit


def vector_within_access(config: Config, problem: Problem) -> bool:
    """Pointless: a vector of more bytes than one access moves."""
    return int(config.vector) * element_bytes(problem.get("dtype")) <= VECTOR_BYTES


def vector_divides_width(config: Config, problem: Problem) -> bool:
    """Cannot run: rows that the vector does not divide start at addresses that it cannot be read from."""
    width = extent(problem, "width")
    return width is None or width % int(config.vector) == 0


def block_within_width(config: Config, problem: Problem) -> bool:
    """Pointless: most of the block lies beside the grid."""
    return int(config.block_x) * int(config.vector) <= power_of_two_over(extent(problem, "width"))


def block_within_height(config: Config, problem: Problem) -> bool:
    """Pointless: most of the block lies below the grid."""
    return int(config.block_y) * int(config.steps_per_thread) <= power_of_two_over(extent(problem, "height"))
