"""Softmax of each row in Triton: one pass where a block holds the row, two passes over its blocks elsewhere."""

import torch
import triton
import triton.language as tl

import autotune
from autotune import Problem
from autotune.search_spaces import tiles


@triton.jit
def softmax_kernel(
    x, y, rows, cols, block: tl.constexpr, rows_per_program: tl.constexpr, whole: tl.constexpr, stages: tl.constexpr
):
    """x, y: row-major. whole: whether a block holds a row; then the loop over rows has the stages."""
    first, step = tl.program_id(0) * rows_per_program, tl.num_programs(0) * rows_per_program
    place = tl.arange(0, block)[None, :]
    for start in tl.range(first, rows, step, num_stages=stages if whole else 1):
        row = start + tl.arange(0, rows_per_program)[:, None]
        source, target, inside = x + row.to(tl.int64) * cols, y + row.to(tl.int64) * cols, row < rows
        if whole:
            mask = inside & (place < cols)
            value = tl.load(source + place, mask=mask, other=-float("inf")).to(tl.float32)
            power = tl.exp(value - tl.max(value, 1, keep_dims=True))
            tl.store(target + place, (power / tl.sum(power, 1, keep_dims=True)).to(y.dtype.element_ty), mask=mask)
        else:
            top = tl.full((rows_per_program, 1), -float("inf"), tl.float32)
            total = tl.zeros((rows_per_program, 1), tl.float32)
            for left in tl.range(0, cols, block, num_stages=stages):
                mask = inside & (left + place < cols)
                value = tl.load(source + left + place, mask=mask, other=-float("inf")).to(tl.float32)
                higher = tl.maximum(top, tl.max(value, 1, keep_dims=True))
                total = total * tl.exp(top - higher) + tl.sum(tl.exp(value - higher), 1, keep_dims=True)
                top = higher
            for left in tl.range(0, cols, block, num_stages=stages):  # the second reading comes from the L2
                mask = inside & (left + place < cols)
                value = tl.load(source + left + place, mask=mask).to(tl.float32)
                tl.store(target + left + place, (tl.exp(value - top) / total).to(y.dtype.element_ty), mask=mask)


def row_softmax(x, y, config):
    """A callable that computes y = softmax(x, dim=1) as the configuration says."""
    rows, cols = x.shape
    programs = triton.cdiv(rows, config.rows_per_program)
    if config.programs_per_sm:
        multiprocessors = torch.cuda.get_device_properties("cuda").multi_processor_count
        programs = min(programs, config.programs_per_sm * multiprocessors)
    whole = cols <= config.block
    return lambda: softmax_kernel[(programs,)](
        x, y, rows, cols, config.block, config.rows_per_program, whole, config.num_stages, num_warps=config.num_warps
    )


@autotune.workload(
    space=tiles.rows(),
    problems=[
        Problem(rows=8192, cols=4096, dtype="bfloat16"),
        Problem(rows=4096, cols=32768, dtype="bfloat16"),
    ],
    gpus=1,
    timeout_s=60,
    bytes=lambda problem: 2 * problem.rows * problem.cols * tiles.element_bytes(problem.dtype),
)
def triton_softmax(problem, config):
    """y = softmax(x) of each row; bound by memory: x is read once and y written once at best."""
    x = torch.randn(problem.rows, problem.cols, device="cuda", dtype=getattr(torch, problem.dtype))
    y = torch.full_like(x, float("nan"))
    run = row_softmax(x, y, config)

    yield run

    x.normal_(), y.fill_(float("nan"))
    run()
    expected = torch.softmax(x.float(), dim=1)
    error = (y.float() - expected).norm() / expected.norm()
    assert error < 1e-2, f"relative error {error:.2g}"
