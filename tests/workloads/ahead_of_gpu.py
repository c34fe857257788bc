"""Triton kernels for a GPU that need not be there: what can be compiled ahead of it, and what cannot."""

import random

import torch
import triton
import triton.language as tl

import autotune
from autotune import SearchSpace, choice

MODES = (
    "scaled",
    "asks",
    "twice",
    "by_value",
    "needs_value",
    "needs_device",
    "launches_nothing",
    "does_not_compile",
    "too_large",
    "agrees",
    "misaligned",
)
DEVICE = triton.runtime.driver.active.get_active_torch_device()  # as Triton's own tutorials do
HERE, HERE16 = torch.zeros(64), torch.zeros(64, dtype=torch.float16)


@triton.jit
def scale(source, target, n, factor, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at, mask=at < n) * factor, mask=at < n)


@triton.jit
def product(a, b, c, K, SIZE: tl.constexpr):
    rows = tl.arange(0, SIZE)
    tile = rows[:, None] * SIZE + rows[None, :]
    total = tl.zeros((SIZE, SIZE), dtype=tl.float32)
    for k in range(K):
        total = tl.dot(tl.load(a + tile + k), tl.load(b + tile + k), total)
    tl.store(c + tile, total)


@triton.jit
def nonsense(target, BLOCK: tl.constexpr):
    tl.store(target + tl.arange(0, BLOCK), tl.no_such_operation(BLOCK))


def specialized(*args):
    """What Triton makes of arguments before it looks into its cache."""
    *_, bind = scale.device_caches[0]
    return bind(*args, BLOCK=64)[1]


def agree(x):
    """Of what Triton sees, that a fake is a real tensor, wherever it begins."""
    for real, fake in ((HERE, x), (since(HERE, 1), since(x, 1)), (since(HERE, 4), since(x, 4)), (HERE16, x.half())):
        assert specialized(real, real, 64, 1.0) == specialized(fake, fake, 64, 1.0)
    assert specialized(x, since(x, 1), 64, 1.0) != specialized(x, since(x, 4), 64, 1.0)


def since(x, first):
    """As x[first:], which a torch without CUDA refuses for a tensor on a GPU."""
    return x.narrow(0, first, x.numel() - first)


@autotune.workload(
    space=SearchSpace(mode=choice(*MODES), stages=choice(1, 2, 3, 4), factor=choice(1.0, 2.0)), gpus=1, timeout_s=60
)
def ahead_of_gpu(problem, config):
    assert torch.cuda.get_device_capability() == (9, 0)
    assert torch.cuda.is_available()
    x = torch.randn(4096, device=DEVICE)
    y = torch.empty_like(x)

    def run(source=x, n=4096):
        meta = {"BLOCK": 256, "num_stages": config.stages}
        scale[lambda given: (triton.cdiv(n, given["BLOCK"]),)](source, y, n, config.factor, **meta)

    def calls():
        if config.mode == "needs_value":
            run(n=int(x.sum()))
        if config.mode == "needs_device":
            torch.cuda.CUDAGraph()
        if config.mode == "does_not_compile":
            nonsense[(1,)](y, BLOCK=16)
        if config.mode == "too_large":
            half = torch.empty(256 * 256 * 2, device=DEVICE, dtype=torch.float16)
            product[(1,)](half, half, half.float(), 64, SIZE=256, num_stages=4, num_warps=8)
        if config.mode != "launches_nothing":
            run(since(x, 1) if config.mode == "misaligned" else x)
        if config.mode == "twice":
            x.mul_(2.0)
            run()

    if config.mode == "asks":
        properties = torch.cuda.get_device_properties(DEVICE)
        limits = triton.runtime.driver.active.utils.get_device_properties(DEVICE.index)
        assert properties.multi_processor_count == limits["multiprocessor_count"] == 132
        assert limits["max_shared_mem"] == 232448
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.synchronize()
    if config.mode == "agrees":
        agree(x)
    if config.mode == "by_value":
        y += torch.tensor([config.factor])[0] * random.randint(1, 1)
    yield calls
