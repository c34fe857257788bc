"""A GPU that is made up: as much of torch and of libcuda as the clocks use, over a device time that is a counter's."""

import time
from contextlib import contextmanager
from types import SimpleNamespace

INVALIDATED = 901  # CUDA_ERROR_STREAM_CAPTURE_INVALIDATED


class Gpu:
    """Stands for the module torch. Work is captured where a stream captures, else it passes device time at once."""

    def __init__(self, flush_ms=0.03, start_ms=0.007, drift=0.0, overhang_s=0.0):
        self.flush_ms, self.start_ms, self.drift, self.overhang_s = flush_ms, start_ms, drift, overhang_s
        self.now_ms, self.busy, self.flushes, self.buffers = 0.0, False, 0, []
        self.graphs, self.executables, self.captured, self.broken = {}, {}, None, False
        self.log, self.pools, self.current = [], [], 0
        self.int8 = "int8"
        self.cuda = SimpleNamespace(
            Event=self._event,
            synchronize=self._synchronize,
            is_initialized=lambda: True,
            current_device=lambda: 0,
            current_stream=lambda: SimpleNamespace(cuda_stream=self.current),
            Stream=lambda device: SimpleNamespace(cuda_stream=77),
            stream=self._on,
            MemPool=lambda: SimpleNamespace(id=(0, 1)),
        )
        self._C = SimpleNamespace(
            _cuda_beginAllocateToPool=lambda device, pool: self.pools.append(pool),
            _cuda_endAllocateToPool=lambda device, pool: self.pools.remove(pool),
            _cuda_releasePool=lambda device, pool: None,
        )

    def work(self, ms):
        """A kernel."""
        if self.captured is not None:
            self.captured.append(ms)
        else:
            self._pass(ms)

    def aside(self, ms):
        """A kernel on a stream that does not follow the current one: no capture sees it, nor does an event."""
        self.busy = True

    def _pass(self, ms):
        self.now_ms += ms * (1 + self.drift * self.now_ms)
        self.busy = True

    def _event(self, enable_timing):
        event = SimpleNamespace(ms=0.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "ms", self.now_ms)
        event.elapsed_time = lambda other: other.ms - event.ms
        return event

    def _synchronize(self):
        if self.captured is not None:
            self.broken = True
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        time.sleep(self.overhang_s if self.busy else 0)
        self.busy = False

    @contextmanager
    def _on(self, stream):
        before, self.current = self.current, stream.cuda_stream
        try:
            yield
        finally:
            self.current = before

    def empty(self, count, dtype, device):
        self.buffers.append(count)
        return SimpleNamespace(zero_=self._flush)

    def zeros(self, count, device):
        self.log.append("zeros")

    def _flush(self):
        self.flushes += 1
        self.work(self.flush_ms)


class Libcuda:
    """The driver of that GPU, called as ctypes calls it."""

    def __init__(self, gpu):
        self.gpu = gpu

    def cuStreamBeginCapture_v2(self, stream, mode):
        assert stream.value, "the legacy stream cannot be captured"
        self.gpu.captured, self.gpu.broken = [], False
        return 0

    def cuStreamEndCapture(self, stream, out):
        work, self.gpu.captured = self.gpu.captured, None
        if self.gpu.broken:
            return INVALIDATED
        out._obj.value = self._keep(self.gpu.graphs, work)
        return 0

    def cuGraphGetNodes(self, graph, nodes, out):
        out._obj.value = len(self.gpu.graphs[graph.value])
        return 0

    def cuGraphInstantiateWithFlags(self, out, graph, flags):
        out._obj.value = self._keep(self.gpu.executables, self.gpu.graphs[graph.value])
        return 0

    def cuGraphUpload(self, executable, stream):
        self.gpu.log.append("upload")
        return 0

    def cuGraphLaunch(self, executable, stream):
        self.gpu.log.append("launch")
        self.gpu._pass(self.gpu.start_ms + sum(self.gpu.executables[executable.value]))
        return 0

    def cuGraphDestroy(self, graph):
        del self.gpu.graphs[graph.value]
        return 0

    def cuGraphExecDestroy(self, executable):
        del self.gpu.executables[executable.value]
        return 0

    def cuGetErrorName(self, status, out):
        out._obj.value = b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
        return 0

    cuGetErrorString = cuGetErrorName

    def _keep(self, table, work):
        table[len(self.gpu.log) + len(table) + 1 + max(table, default=0)] = work
        return max(table)
