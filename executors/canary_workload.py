"""The canary: a workload whose result is known beforehand, by torch, the CUDA driver, or plain Python on the CPU.

It says whether a device still computes and remembers; how fast is nobody's concern. `canary.py` decides when it is run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from importlib.util import find_spec
from typing import Any

import autotune
from autotune.space import SearchSpace, choice
from autotune.values import Config, Problem

SIZE = 512
"""Of the matrices: their products are whole numbers that every kind of float can hold."""
PATTERN, WORDS = 0x5EED5EED, 1 << 20
TIMEOUT_S = 60.0

Calls = Generator[Callable[[], Any], None, None]


@autotune.workload(space=SearchSpace(on=choice("cpu", "gpu")), timeout_s=TIMEOUT_S)
def canary(problem: Problem, config: Config) -> Calls:
    """A few whole numbers, which must come back as they are known to be."""
    if config.on == "cpu":
        yield from _in_python()
    elif find_spec("torch"):
        yield from _with_torch()
    else:
        yield from _with_the_driver()


def _in_python() -> Calls:
    results: list[int] = []
    yield lambda: results.append(sum(n * n for n in range(10_000)))
    assert set(results) == {333_283_335_000}, f"the sum of the squares below 10,000 came out as {results[-1]}"


def _with_torch() -> Calls:
    import torch

    rows = torch.arange(SIZE, device="cuda", dtype=torch.float32) % 7
    left, right = rows[:, None].expand(SIZE, SIZE).contiguous(), torch.ones(SIZE, SIZE, device="cuda")
    results: list[torch.Tensor] = []
    yield lambda: results.append(left @ right)
    wrong = int((results[-1] != SIZE * rows[:, None]).sum())
    assert wrong == 0, f"{wrong} of {SIZE * SIZE} elements of a product of whole numbers are wrong"


def _with_the_driver() -> Calls:
    """A pattern that is written on the device, copied there, and read back."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, first, second = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint64()
    device = ctypes.c_int()
    _check(cuda.cuInit(0), "cuInit")
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    _check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    size = ctypes.c_size_t(4 * WORDS)
    for buffer in (first, second):
        _check(cuda.cuMemAlloc_v2(ctypes.byref(buffer), size), "cuMemAlloc")

    def write_and_copy() -> None:
        _check(cuda.cuMemsetD32_v2(first, ctypes.c_uint(PATTERN), ctypes.c_size_t(WORDS)), "cuMemsetD32")
        _check(cuda.cuMemcpyDtoD_v2(second, first, size), "cuMemcpyDtoD")

    yield write_and_copy
    found = (ctypes.c_uint * WORDS)()
    _check(cuda.cuMemcpyDtoH_v2(found, second, size), "cuMemcpyDtoH")
    for buffer in (first, second):
        _check(cuda.cuMemFree_v2(buffer), "cuMemFree")
    wrong = sum(word != PATTERN for word in found)
    assert wrong == 0, f"{wrong} of {WORDS} words of device memory came back wrong"


def _check(status: int, function: str) -> None:
    if status:
        raise RuntimeError(f"{function} returned CUresult {status}")
