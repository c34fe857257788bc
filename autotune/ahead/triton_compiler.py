"""TritonCompiler: has Triton's own `kernel[grid](…)` compile for a GPU that is not here; knows Triton's insides.

For Triton 3.6 and later. What is compiled goes into Triton's cache on the disk, where the timing process finds it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autotune.ahead.fake_cuda import FakeCuda, capability
from autotune.device import Device

_STARTED_WITH = (
    "name",
    "num_warps",
    "num_ctas",
    "cluster_dims",
    "launch_cooperative_grid",
    "launch_pdl",
    "global_scratch_size",
    "profile_scratch_size",
    "tensordesc_meta",
)
"""Of a kernel's metadata, beside its binary and its shared memory."""

OnCompiler = Callable[[bool], None]


class TritonCompiler:
    """Compiles for one device every kernel that is launched in this process; installed for good."""

    def __init__(self, device: Device, cuda: FakeCuda) -> None:
        self._device, self._cuda = device, cuda
        self.on_compiler: OnCompiler = lambda _: None
        """Told when a compiler starts and ends: a crash or a hang in between is its doing."""
        self.refusal: BaseException | None = None
        """What the compiler raised last."""
        self.fresh = False
        """Whether anything was compiled that was not in the cache."""

    def install(self) -> None:
        """Before the file is loaded, which may ask Triton for its device already."""
        from triton import knobs
        from triton.runtime import driver
        from triton.runtime.jit import JITFunction

        driver.set_active(_Driver(self._device, self._cuda))
        compile_only = JITFunction.run

        def run(kernel: Any, *args: Any, grid: Any, warmup: bool = False, **kwargs: Any) -> Any:
            with self._compiling():
                compiled = compile_only(kernel, *args, grid=grid, warmup=True, **kwargs)
                compiled = compiled.result() if hasattr(compiled, "result") else compiled
                _build_launcher(compiled)
            if compiled is not None and not warmup:
                self._note(kernel, compiled, grid, args, kwargs)
            return compiled

        JITFunction.run = run
        knobs.compilation.listener = functools.partial(self._heard, knobs.compilation.listener)

    def warm(self) -> None:
        """Compute what every compilation asks for, once for all processes that are forked later: some seconds."""
        from triton.compiler.compiler import make_backend
        from triton.runtime import driver
        from triton.runtime.cache import triton_key

        for name in ("triton.compiler.code_generator", "triton.tools.tensor_descriptor", "triton.language.standard"):
            importlib.import_module(name)
        triton_key()
        backend = make_backend(driver.active.get_current_target())
        options = backend.parse_options({})
        for cached in (backend.hash, options.hash, lambda: backend.get_codegen_implementation(options)):
            with contextlib.suppress(Exception):  # its absence costs time, no more
                cached()

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        self.on_compiler(True)
        try:
            yield
        except BaseException as error:
            self.refusal = error
            raise
        finally:
            self.on_compiler(False)

    def _heard(self, other: Callable[..., None] | None, **compilation: Any) -> None:
        self.fresh |= not compilation.get("cache_hit")
        if other is not None:
            other(**compilation)

    def _note(self, kernel: Any, compiled: Any, grid: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A launch. What the compiler took for constant is in the binary, whatever its name in the configuration."""
        named = {name: value for name, value in kwargs.items() if name in kernel.signature.parameters}
        bound = kernel.signature.bind(*args, **named)
        bound.apply_defaults()
        types = compiled.src.signature
        given = {name: value for name, value in bound.arguments.items() if types.get(name) != "constexpr"}
        metadata = compiled.metadata
        self._cuda.trace.launch(
            compiled.kernel,
            metadata.shared,
            tuple(grid(dict(bound.arguments)) if callable(grid) else grid),
            [given[name] for name in given],
            [getattr(metadata, name, None) for name in _STARTED_WITH],
            self._cuda.stream,
        )


class _Driver:
    """Answers as Triton's driver of the device would; whatever else is asked needs the device."""

    def __init__(self, device: Device, cuda: FakeCuda) -> None:
        from triton.backends.compiler import GPUTarget

        major, minor = capability(device)
        self._device, self._cuda = device, cuda
        self._target = GPUTarget("cuda", 10 * major + minor, 32)
        self.utils = _Utils(device, cuda)

    def __getattr__(self, name: str) -> Any:
        return self._cuda.refuse(name)

    def is_active(self) -> bool:
        """As Triton's."""
        return True

    def get_current_target(self) -> Any:
        """As Triton's."""
        return self._target

    def get_current_device(self) -> int:
        """As Triton's."""
        return 0

    def set_current_device(self, device: int) -> None:
        """As Triton's."""

    def get_current_stream(self, device: int | None = None) -> int:
        """As Triton's."""
        return self._cuda.stream

    def get_device_capability(self, device: int | None = None) -> tuple[int, int]:
        """As Triton's."""
        return capability(self._device)

    def get_active_torch_device(self) -> Any:
        """As Triton's."""
        import torch

        return torch.device("cuda", 0)

    def get_device_interface(self) -> Any:
        """As Triton's."""
        import torch

        return torch.cuda


class _Utils:
    """The part of the driver that knows the device's limits."""

    def __init__(self, device: Device, cuda: FakeCuda) -> None:
        self._device, self._cuda = device, cuda

    def __getattr__(self, name: str) -> Any:
        return self._cuda.refuse(name)

    def get_device_properties(self, device: int = 0) -> dict[str, int | None]:
        """As Triton's."""
        return {
            "max_shared_mem": self._device.shared_memory_per_block_bytes,
            "max_num_regs": self._device.registers_per_block,
            "multiprocessor_count": self._device.multiprocessors,
            "warpSize": 32,
        }


def _build_launcher(compiled: Any) -> None:
    """Triton 3.6 has the C compiler make a module for each signature; into its cache with that one, too."""
    from triton.backends.nvidia import driver

    if compiled is not None and hasattr(driver, "make_launcher"):
        with contextlib.suppress(Exception):  # the timing process will say what is wrong
            driver.CudaLauncher(compiled.src, compiled.metadata)
