"""Compiling ahead: what a configuration compiles to, found out without a GPU; in which process, `executors/` say."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autotune.bench.body import seed
from autotune.bench.compile_hook import check_size, compile_by_hook
from autotune.bench.diagnosis import TooLarge, diagnose
from autotune.bench.phases import COMPILE
from autotune.device import Device
from autotune.measurement import Failure, FailureKind, outcome_from_json
from autotune.trial import Trial, WorkloadReference
from autotune.workload import Binary, Workload, load_one, source_files

if TYPE_CHECKING:
    from autotune.ahead.fake_cuda import FakeCuda
    from autotune.ahead.trace import Trace
    from autotune.ahead.triton_compiler import TritonCompiler

_REFUSALS = (FailureKind.COMPILE, FailureKind.INVALID)

OnCompiler = Callable[[bool], None]
"""Told when a compiler is entered and left: a hang or a crash in between is its own, any other is the body's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What came of compiling a configuration ahead: a binary, a failure, or neither: its device will compile it."""

    binary: Binary | None = None
    failure: Failure | None = None
    fresh: bool = False
    """Whether a compiler was at work, so that the time it took says something about compilers."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        binary, failure = self.binary, self.failure
        return {
            "binary": [binary.digest, binary.shared_memory_bytes] if binary else None,
            "failure": failure.to_json() if failure else None,
            "fresh": self.fresh,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        digest, shared = data["binary"] or (None, 0)
        failure = outcome_from_json(data["failure"]) if data["failure"] else None
        return cls(
            binary=None if digest is None else Binary(digest=digest, shared_memory_bytes=shared),
            failure=failure if isinstance(failure, Failure) else None,
            fresh=data["fresh"],
        )


class AheadCompiler:
    """Compiles configurations of one workload for one device, in a process that is kept for nothing else.

    The process is changed for good: its torch and Triton believe in a GPU that is not there. What the file needs of
    both is made ready here, by what is written in it; `load` runs it.
    """

    def __init__(self, path: Path, device: Device) -> None:
        self._path, self._device = path, device
        self._cuda: FakeCuda | None = None
        self._triton: TritonCompiler | None = None
        self._workload: Workload | None = None
        if self._is_gpu and _mentions(path, b"triton"):  # it may ask for the device on its top level
            with contextlib.suppress(ImportError):
                self._install()

    def load(self, reference: WorkloadReference) -> None:
        """Run the file. Raises WorkloadChanged where it is another version now, WorkloadError where it fails."""
        self._workload = load_one(reference)
        if self._is_gpu and self._triton is None and self._workload.compile is None and "triton" in sys.modules:
            self._install()

    @property
    def serves(self) -> bool:
        """Whether there is anything to compile ahead of a trial."""
        return self._workload is not None and (self._workload.compile is not None or self._triton is not None)

    def compile(self, trial: Trial, on_compiler: OnCompiler = lambda _: None) -> Compiled:
        """To be called once in a process: what the body leaves behind is not cleared away."""
        if self._workload is not None and self._workload.compile is not None:
            return self._by_hook(self._workload, trial, on_compiler)
        if self._workload and self._cuda and self._triton:
            return self._by_body(self._workload, trial, self._cuda, self._triton, on_compiler)
        return Compiled()

    @property
    def _is_gpu(self) -> bool:
        return self._device.arch.startswith("sm_")

    def _install(self) -> None:
        """And do now what each compilation would do again in a process forked from this one."""
        from autotune.ahead.fake_cuda import FakeCuda
        from autotune.ahead.triton_compiler import TritonCompiler

        self._cuda = FakeCuda(self._device)
        self._cuda.install()
        self._triton = TritonCompiler(self._device, self._cuda)
        self._triton.install()
        self._cuda.warm(spare_dynamo=not _mentions(self._path, b"torch.compile", b"_dynamo"))
        self._triton.warm()

    def _by_hook(self, workload: Workload, trial: Trial, on_compiler: OnCompiler) -> Compiled:
        """The trial's own process calls the hook as well: what is not a compiler's refusal is told there."""
        on_compiler(True)
        try:
            return Compiled(binary=compile_by_hook(workload, trial, self._device), fresh=True)
        except Exception as error:
            failure = diagnose(error, COMPILE, self._device)
            return Compiled(failure=failure if failure.kind in _REFUSALS else None, fresh=True)
        finally:
            on_compiler(False)

    def _by_body(
        self, workload: Workload, trial: Trial, cuda: FakeCuda, triton: TritonCompiler, on_compiler: OnCompiler
    ) -> Compiled:
        """Whatever goes wrong without the device may go well with it, save what a compiler refuses."""
        triton.on_compiler, trace = on_compiler, cuda.trace
        seed(trial.seed)
        try:
            with cuda.running():
                next(workload(trial.problem, trial.config))()
                cuda.note_settings()
            check_size(binary := _binary(trace, trial), self._device)
        except Exception as error:
            failure = diagnose(error, COMPILE, self._device)
            by_compiler = isinstance(error, TooLarge) or triton.refusal in (error, error.__cause__)
            refused = by_compiler and failure.kind in _REFUSALS
            return Compiled(failure=failure if refused else None, fresh=triton.fresh)
        return Compiled(binary=binary, fresh=triton.fresh)


def _binary(trace: Trace, trial: Trial) -> Binary | None:
    """None where nothing was launched. Where the trace does not say everything it has no equal."""
    if not trace.launches:
        return None
    digest = trace.digest or f"{trial.problem.text} {trial.config.text}"
    return Binary(digest=digest, shared_memory_bytes=trace.shared_memory_bytes)


def _mentions(path: Path, *words: bytes) -> bool:
    """Whether the file, or a local module that it imports, does."""
    return any(word in source.read_bytes() for source in source_files(path) for word in words)
