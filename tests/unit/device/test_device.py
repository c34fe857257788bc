"""Devices as they are found: on this machine's CPU, and on hosts with NVIDIA's libraries built for the purpose."""

import pickle
import re
import time

import pytest

from autotune import device
from autotune.device import Device, Toolchain, conditions, cpu_device, current_sku, select
from autotune.errors import DeviceError

from .fake_nvidia import ask

EVERYTHING = "[one.to_json() for one in device.devices()]"
SKUS = "[one.sku for one in device.devices()]"


def gpu(index, sku="h200-sxm-141gb"):
    return Device(
        kind="gpu", index=index, sku=sku, name="NVIDIA H200", uuid=f"GPU-{index}", arch="sm_90", memory_bytes=1,
        multiprocessors=132,
    )  # fmt: skip


CPU = Device(
    kind="cpu", index=0, sku="cpu-amd-epyc-9654-96c", name="AMD EPYC 9654", uuid="CPU-x", arch="x86_64", memory_bytes=1,
    multiprocessors=96,
)  # fmt: skip


def test_an_h200_is_found_with_everything_that_is_known_of_it():
    first = ask("h200", EVERYTHING)[0]
    bandwidth = first.pop("memory_bandwidth_bytes_per_s")
    assert bandwidth == pytest.approx(4.8e12, rel=0.03)
    assert first == {
        "kind": "gpu",
        "index": 0,
        "sku": "h200-sxm-141gb",
        "name": "NVIDIA H200",
        "uuid": "GPU-aaaaaaaa-0000-0000-0000-000000000000",
        "arch": "sm_90",
        "memory_bytes": 143771 * 1024**2,
        "shared_memory_per_block_bytes": 232448,
        "registers_per_block": 65536,
        "max_threads_per_block": 1024,
        "multiprocessors": 132,
        "l2_bytes": 62914560,
        "power_limit_w": 700,
        "interconnect": "nvlink",
    }


def test_gpus_come_first_and_one_under_a_power_cap_is_of_another_sku():
    assert ask("h200", SKUS) == ["h200-sxm-141gb", "h200-sxm-141gb", "h200-sxm-141gb-450w", cpu_device().sku]


def test_an_index_counts_the_gpus_that_are_visible():
    chosen = "[(one.index, one.power_limit_w) for one in device.select(device.devices(), 'gpu:0')]"
    assert ask("h200", chosen, CUDA_VISIBLE_DEVICES="2,1") == [[0, 450]]


def test_slices_take_their_limits_from_any_device_of_their_architecture():
    large, small, whole, _ = ask("mig", EVERYTHING)
    assert [large["sku"], small["sku"], whole["sku"]] == [
        "a100-sxm-80gb-mig-3g.40gb",
        "a100-sxm-80gb-mig-1c.2g.10gb",
        "a100-sxm-80gb",
    ]
    assert [one["shared_memory_per_block_bytes"] for one in (large, small, whole)] == [166912] * 3
    assert [one["multiprocessors"] for one in (large, small)] == [42, 14]
    assert [one.get("l2_bytes") for one in (large, small)] == [20971520, None]
    assert [one["memory_bytes"] for one in (large, small)] == [40192 * 1024**2, 9856 * 1024**2]
    assert "memory_bandwidth_bytes_per_s" not in large
    assert "interconnect" not in large


def test_cuda_counts_from_the_fastest():
    t4 = "t4-16gb"
    assert ask("mixed", SKUS)[:2] == ["h200-sxm-141gb", t4]
    assert ask("mixed", "device.current_sku()") == "h200-sxm-141gb"
    assert ask("mixed", "device.current_sku()", CUDA_DEVICE_ORDER="PCI_BUS_ID") == t4


@pytest.mark.parametrize("variable", ["", "-1"])
def test_hidden_gpus_leave_the_cpu(variable):
    asked = "[device.current_sku(), [one.kind for one in device.devices()], device.why_no_gpu()]"
    sku, kinds, why = ask("h200", asked, CUDA_VISIBLE_DEVICES=variable)
    assert (sku, kinds) == (cpu_device().sku, ["cpu"])
    assert why == f"CUDA_VISIBLE_DEVICES={variable!r} hides every GPU"


@pytest.mark.parametrize(
    ("host", "reason"),
    [("mismatch", "different versions"), ("unloaded", "not loaded"), ("none", "NVML finds no GPU")],
)
def test_a_driver_that_does_not_work_is_no_gpu_and_says_why(host, reason):
    found, why = ask(host, "[[one.kind for one in device.devices()], device.why_no_gpu()]")
    assert found == ["cpu"]
    assert reason in why


def test_an_old_driver_still_gives_devices():
    first = ask("h200", EVERYTHING, old=True)[0]
    assert first["name"] == "NVIDIA H200"
    assert first["shared_memory_per_block_bytes"] == 232448
    assert "memory_bandwidth_bytes_per_s" not in first


