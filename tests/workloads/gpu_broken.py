"""What can go wrong on a GPU, each in a configuration of its own; torch and triton."""

import time

import torch
import triton
import triton.language as tl

import autotune
from autotune import SearchSpace, choice

MODES = (
    "good",
    "out_of_memory",
    "illegal_access",
    "device_assert",
    "shared_memory",
    "does_not_compile",
    "hangs",
    "wrong",
    "late_error",
)


@triton.jit
def copy(source, target, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at, mask=at < n), mask=at < n)


@triton.jit
def stray(target, BLOCK: tl.constexpr):
    tl.store(target + tl.arange(0, BLOCK).to(tl.int64) + (1 << 44), 1.0)


@triton.jit
def product(a, b, c, K, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):
    rows, columns, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, STEP)
    total = tl.zeros((M, N), dtype=tl.float32)
    for k in range(0, K, STEP):
        left = tl.load(a + rows[:, None] * K + (k + inner)[None, :])
        right = tl.load(b + (k + inner)[:, None] * N + columns[None, :])
        total = tl.dot(left, right, total)
    tl.store(c + rows[:, None] * N + columns[None, :], total)


@triton.jit
def nonsense(target, BLOCK: tl.constexpr):
    tl.store(target + tl.arange(0, BLOCK), tl.no_such_operation(BLOCK))


def calls(mode, x, y):
    half = x.half()
    return {
        "good": lambda: copy[(x.numel() // 1024,)](x, y, x.numel(), BLOCK=1024),
        "wrong": lambda: copy[(x.numel() // 1024,)](x, y, x.numel() // 2, BLOCK=1024),
        "out_of_memory": lambda: torch.empty(1 << 45, device="cuda", dtype=torch.int8),
        "illegal_access": lambda: stray[(1,)](y, BLOCK=128),
        "device_assert": lambda: x[torch.full((1,), 1 << 40, device="cuda")],
        "shared_memory": lambda: product[(1,)](half, half, y, 1024, M=256, N=256, STEP=128, num_stages=4, num_warps=8),
        "does_not_compile": lambda: nonsense[(1,)](y, BLOCK=16),
        # Some 30 s: long enough to be killed, and it ends by itself where the kill fails.
        "hangs": lambda: torch.cuda._sleep(60_000_000_000),
        "late_error": lambda: copy[(x.numel() // 1024,)](x, y, x.numel(), BLOCK=1024),
    }[mode]


@autotune.workload(space=SearchSpace(mode=choice(*MODES)), gpus=1, timeout_s=8)
def gpu_broken(problem, config):
    x = torch.randn(1 << 20, device="cuda")
    y = torch.zeros_like(x)
    outside = torch.full((1,), (1 << 40) * (config.mode == "late_error"), device="cuda")
    yield calls(config.mode, x, y)
    torch.testing.assert_close(x, y)
    if config.mode == "late_error":  # nobody waits for it but the clock
        x[outside]


@autotune.workload(space=SearchSpace(ms=choice(1, 5), where=choice("current", "side")), gpus=1)
def spinning(problem, config):
    """Keeps the device busy for a time, on the current stream or on one that nothing waits for."""
    cycles = int(config.ms / 1e3 * 1e9)
    side = torch.cuda.Stream()

    def on_side():
        with torch.cuda.stream(side):
            torch.cuda._sleep(cycles)

    yield on_side if config.where == "side" else lambda: torch.cuda._sleep(cycles)


@autotune.workload(space=SearchSpace(n=choice(1, 1 << 22)), gpus=1)
def adding(problem, config):
    """One element-wise kernel, and a metric that is a scalar on the device."""
    x = torch.ones(config.n, device="cuda")
    yield lambda: {"first": x.add_(0)[0], "host": time.perf_counter()}
    assert x[0] == 1
