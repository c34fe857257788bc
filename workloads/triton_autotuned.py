"""A kernel as people have it, under @triton.autotune, tuned as it stands: 8 configurations are listed, 192 searched."""

import torch
import triton
import triton.language as tl

import autotune
from autotune import Problem, SearchSpace


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "GROUP_M": 8}, num_stages=3, num_warps=8),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 256, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=4, num_warps=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=4, num_warps=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=4, num_warps=4),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 128, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=4, num_warps=4),
        triton.Config({"BLOCK_M": 128, "BLOCK_N": 32, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=4, num_warps=4),
        triton.Config({"BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=5, num_warps=2),
        triton.Config({"BLOCK_M": 32, "BLOCK_N": 64, "BLOCK_K": 32, "GROUP_M": 8}, num_stages=5, num_warps=2),
    ],
    key=["M", "N", "K"],
)
@triton.jit
def matmul_kernel(
    a, b, c, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, GROUP_M: tl.constexpr,
):  # fmt: skip
    """c = leaky_relu(a @ b), all row-major."""
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    first = pid // (GROUP_M * tiles_n) * GROUP_M
    height = min(tiles_m - first, GROUP_M)
    row = (first + pid % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    col = pid % (GROUP_M * tiles_n) // height * BLOCK_N + tl.arange(0, BLOCK_N)
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
    total = tl.where(total >= 0, total, 0.01 * total)
    inside = (row < M)[:, None] & (col < N)[None, :]
    tl.store(c + row[:, None] * N + col[None, :], total.to(c.dtype.element_ty), mask=inside)


def matmul(a, b, c):
    """The function that a program calls; `autotune.use_tuned` has it launch what was tuned."""
    (M, K), N = a.shape, b.shape[1]

    def grid(meta):
        return (triton.cdiv(M, meta["BLOCK_M"]) * triton.cdiv(N, meta["BLOCK_N"]),)

    matmul_kernel[grid](a, b, c, M, N, K)
    return c


def fits_registers(config):
    """Pointless: each thread would accumulate more values than it has registers for."""
    values = config.BLOCK_M * config.BLOCK_N // (32 * config.num_warps)
    return values <= 128


@autotune.triton_autotuned(
    matmul_kernel,
    problems=[Problem(M=m, N=4096, K=4096, dtype="float16") for m in (4096, 512)],
    space=SearchSpace().where(fits_registers),
    timeout_s=60,
    flops=lambda problem: 2 * problem.M * problem.N * problem.K,
)
def triton_autotuned(problem):
    """C = leaky_relu(A @ B), all three row-major."""
    dtype = getattr(torch, problem.dtype)
    a = torch.randn(problem.M, problem.K, device="cuda", dtype=dtype)
    b = torch.randn(problem.K, problem.N, device="cuda", dtype=dtype)
    c = torch.full((problem.M, problem.N), float("nan"), device="cuda", dtype=dtype)

    yield lambda: matmul(a, b, c)

    a.normal_(), b.normal_(), c.fill_(float("nan"))
    expected = torch.nn.functional.leaky_relu(a.float() @ b.float(), 0.01)
    error = (matmul(a, b, c).float() - expected).norm() / expected.norm()
    assert error < 1e-2, f"relative error {error:.2g}"