def test_current_sku_is_the_first_visible_gpu_and_needs_no_cuda():
    assert ask("h200", "device.current_sku()", CUDA_VISIBLE_DEVICES="2") == "h200-sxm-141gb-450w"
    assert ask("mig", "device.current_sku()") == "a100-sxm-80gb-mig-3g.40gb"
    loaded = "[device.current_sku(), 'libcuda.so' in open('/proc/self/maps').read()]"
    assert ask("h200", loaded) == ["h200-sxm-141gb", False]


def test_the_current_toolchain_is_that_of_the_device_that_would_be_used():
    current = "[device.current_toolchain().to_json(), 'libcuda.so' in open('/proc/self/maps').read()]"
    on_gpu, cuda_loaded = ask("h200", current)
    assert (on_gpu["driver"], cuda_loaded) == ("580.159.03", False)
    on_cpu, _ = ask("h200", current, CUDA_VISIBLE_DEVICES="")
    assert on_cpu == Toolchain.current(cpu_device()).to_json()


def test_conditions_and_energy_of_a_gpu():
    asked = "[device.conditions(device.devices()[0]).to_json(), device.energy_j(device.devices()[0])]"
    expected = {
        "sm_clock_mhz": 1755,
        "memory_clock_mhz": 3201,
        "temperature_c": 41,
        "power_w": 436.5,
        "throttle": ["sw_power_cap", "hw_thermal_slowdown"],
    }
    assert ask("h200", asked) == [expected, 9000000000.123]
    assert ask("mig", asked)[0]["temperature_c"] == 41  # that of the whole GPU


def test_conditions_of_a_gpu_that_is_gone_are_unknown():
    assert conditions(gpu(0)).to_json() == {}
    assert device.energy_j(gpu(0)) is None


def test_the_cpu_device():
    here = cpu_device()
    assert re.fullmatch(r"cpu-[a-z0-9.-]+-\d+c", here.sku)
    assert here.sku.endswith(f"-{here.multiprocessors}c")
    assert here.shared_memory_per_block_bytes is None
    assert pickle.loads(pickle.dumps(here)) == here
    assert Device(**here.to_json()) == here


def test_conditions_of_the_cpu_take_under_a_millisecond():
    here = cpu_device()
    assert conditions(here).throttle == ()
    assert device.energy_j(here) is None
    assert fastest_s(lambda: conditions(here)) < 1e-3


def test_the_sku_of_a_cpu_is_found_within_two_milliseconds_of_the_first_call():
    timed = "(lambda clock: (clock(), device.current_sku(), clock()))(__import__('time').perf_counter)"
    started, sku, ended = min((ask("unloaded", timed) for _ in range(5)), key=lambda times: times[2] - times[0])
    assert sku == cpu_device().sku
    assert ended - started < 2e-3


def test_the_sku_is_read_once():
    assert current_sku() is current_sku()


def fastest_s(call):
    def timed():
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return min(timed() for _ in range(5))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [gpu(0), gpu(1, "h200-sxm-141gb-450w"), CPU]),
        ("gpu", [gpu(0), gpu(1, "h200-sxm-141gb-450w")]),
        ("gpu:1", [gpu(1, "h200-sxm-141gb-450w")]),
        ("GPU:0", [gpu(0)]),
        ("cpu", [CPU]),
        ("h200-sxm-141gb", [gpu(0)]),
        (" cpu-amd-epyc-9654-96c ", [CPU]),
    ],
)
def test_select(wanted, expected):
    assert select([gpu(0), gpu(1, "h200-sxm-141gb-450w"), CPU], wanted) == expected


@pytest.mark.parametrize("wanted", ["gpu:2", "h100-sxm-80gb", "", "tpu"])
def test_select_lists_what_is_there(wanted):
    listing = r"here are gpu:0 \(h200-sxm-141gb\), cpu:0 \(cpu-amd-epyc-9654-96c\)\."
    with pytest.raises(DeviceError, match=f"there is no device '{wanted}'; {listing}"):
        select([gpu(0), CPU], wanted)


def test_select_from_nothing():
    with pytest.raises(DeviceError, match="here are none"):
        select([], "gpu")


def test_the_toolchain_of_a_gpu_has_driver_and_cuda():
    asked = "(lambda tools: [tools.to_json(), tools.digest])(device.Toolchain.current(device.devices()[0]))"
    found, digest = ask("h200", asked)
    assert (found["driver"], found["cuda"]) == ("580.159.03", "13.0")
    assert digest == Toolchain(**found).digest


def test_the_toolchain_of_a_cpu_leaves_out_what_plays_no_part():
    here = Toolchain.current(cpu_device())
    assert (here.driver, here.cuda, here.triton, here.nccl) == (None,) * 4
    assert set(here.to_json()) <= {"torch", "python", "autotune"}
    assert re.fullmatch(r"3\.\d+", here.python)


def test_a_digest_is_that_of_the_versions():
    one, other = Toolchain(torch="2.11.0+cu130", python="3.12"), Toolchain(torch="2.11.0+cu130", python="3.13")
    assert re.fullmatch(r"[0-9a-f]{12}", one.digest)
    assert one.digest == Toolchain(**one.to_json()).digest
    assert one.digest != other.digest
