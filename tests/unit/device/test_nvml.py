"""The bindings against compiled libraries: the functions' signatures, the structures' layouts, what is missing."""

import ctypes

import pynvml
import pytest

from autotune.device import nvml as binding
from autotune.device.cuda_driver import driver_devices
from autotune.device.nvml import CLOCK_MEMORY, CLOCK_SM, Nvml, NvmlUnavailable

from .fake_nvidia import libraries


@pytest.fixture
def on(monkeypatch):
    def load(host, *, old=False):
        monkeypatch.setenv("FAKE_HOST", host)
        return Nvml(str(libraries(old) / "libnvidia-ml.so.1"))

    return load


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (binding.MemoryInfo, pynvml.c_nvmlMemory_t),
        (binding.PciInfo, pynvml.nvmlPciInfo_t),
        (binding.Attributes, pynvml.c_nvmlDeviceAttributes),
        (binding.Temperature, pynvml.c_nvmlTemperature_v1_t),
        (binding.MemoryInfoV2, pynvml.c_nvmlMemory_v2_t),
        (binding.ProcessInfo, pynvml.c_nvmlProcessInfo_v3_t),
    ],
)
def test_structures_are_laid_out_as_nvidias_own_binding_has_them(ours, theirs):
    assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)
    for (our_name, _), (their_name, *_) in zip(ours._fields_, theirs._fields_, strict=True):
        our_field, their_field = getattr(ours, our_name), getattr(theirs, their_name)
        assert (our_field.offset, our_field.size) == (their_field.offset, their_field.size)


def test_constants_are_those_of_nvidias_own_binding():
    assert binding.SUCCESS == pynvml.NVML_SUCCESS
    assert binding.FEATURE_ENABLED == pynvml.NVML_FEATURE_ENABLED
    assert binding.TEMPERATURE_GPU == pynvml.NVML_TEMPERATURE_GPU
    assert binding.INSUFFICIENT_SIZE == pynvml.NVML_ERROR_INSUFFICIENT_SIZE
    assert pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value == binding.NOT_AVAILABLE
    assert pynvml.nvmlMemory_v2 == binding.MEMORY_V2_VERSION
    assert pynvml.nvmlTemperature_v1 == binding.TEMPERATURE_VERSION
    assert (CLOCK_SM, CLOCK_MEMORY) == (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM)
    assert binding.NAME_SIZE == pynvml.NVML_DEVICE_NAME_V2_BUFFER_SIZE
    assert binding.UUID_SIZE == pynvml.NVML_DEVICE_UUID_V2_BUFFER_SIZE
    reasons = {name for name in vars(pynvml) if name.startswith("nvmlClocksEventReason")}
    known = {getattr(pynvml, name) for name in reasons} - {pynvml.nvmlClocksEventReasonAll, 0}
    assert known - set(binding.EVENT_REASONS) == {pynvml.nvmlClocksEventReasonGpuIdle}


def test_every_reading_of_an_h200(on):
    nvml = on("h200")
    gpu, _, capped = nvml.gpus()
    assert nvml.driver_version() == "580.159.03"
    assert nvml.cuda_version() == "13.0"
    assert nvml.name(gpu) == "NVIDIA H200"
    assert nvml.uuid(gpu) == "GPU-aaaaaaaa-0000-0000-0000-000000000000"
    assert nvml.memory_bytes(gpu) == 143771 * 1024**2
    assert nvml.pci_device_id(gpu) == 0x2335
    assert nvml.compute_capability(gpu) == (9, 0)
    assert nvml.bandwidth_bytes_per_s(gpu) == pytest.approx(4.8e12, rel=0.03)
    assert (nvml.power_limit_w(gpu), nvml.power_limit_w(capped), nvml.default_power_limit_w(capped)) == (700, 450, 700)
    assert nvml.active_nvlinks(gpu) == 18
    assert (nvml.clock_mhz(gpu, CLOCK_SM), nvml.clock_mhz(gpu, CLOCK_MEMORY)) == (1755, 3201)
    assert nvml.temperature_c(gpu) == 41
    assert nvml.power_w(gpu) == 436.5
    assert nvml.energy_j(gpu) == 9000000000.123
    assert nvml.event_reasons(gpu) == ("sw_power_cap", "hw_thermal_slowdown")
    assert nvml.slices(gpu) is None


@pytest.mark.parametrize("old", [False, True])
def test_the_processes_on_a_gpu_are_listed_however_many_there_are(on, monkeypatch, old):
    nvml = on("h200", old=old)
    first, second, _ = nvml.gpus()
    running = [(1000 + index, index) for index in range(40)]
    monkeypatch.setenv("FAKE_PROCESSES", "".join(f"{nvml.uuid(first)} {pid} {mib};" for pid, mib in running))
    assert [(one.pid, one.memory_bytes) for one in nvml.compute_processes(first)] == [
        (pid, mib * 1024**2) for pid, mib in running
    ]
    assert nvml.compute_processes(second) == []
    assert nvml.graphics_processes(first) == []
    monkeypatch.setenv("FAKE_PROCESSES", f"{nvml.uuid(second)} 7 -1;")
    assert nvml.compute_processes(second) == [binding.RunningProcess(pid=7, memory_bytes=None)]


