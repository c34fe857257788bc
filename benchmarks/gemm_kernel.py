"""A GEMM under `@triton.autotune`, as people have it; run as a program, it lets Triton pick from its list."""

# ruff: noqa: ANN001, ANN201 - Triton reads a kernel's annotations

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import torch
import triton
import triton.language as tl

SIZE, DTYPE = 4096, "bfloat16"
SHARED_MEMORY_BYTES = 227 * 1024
"""Of a block on an H100 or H200; a kilobyte of it is left to barriers."""
ACCUMULATORS = range(16, 129)
"""Of one thread: with more the registers spill, with fewer the tensor cores idle."""


def configurations() -> list[triton.Config]:
    """Every tile that an H200 can run and that makes sense, 492 in all; sm_90 holds each stage of both operands."""
    blocks = (64, 128, 256)
    return [
        triton.Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k, "GROUP_M": group}, num_warps=warps, num_stages=stages)
        for m, n, k, group, warps, stages in itertools.product(
            blocks, blocks, (32, 64, 128), (8, 4, 1), (4, 8), (3, 4, 5, 6, 2)
        )
        if stages * (m + n) * k * 2 <= SHARED_MEMORY_BYTES - 1024 and m * n // (32 * warps) in ACCUMULATORS
    ]


@triton.autotune(configs=configurations(), key=["M", "N", "K"])
@triton.jit
def gemm_kernel(
    a, b, c, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr,
):  # fmt: skip
    """c = a @ b, row-major. Tiles are numbered down GROUP_M rows of tiles at a time, so that neighbours meet in L2."""
    tile = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    first = tile // (GROUP_M * tiles_n) * GROUP_M
    height = min(tiles_m - first, GROUP_M)
    row = (first + tile % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    col = tile % (GROUP_M * tiles_n) // height * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    a_place = a + (row % M)[:, None] * K + depth[None, :]
    b_place = b + depth[:, None] * N + (col % N)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for done in range(0, K, BLOCK_K):
        left = tl.load(a_place, mask=depth[None, :] < K - done, other=0.0)
        right = tl.load(b_place, mask=depth[:, None] < K - done, other=0.0)
        total = tl.dot(left, right, total)
        a_place += BLOCK_K
        b_place += BLOCK_K * N
    inside = (row < M)[:, None] & (col < N)[None, :]
    tl.store(c + row[:, None] * N + col[None, :], total.to(c.dtype.element_ty), mask=inside)


def operands(m: int = SIZE, n: int = SIZE, k: int = SIZE, dtype: str = DTYPE) -> tuple[Any, Any, Any]:
    """a, b and room for the product."""
    kind = getattr(torch, dtype)
    a, b = (torch.randn(shape, device="cuda", dtype=kind) for shape in ((m, k), (k, n)))
    return a, b, torch.empty(m, n, device="cuda", dtype=kind)


def multiply(a: Any, b: Any, c: Any) -> None:
    """c = a @ b."""
    (m, k), n = a.shape, b.shape[1]
    gemm_kernel[lambda meta: (triton.cdiv(m, meta["BLOCK_M"]) * triton.cdiv(n, meta["BLOCK_N"]),)](a, b, c, m, n, k)


def main() -> None:
    """Launch once, which has Triton benchmark its list; print what it chose from what."""
    a, b, c = operands()
    started = time.perf_counter()
    multiply(a, b, c)
    torch.cuda.synchronize()
    timings = gemm_kernel.configs_timings
    failed = [config for config, ms in timings.items() if ms[0] == float("inf")]
    picked = {**gemm_kernel.best_config.kwargs}
    picked |= {name: getattr(gemm_kernel.best_config, name) for name in ("num_warps", "num_stages")}
    tuning_s = time.perf_counter() - started
    print(json.dumps({"picked": picked, "configurations": len(timings), "failed": len(failed), "tuning_s": tuning_s}))


if __name__ == "__main__":
    main()
