"""One core for linear algebra: matrices here are small, and threads that wait for each other cost more than they do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


def one_core() -> AbstractContextManager[object]:
    """While it lasts, BLAS runs in the calling thread alone; on two busy cores a proposal took 30 times as long."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    """Of the libraries that numpy and scipy brought, which are loaded by now; to look for them takes milliseconds."""
    return ThreadpoolController()
