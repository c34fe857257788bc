"""Libcuda: the few calls of the CUDA driver that clocks need beside torch, or instead of it; nothing is timed here.

They act on the calling thread's current context. Signatures and constants are those of cuda.h.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from ctypes import byref, c_int, c_size_t, c_ubyte, c_uint64, c_ulonglong, c_void_p

LIBRARY = "libcuda.so.1"

CAPTURE_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is neither captured nor refused."""
AUTO_FREE_ON_LAUNCH = 1
"""CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH: memory that a graph allocates does not pile up with its launches."""


class CudaDriver:
    """Raises RuntimeError with the driver's name for what failed."""

    NO_CONTEXT = frozenset({3, 4, 201})  # not initialised, deinitialised, invalid context: nothing can be under way

    def __init__(self) -> None:
        self.cuda = ctypes.CDLL(LIBRARY)

    def synchronize(self) -> None:
        """Wait for every stream of the context, where there is one."""
        status = self.cuda.cuCtxSynchronize()
        if status not in self.NO_CONTEXT:
            self.check(status)

    def begin_capture(self, stream: int) -> None:
        """From here on the stream's work is written down, not done."""
        self.check(self.cuda.cuStreamBeginCapture_v2(c_void_p(stream), c_int(CAPTURE_THREAD_LOCAL)))

    def end_capture(self, stream: int) -> int:
        """The graph; raises where anything happened that cannot be captured. The stream works again in any case."""
        graph = c_void_p()
        self.check(self.cuda.cuStreamEndCapture(c_void_p(stream), byref(graph)))
        return graph.value or 0

    def abandon_capture(self, stream: int) -> None:
        """End it, whatever its state."""
        with suppress(RuntimeError):
            self.destroy_graph(self.end_capture(stream))

    def nodes(self, graph: int) -> int:
        """Kernels, copies and the like in a graph."""
        count = c_size_t()
        self.check(self.cuda.cuGraphGetNodes(c_void_p(graph), None, byref(count)))
        return count.value

    def instantiate(self, graph: int) -> int:
        """The graph in a form that can be launched."""
        executable = c_void_p()
        flags = c_ulonglong(AUTO_FREE_ON_LAUNCH)
        self.check(self.cuda.cuGraphInstantiateWithFlags(byref(executable), c_void_p(graph), flags))
        return executable.value or 0

    def upload(self, executable: int, stream: int) -> None:
        """Do now what the first launch would do besides."""
        self.check(self.cuda.cuGraphUpload(c_void_p(executable), c_void_p(stream)))

    def launch(self, executable: int, stream: int) -> None:
        """Enqueue the whole graph."""
        self.check(self.cuda.cuGraphLaunch(c_void_p(executable), c_void_p(stream)))

    def destroy_graph(self, graph: int) -> None:
        """What was instantiated from it stays."""
        if graph:
            self.cuda.cuGraphDestroy(c_void_p(graph))

    def destroy_executable(self, executable: int) -> None:
        """Must not be under way."""
        self.cuda.cuGraphExecDestroy(c_void_p(executable))

    def zeroes(self, size: int) -> Zeroes:
        """A buffer to be zeroed on the legacy default stream."""
        return Zeroes(self, size)

    def check(self, status: int) -> None:
        """Raise what a CUresult other than 0 means."""
        if status:
            name, text = ctypes.c_char_p(), ctypes.c_char_p()
            self.cuda.cuGetErrorName(status, byref(name))
            self.cuda.cuGetErrorString(status, byref(text))
            raise RuntimeError(f"{(name.value or b'CUDA error').decode()}: {(text.value or b'').decode()}")


class Zeroes:
    """Flushes the L2 without torch: zeroes a buffer, which is there from the first time on."""

    def __init__(self, driver: CudaDriver, size: int) -> None:
        self._driver, self._size, self._buffer = driver, c_size_t(size), c_uint64()

    def __call__(self) -> None:
        """Enqueue it; does nothing where the size is 0 or the thread has no context."""
        if not self._size.value:
            return
        cuda = self._driver.cuda
        if not self._buffer.value:
            self._check(cuda.cuMemAlloc_v2(byref(self._buffer), self._size))
        if self._buffer.value:
            self._check(cuda.cuMemsetD8_v2(self._buffer, c_ubyte(0), self._size))

    def free(self) -> None:
        """Give the buffer back; a context that the workload destroyed has done so already."""
        if self._buffer.value:
            self._driver.cuda.cuMemFree_v2(self._buffer)
            self._buffer = c_uint64()

    def _check(self, status: int) -> None:
        if status not in CudaDriver.NO_CONTEXT:
            self._driver.check(status)
