"""Diagnosis: which failure an exception is, and how it is told to the user; nothing is run or caught here.

Exceptions of torch, triton and CUDA are known by the names of their types and by their text: none is imported.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from autotune.bench.phases import VERIFY
from autotune.device import Device
from autotune.measurement import Failure, FailureKind, Outcome

MESSAGE_CHARACTERS = 500
DETAILS_CHARACTERS = 4000

LEFT_RUNNING = "left running: "
"""Is in the message or the details of a failure that left threads or processes behind."""

_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|\w+_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)
_REFUSED_LAUNCH = re.compile(
    r"too many resources requested for launch|invalid configuration argument|CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
    r"|cudaErrorLaunchOutOfResources|cudaErrorInvalidConfiguration|CUDA_ERROR_INVALID_VALUE|\[CUDA\]: invalid argument",
    re.IGNORECASE,
)
_COMPILER_MODULES = ("triton.compiler", "torch._inductor", "torch._dynamo")
_COMPILER_ERRORS = frozenset(
    {
        "BackendCompilerFailed",
        "CUDACompileError",
        "CompilationError",
        "CompileException",
        "CompileTimeAssertionFailure",
        "CppCompileError",
        "InductorError",
        "NVRTCError",
        "PTXASError",
        "UnsupportedLanguageConstruct",
    }
)
_COMPILER_TEXT = re.compile(
    r"PassManager::run failed|ptxas (fatal|error)|Error building extension|NVRTC_ERROR_COMPILATION"
)
_CUDA = re.compile(r"CUDA error|CUDA_ERROR_|cudaError[A-Z]|\[CUDA\]|CUBLAS_STATUS_|CUDNN_STATUS_|NCCL error")
_STICKY = re.compile(
    r"illegal memory access|misaligned address|device-side assert|unspecified launch failure|uncorrectable ECC"
    r"|CUDA_ERROR_ILLEGAL_ADDRESS|CUDA_ERROR_LAUNCH_FAILED|CUDA_ERROR_LAUNCH_TIMEOUT",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"(CUDA kernel errors might be|Search for `cuda|For debugging consider|Compile with `TORCH_USE).*", re.S
)

_OURS = str(Path(__file__).parents[1])
_OUR_FOLDERS = tuple({_OURS, *(str(p.resolve()) for p in Path(_OURS).iterdir() if p.is_dir() and p.is_symlink())})


class ProtocolError(Exception):
    """The body of a workload does not keep to: prepare, yield one callable, verify. The message says what to do."""


class TooLarge(Exception):
    """The configuration was compiled, and needs more than the device has."""


def diagnose(error: BaseException, phase: str, device: Device) -> Failure:
    """The failure that an exception of the workload in that phase amounts to; it keeps no frame alive."""
    kind = kind_of(error, phase)
    return Failure(kind=kind, message=_message(error, kind, device), details=_details(error), phase=phase)


def kind_of(error: BaseException, phase: str) -> FailureKind:
    """By type and text of the exception and of those that caused it."""
    if isinstance(error, AssertionError):  # it speaks of the result once that is verified, and is an error before
        return FailureKind.INCORRECT if phase == VERIFY else FailureKind.RUNTIME
    causes = list(_causes(error))
    for kind, fits in (
        (FailureKind.OUT_OF_MEMORY, _is_memory),
        (FailureKind.INVALID, _is_refusal),
        (FailureKind.COMPILE, _is_compiler),
    ):
        if any(map(fits, causes)):
            return kind
    return FailureKind.RUNTIME


def must_replace(outcome: Outcome) -> bool:
    """Whether the process that gave the outcome must not measure again.

    After a CUDA error every later call fails as well, memory shortage and refused launches excepted; and what was
    left running would disturb the next trial.
    """
    if not isinstance(outcome, Failure):
        return False
    text = f"{outcome.message}\n{outcome.details}"
    if LEFT_RUNNING in text or _STICKY.search(text):
        return True
    recovers = outcome.kind in (FailureKind.OUT_OF_MEMORY, FailureKind.INVALID)
    return not recovers and _CUDA.search(text) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and what torch's compiler wraps."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        inner = getattr(following, "inner_exception", None)
        following = inner if isinstance(inner, BaseException) else following.__cause__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return "OutOfMemory" in type(error).__name__ or _MEMORY.search(_said(error)) is not None


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, TooLarge):
        return True
    if type(error).__name__ == "OutOfResources" and type(error).__module__.startswith("triton"):
        return True
    return _REFUSED_LAUNCH.search(_said(error)) is not None


def _is_compiler(error: BaseException) -> bool:
    for kind in type(error).__mro__:
        if kind.__name__ in _COMPILER_ERRORS or kind.__module__.startswith(_COMPILER_MODULES):
            return True
    return _COMPILER_TEXT.search(_said(error)) is not None


def _message(error: BaseException, kind: FailureKind, device: Device) -> str:
    text, place = _text(error), _place(error)
    if isinstance(error, ProtocolError):
        return text
    if isinstance(error, TooLarge):
        return f"the device cannot run it: {text}{_limits(device)}"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){place}; raise an exception, or assert, instead."
    if kind is FailureKind.INCORRECT:
        return f"wrong result: {text or _source_line(error)}{place}"
    said = f"{type(error).__name__}: {text or _source_line(error)}{place}"
    if kind is FailureKind.INVALID:
        return f"the device cannot run it: {said}{_limits(device)}"
    return said


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a user's own __str__
        return "(its text cannot be read)"


def _text(error: BaseException) -> str:
    """What the exception says, in one line and without CUDA's advice on debugging."""
    text = " ".join(_BOILERPLATE.sub("", _said(error)).split())
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[: MESSAGE_CHARACTERS - 1]}…"


def _limits(device: Device) -> str:
    limits = {
        "threads": device.max_threads_per_block,
        "registers": device.registers_per_block,
        "bytes of shared memory": device.shared_memory_per_block_bytes,
    }
    known = ", ".join(f"{value} {what}" for what, value in limits.items() if value is not None)
    return f"; a block has at most {known}." if known else ""


def _place(error: BaseException) -> str:
    frame = _last_user_frame(error)
    return f" ({Path(frame.filename).name}:{frame.lineno})" if frame else ""


def _source_line(error: BaseException) -> str:
    frame = _last_user_frame(error)
    return (frame.line if frame and frame.line else "no text")[:MESSAGE_CHARACTERS]


def _last_user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Where the user's code stood: the last frame that is neither ours nor an installed package's."""
    frames = _without_ours(traceback.extract_tb(error.__traceback__))
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(("<", _STDLIB))]
    return own[-1] if own else frames[-1] if frames else None


def _details(error: BaseException) -> str:
    """The end of the traceback, the frames of autotune left out."""
    trace = traceback.TracebackException.from_exception(error)
    _trim(trace, set())
    return "".join(trace.format())[-DETAILS_CHARACTERS:]


def _trim(trace: traceback.TracebackException | None, seen: set[int]) -> None:
    if trace is None or id(trace) in seen:
        return
    seen.add(id(trace))
    trace.stack = traceback.StackSummary.from_list(_without_ours(trace.stack))
    _trim(trace.__cause__, seen)
    _trim(trace.__context__, seen)


def _without_ours(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    return [frame for frame in frames if not frame.filename.startswith(_OUR_FOLDERS)]


_STDLIB = str(Path(traceback.__file__).parent)
