"""Flush: takes the L2 away from a call before it is timed, through torch; without torch see `libcuda.py`."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary


class Flush:
    """Zeroes a buffer larger than the L2, in torch's current stream.

    All clocks of a process that are in use share one buffer per device: those of a round are many, and it is large.
    """

    def __init__(self, torch: Any, size: int) -> None:
        self._torch, self._size = torch, size
        self._buffer: _Buffer | None = None

    def __bool__(self) -> bool:
        return self._size > 0

    def __call__(self) -> None:
        """Enqueue it; does nothing where the size is 0."""
        if self._size and self._buffer is None:
            self._buffer = _shared(self._torch, self._size)
        if self._buffer is not None:
            self._buffer.tensor.zero_()

    def free(self) -> None:
        """The buffer goes with the last clock that used it."""
        self._buffer = None


class _Buffer:
    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


_in_use: WeakValueDictionary[tuple[int, int, int], _Buffer] = WeakValueDictionary()


def _shared(torch: Any, size: int) -> _Buffer:
    key = (id(torch), torch.cuda.current_device(), size)
    buffer = _in_use.get(key)
    if buffer is None:
        buffer = _in_use[key] = _Buffer(torch.empty(size, dtype=torch.int8, device="cuda"))
    return buffer
