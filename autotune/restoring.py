"""Restoring: a call that works in place, with the contents that its tensors are to have before each call.

When they are restored is up to the clocks in `bench/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autotune.errors import WorkloadError

Restore = Callable[[], None]


class Restoring:
    """The call, and copies of its tensors from when this was made; neither torch nor NumPy is imported."""

    def __init__(self, call: Callable[[], Any], *tensors: Any) -> None:
        if not callable(call):
            raise WorkloadError(f"restoring(…) got a {type(call).__name__} first; give the call: lambda: kernel(…).")
        if not tensors:
            raise WorkloadError("restoring(call) was given no tensor; name those that the call changes in place.")
        self.call = call
        """What is timed."""
        self._restores = [_restore(tensor) for tensor in tensors]
        self.on_gpu = all(getattr(tensor, "is_cuda", False) for tensor in tensors)
        """Whether restoring is work for the GPU alone, in torch's current stream."""

    def __call__(self) -> Any:
        """Call it, without restoring anything."""
        return self.call()

    def restore(self) -> None:
        """Give every tensor its initial contents; on a GPU this is enqueued and not waited for."""
        for restore in self._restores:
            restore()


def restoring(call: Callable[[], Any], *tensors: Any) -> Restoring:
    """What a workload yields whose call works in place: `yield autotune.restoring(lambda: kernel(x), x)`.

    Before each timed call, outside the timed interval, the tensors are given the contents that they have now. The same
    happens before the last call of all, so that what follows the yield finds the effect of exactly one.
    tensors: of torch, or arrays of NumPy or CuPy; all that the call changes.
    """
    return Restoring(call, *tensors)


def _restore(tensor: Any) -> Restore:
    if hasattr(tensor, "copy_") and hasattr(tensor, "clone"):
        bare = tensor.detach()  # a parameter that wants a gradient refuses to be written
        initial = bare.clone()
        return lambda: bare.copy_(initial)
    if hasattr(tensor, "copy") and hasattr(tensor, "dtype") and hasattr(tensor, "__setitem__"):
        return _restore_array(tensor)
    raise WorkloadError(
        f"restoring(call, …) was given a {type(tensor).__name__}; give torch tensors, or arrays of NumPy or CuPy."
    )


def _restore_array(array: Any) -> Restore:
    initial = array.copy()

    def restore() -> None:
        array[...] = initial

    return restore
