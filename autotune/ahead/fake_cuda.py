"""FakeCuda: lets a body run where there is no GPU, with tensors without memory and answers from the Device.

What cannot be answered raises CannotCompileAhead: such a configuration is compiled on its device, as ever.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from autotune.ahead.trace import Trace
from autotune.device import Device

_ZERO = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved")
_NOTHING = ("synchronize", "empty_cache", "ipc_collect", "init", "reset_peak_memory_stats", "set_device")


class CannotCompileAhead(RuntimeError):
    """The body asks for what only the device has."""


class FakeCuda:
    """The `torch.cuda` of a process without GPU; installed for good, since the process serves nothing else."""

    def __init__(self, device: Device) -> None:
        import torch

        self._torch, self._device = torch, device
        self.trace = Trace()
        """Renewed by `start`."""
        self._streams = count()
        self._stream = _Stream(self, next(self._streams))

    @property
    def stream(self) -> int:
        """The handle of the current stream."""
        return self._stream.cuda_stream

    def install(self) -> None:
        """Replace what torch would ask the driver; before the file is loaded, which may ask already."""
        cuda = self._torch.cuda
        for name in _NOTHING:
            setattr(cuda, name, lambda *_: None)
        for name in _ZERO:
            setattr(cuda, name, lambda *_: 0)
        for name, answer in self._answers().items():
            setattr(cuda, name, answer)
        cuda._lazy_init = self.refuse
        self._torch.Generator = _generator(self._torch)
        self._install_tensors()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within, tensors are fakes, and every operation on them is noted."""
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode(allow_non_fake_inputs=True), _recorder(self.trace):
            yield

    def warm(self, *, spare_dynamo: bool) -> None:
        """Have torch import and build what it needs for this, once for all processes that are forked later.

        spare_dynamo: leave out torch's own compiler, which takes a second to import, where the file does not use it.
        """
        if spare_dynamo:
            _spare_dynamo(self._torch)
        with self.running():
            one = self._torch.randn(16, 16, device="cuda", dtype=self._torch.bfloat16)
            other = self._torch.full((16, 16), 0.0, device="cuda", dtype=one.dtype)
            _ = (one @ other).float().sum(), self._torch.empty_like(one).normal_()
        self.trace = Trace()

    def note_settings(self) -> None:
        """What a body may have set that changes how torch computes."""
        torch = self._torch
        cudnn = torch.backends.cudnn
        self.trace.note(
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
            torch.get_num_threads(),
        )

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """A body may catch it and go another way than on the device: then its trace says nothing."""
        self.trace.opaque = True
        raise CannotCompileAhead("it needs the device itself while it prepares")

    def _answers(self) -> dict[str, Callable[..., Any]]:
        """Functions of `torch.cuda` by name."""
        properties = _properties(self._device)
        memory = self._device.memory_bytes
        return {
            "is_available": lambda: True,
            "is_bf16_supported": lambda *_, **__: properties.major >= 8,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "get_device_properties": lambda *_: properties,
            "get_device_capability": lambda *_: (properties.major, properties.minor),
            "get_device_name": lambda *_: properties.name,
            "mem_get_info": lambda *_: (memory, memory),
            "current_stream": lambda *_: self._stream,
            "default_stream": lambda *_: _Stream(self, 0),
            "Stream": lambda *_, **__: _Stream(self, next(self._streams)),
            "Event": lambda *_, **__: _Event(self),
            "stream": self._on,
            "set_stream": self._switch,
            "device": lambda *_: contextlib.nullcontext(),
            "CUDAGraph": self.refuse,
            "graph": self.refuse,
        }

    def _install_tensors(self) -> None:
        """Fakes that never reach for a device, with the address that the real tensor would have in its allocation.

        Allocations of torch start at multiples of 512 bytes, which is all that a compiler may ask of an address.
        """
        fakes: Any = importlib.import_module("torch._subclasses.fake_tensor")
        fakes.init_gpu_context = lambda *_: None
        fakes.FakeTensorMode.avoid_device_init = property(lambda _: True)
        fakes.FakeTensor.data_ptr = lambda tensor: tensor.storage_offset() * tensor.element_size()

    @contextlib.contextmanager
    def _on(self, stream: _Stream | None) -> Iterator[None]:
        before = self._stream
        self._switch(stream)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, stream: _Stream | None) -> None:
        if stream is not None:
            self._stream = stream
            self.trace.note("stream", stream.cuda_stream)


class _Stream:
    """Work on it is only noted."""

    def __init__(self, owner: FakeCuda, number: int) -> None:
        self._owner = owner
        self.cuda_stream = self.stream_id = number
        self.device_index = 0

    def record_event(self, event: _Event | None = None) -> _Event:
        """As torch's."""
        return event or _Event(self._owner)

    def wait_stream(self, stream: _Stream) -> None:
        """As torch's."""
        self._owner.trace.note("wait", self.cuda_stream, stream.cuda_stream)

    def wait_event(self, event: _Event) -> None:
        """As torch's."""
        self._owner.trace.note("wait", self.cuda_stream)

    def synchronize(self) -> None:
        """As torch's."""
        self._owner.trace.note("synchronize", self.cuda_stream)

    def query(self) -> bool:
        """As torch's."""
        return True


class _Event:
    """Can be recorded and waited for; a time can only be read on the device."""

    def __init__(self, owner: FakeCuda) -> None:
        self._owner = owner
        self.elapsed_time = owner.refuse

    def record(self, stream: _Stream | None = None) -> None:
        """As torch's."""
        self._owner.trace.note("record", stream.cuda_stream if stream else None)

    wait = record

    def synchronize(self) -> None:
        """As torch's."""

    def query(self) -> bool:
        """As torch's."""
        return True


def _spare_dynamo(torch: Any) -> None:
    """A torch._dynamo whose modules load one by one: fake tensors ask for its settings, and all of it takes a second.

    A body that needs it all the same raises, and is compiled on its device.
    """
    if "torch._dynamo" not in sys.modules:
        package: Any = ModuleType("torch._dynamo")
        package.__path__ = [str(Path(torch.__file__).with_name("_dynamo"))]
        package.disable = lambda function, *_, **__: function
        sys.modules["torch._dynamo"] = torch._dynamo = package


def capability(device: Device) -> tuple[int, int]:
    """(9, 0) for sm_90, (12, 0) for sm_120."""
    number = int(device.arch.removeprefix("sm_").rstrip("af"))
    return number // 10, number % 10


def _properties(device: Device) -> SimpleNamespace:
    """What torch.cuda.get_device_properties has, as far as it is known; another attribute raises AttributeError."""
    major, minor = capability(device)
    known = {
        "total_memory": device.memory_bytes,
        "multi_processor_count": device.multiprocessors,
        "shared_memory_per_block_optin": device.shared_memory_per_block_bytes,
        "regs_per_multiprocessor": device.registers_per_block,
        "L2_cache_size": device.l2_bytes,
    }
    given = {name: value for name, value in known.items() if value is not None}
    return SimpleNamespace(name=device.name, major=major, minor=minor, warp_size=32, **given)


def _generator(torch: Any) -> type:
    """Random numbers are never drawn, so that one of the CPU will do."""

    class Generator(torch.Generator):  # type: ignore[misc]
        def __new__(cls, device: Any = None) -> Any:
            return super().__new__(cls, "cpu")

    return Generator


def _recorder(trace: Trace) -> Any:
    """Notes every operation of torch with its arguments."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            trace.note(str(operation), args, kwargs or {})
            return operation(*args, **(kwargs or {}))

    return Recorder()
