"""The GEMM of gemm_kernel.py, tuned by autotune as it stands, over its list alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gemm_kernel import DTYPE, SIZE, gemm_kernel, multiply, operands

import autotune
from autotune import Problem


@autotune.triton_autotuned(
    gemm_kernel,
    problems=[Problem(M=SIZE, N=SIZE, K=SIZE, dtype=DTYPE)],
    only_listed=True,
    flops=lambda problem: 2 * problem.M * problem.N * problem.K,
)
def gemm(problem: Problem) -> Iterator[Callable[[], Any]]:
    """C = A @ B, all three row-major."""
    a, b, c = operands(problem.M, problem.N, problem.K, problem.dtype)

    yield lambda: multiply(a, b, c)

    a.normal_(), b.normal_(), c.fill_(float("nan"))
    multiply(a, b, c)
    expected = a @ b
    error = (c - expected).norm() / expected.norm()
    assert error < 1e-2, f"relative error {error:.2g}"
