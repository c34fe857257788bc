"""Which failure an exception is, by the names and texts that torch, triton and CUDA use."""

import pytest

from autotune.bench.diagnosis import ProtocolError, diagnose, must_replace
from autotune.device import Device
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples

GPU = Device(
    kind="gpu",
    index=0,
    sku="h200",
    name="NVIDIA H200",
    uuid="GPU-0",
    arch="sm_90",
    memory_bytes=1 << 37,
    shared_memory_per_block_bytes=232_448,
    registers_per_block=65_536,
    max_threads_per_block=1024,
    multiprocessors=132,
)


def named(name, module, text, base=RuntimeError):
    return type(name, (base,), {"__module__": module})(text)


def raised(error, phase="measure"):
    try:
        raise error
    except BaseException as caught:
        return diagnose(caught, phase, GPU)


TORCH_ASYNC = (
    "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in https://docs.nvidia.com\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)

# error, kind, whether the process must be replaced
CASES = [
    (MemoryError(), "out_of_memory", False),
    (
        named("_ArrayMemoryError", "numpy._core._exceptions", "Unable to allocate 7 EiB", MemoryError),
        "out_of_memory",
        False,
    ),
    (named("OutOfMemoryError", "torch", "CUDA out of memory. Tried to allocate 20.00 GiB."), "out_of_memory", False),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "out_of_memory", False),
    (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "out_of_memory", False),
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "out_of_memory",
        False,
    ),
    (RuntimeError("Triton Error [CUDA]: out of memory"), "out_of_memory", False),
    (OSError(12, "Cannot allocate memory"), "out_of_memory", False),
    (
        named("OutOfResources", "triton.runtime.errors", "shared memory, Required: 393216, Hardware limit: 232448"),
        "invalid",
        False,
    ),
    (RuntimeError("CUDA error: too many resources requested for launch"), "invalid", False),
    (RuntimeError("CUDA error: invalid configuration argument"), "invalid", False),
    (named("CUDAError", "cuda.core", "CUDA_ERROR_INVALID_VALUE: invalid argument"), "invalid", False),
    (named("CompilationError", "triton.compiler.errors", "at 7:12"), "compile", False),
    (named("CompileTimeAssertionFailure", "triton.compiler.errors", "BLOCK must be even"), "compile", False),
    (named("PTXASError", "triton.runtime.errors", "ptxas fatal"), "compile", False),
    (named("NVRTCError", "cuda.core._utils", "NVRTC_ERROR_COMPILATION: 3 errors"), "compile", False),
    (named("InductorError", "torch._inductor.exc", "LoweringException"), "compile", False),
    (named("Unsupported", "torch._dynamo.exc", "call_function"), "compile", False),
    (RuntimeError("PassManager::run failed"), "compile", False),
    (RuntimeError("Error building extension 'stencil': nvcc"), "compile", False),
    (RuntimeError(TORCH_ASYNC), "runtime", True),
    (named("AcceleratorError", "torch", "CUDA error: device-side assert triggered"), "runtime", True),
    (RuntimeError("Triton Error [CUDA]: misaligned address"), "runtime", True),
    (RuntimeError("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"), "runtime", True),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "runtime", True),
    (ValueError("a shape"), "runtime", False),
    (AssertionError("a precondition"), "runtime", False),
    (ProtocolError("it yielded twice"), "runtime", False),
    (SystemExit(2), "runtime", False),
]


@pytest.mark.parametrize(("error", "kind", "replace"), CASES, ids=lambda c: str(c)[:40])
def test_an_exception_is_known_by_its_type_and_text(error, kind, replace):
    failure = raised(error)
    assert failure.kind == FailureKind(kind)
    assert must_replace(failure) is replace


def test_an_assertion_is_about_the_result_only_while_verifying():
    assert raised(AssertionError("off by one"), "verify").kind is FailureKind.INCORRECT
    assert raised(AssertionError("off by one"), "prepare").kind is FailureKind.RUNTIME


def test_causes_and_wrapped_exceptions_count():
    outer = RuntimeError("the compiled function failed")
    outer.__cause__ = MemoryError()
    assert raised(outer).kind is FailureKind.OUT_OF_MEMORY
    wrapped = RuntimeError("backend")
    wrapped.inner_exception = named("CppCompileError", "torch._inductor.exc", "g++ failed")
    assert raised(wrapped).kind is FailureKind.COMPILE


def test_a_cause_that_goes_round_in_circles_ends():
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert raised(one).kind is FailureKind.RUNTIME


def test_an_invalid_launch_tells_what_the_device_allows():
    message = raised(RuntimeError("CUDA error: too many resources requested for launch")).message
    assert "1024 threads, 65536 registers, 232448 bytes of shared memory" in message
    refused = raised(
        named("OutOfResources", "triton.runtime.errors", "shared memory, Required: 393216, Hardware limit: 232448")
    )
    assert "Required: 393216, Hardware limit: 232448" in refused.message


def test_a_message_is_one_line_of_limited_length_without_cudas_advice():
    assert raised(RuntimeError(TORCH_ASYNC)).message.startswith("RuntimeError: CUDA error: an illegal memory access")
    assert "asynchronously" not in raised(RuntimeError(TORCH_ASYNC)).message
    message = raised(AssertionError("Tensors differ!\n\nMismatched: 3 / 4\n" + "x" * 5000), "verify").message
    assert message.startswith("wrong result: Tensors differ! Mismatched: 3 / 4")
    assert len(message) < 600


def test_details_are_the_end_of_the_traceback():
    def deep(n):
        return deep(n - 1) if n else 1 / 0

    try:
        deep(400)
    except ZeroDivisionError as error:
        details = diagnose(error, "measure", GPU).details
    assert len(details) <= 4000
    assert details.rstrip().endswith("ZeroDivisionError: division by zero")


def test_a_users_broken_str_does_no_harm():
    class Mute(Exception):
        def __str__(self):
            raise ValueError("no")

    assert raised(Mute()).kind is FailureKind.RUNTIME


def test_only_some_failures_end_a_process():
    good = Measurement(metrics={"latency_ms": Samples((1.0,))}, conditions=Conditions())
    assert not must_replace(good)
    left = Failure(kind=FailureKind.RUNTIME, message="left running: thread x at y.py:1; end what it starts")
    assert must_replace(left)
    after_oom = Failure(
        kind=FailureKind.OUT_OF_MEMORY, message="CUDA out of memory", details="… \nleft running: thread x at y.py:1"
    )
    assert must_replace(after_oom)
    hidden = Failure(kind=FailureKind.INCORRECT, message="wrong", details="CUDA error: misaligned address")
    assert must_replace(hidden)