def test_what_draws_on_a_gpu_is_listed_by_itself(on, monkeypatch):
    nvml = on("h200")
    gpu = next(nvml.gpus())
    monkeypatch.setenv("FAKE_DESKTOP", f"{nvml.uuid(gpu)} 7 300;")
    assert [one.pid for one in nvml.graphics_processes(gpu)] == [7]
    assert nvml.compute_processes(gpu) == []


def test_a_slice_has_processes_of_its_own(on, monkeypatch):
    nvml = on("mig")
    first, second = nvml.slices(list(nvml.gpus())[1])
    monkeypatch.setenv("FAKE_PROCESSES", f"{nvml.uuid(second)} 7 100;")
    assert nvml.compute_processes(first) == []
    assert [one.pid for one in nvml.compute_processes(second)] == [7]


def test_memory_that_the_driver_keeps_for_itself_is_not_used(on, monkeypatch):
    nvml = on("h200")
    monkeypatch.setenv("FAKE_USED_MIB", "3")
    assert nvml.used_memory_bytes(next(nvml.gpus())) == 3 * 1024**2
    old = on("h200", old=True)
    assert old.used_memory_bytes(next(old.gpus())) is None


def test_a_gpu_in_mig_mode_has_slices_and_the_holes_between_them_are_passed_over(on):
    nvml = on("mig")
    whole, cut, empty = nvml.gpus()
    first, second = nvml.slices(cut)
    assert (nvml.slices(whole), nvml.slices(empty)) == (None, [])
    assert nvml.uuid(first) == "MIG-11111111-0000-0000-0000-000000000000"
    assert nvml.uuid(nvml.parent(second)) == nvml.uuid(cut)
    assert nvml.slice_shape(second) == binding.Slice(
        multiprocessors=14, gpu_slices=2, compute_slices=1, memory_bytes=9856 * 1024**2
    )
    assert nvml.parent(whole) is None
    assert nvml.slice_shape(whole) is None


def test_what_nvml_refuses_on_a_slice_is_none(on):
    nvml = on("mig")
    part = nvml.by_uuid("MIG-11111111-0000-0000-0000-000000000000")
    refused = [nvml.temperature_c(part), nvml.power_w(part), nvml.energy_j(part), nvml.power_limit_w(part),
               nvml.default_power_limit_w(part), nvml.pci_device_id(part), nvml.compute_capability(part),
               nvml.clock_mhz(part, CLOCK_SM), nvml.bandwidth_bytes_per_s(part)]  # fmt: skip
    assert refused == [None] * len(refused)
    assert nvml.event_reasons(part) == ()
    assert nvml.active_nvlinks(part) == 0


def test_what_an_older_library_lacks_is_none_or_read_under_its_former_name(on):
    nvml = on("h200", old=True)
    gpu = next(nvml.gpus())
    assert nvml.name(gpu) == "NVIDIA H200"
    assert (nvml.temperature_c(gpu), nvml.event_reasons(gpu), nvml.power_limit_w(gpu)) == (40, ("hw_slowdown",), 700)
    lacking = [nvml.memory_bytes(gpu), nvml.slices(gpu), nvml.energy_j(gpu), nvml.power_w(gpu), nvml.pci_device_id(gpu),
               nvml.compute_capability(gpu), nvml.parent(gpu), nvml.slice_shape(gpu), nvml.default_power_limit_w(gpu),
               nvml.clock_mhz(gpu, CLOCK_SM), nvml.bandwidth_bytes_per_s(gpu)]  # fmt: skip
    assert lacking == [None] * len(lacking)


def test_a_gpu_that_fell_off_the_bus_hides_no_other(on):
    nvml = on("lost")
    assert [nvml.uuid(gpu) for gpu in nvml.gpus()] == ["GPU-88888888-0000-0000-0000-000000000001"]


def test_an_unknown_uuid_is_none(on):
    assert on("h200").by_uuid("GPU-nowhere") is None


@pytest.mark.parametrize(
    ("host", "reason"), [("mismatch", "different versions; reboot"), ("unloaded", "driver is not loaded")]
)
def test_a_library_that_cannot_be_initialised_says_what_to_do(on, host, reason):
    with pytest.raises(NvmlUnavailable, match=reason):
        on(host)


def test_no_library_is_no_driver():
    with pytest.raises(NvmlUnavailable, match="there is no NVIDIA driver"):
        Nvml("libnvidia-ml-that-is-not-there.so.1")


@pytest.mark.parametrize("old", [False, True])
def test_the_cuda_driver_tells_the_limits_of_a_block(monkeypatch, old):
    monkeypatch.setenv("FAKE_HOST", "h200")
    first, second, _ = driver_devices(str(libraries(old) / "libcuda.so.1"))
    assert second.uuid == "aaaabbbb-0000-0000-0000-000000000001"
    assert first.shared_memory_per_block_bytes == 232448
    assert (first.registers_per_block, first.max_threads_per_block) == (65536, 1024)
    assert (first.multiprocessors, first.l2_bytes, first.compute_capability) == (132, 62914560, (9, 0))


def test_a_cuda_driver_without_devices_or_no_driver_gives_none(monkeypatch):
    monkeypatch.setenv("FAKE_HOST", "none")
    assert driver_devices(str(libraries(False) / "libcuda.so.1")) == []
    assert driver_devices("libcuda-that-is-not-there.so.1") == []
