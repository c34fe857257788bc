"""Discovery on a real GPU, held against what torch says of it."""

import json
import subprocess
import sys
import time

import pytest
import torch

from autotune.device import Toolchain, conditions, current_sku, energy_j, gpu_devices
from autotune.device.peak import peak_bandwidth_bytes_per_s, peak_flops


@pytest.fixture(scope="module")
def device():
    return gpu_devices()[0]


def test_what_torch_says_of_the_first_gpu_is_what_was_found(device):
    properties = torch.cuda.get_device_properties(0)
    assert device.index == 0
    assert device.name == properties.name
    assert device.uuid == f"GPU-{properties.uuid}"
    assert device.arch == f"sm_{properties.major}{properties.minor}"
    assert device.multiprocessors == properties.multi_processor_count
    assert device.shared_memory_per_block_bytes == properties.shared_memory_per_block_optin
    assert device.l2_bytes == properties.L2_cache_size
    assert device.memory_bytes == pytest.approx(properties.total_memory, rel=0.03)
    assert len(gpu_devices()) == torch.cuda.device_count()


def test_an_h200(device):
    if device.name != "NVIDIA H200":
        pytest.skip(f"this is an {device.name}")
    if device.power_limit_w == 700:
        assert device.sku == "h200-sxm-141gb"
        assert peak_flops(device, "bfloat16") == pytest.approx(989.4e12)
    assert device.sku.startswith("h200-sxm-141gb")
    assert (device.shared_memory_per_block_bytes, device.multiprocessors, device.arch) == (232448, 132, "sm_90")
    assert (device.registers_per_block, device.max_threads_per_block) == (65536, 1024)
    bandwidth = device.memory_bandwidth_bytes_per_s
    assert any(bandwidth == pytest.approx(expected, rel=0.02) for expected in (4.8e12, 4.9e12))
    assert peak_bandwidth_bytes_per_s(device) == pytest.approx(4.8e12, rel=0.03)
    assert device.interconnect in {"nvlink", "pcie"}


def test_the_current_sku_is_that_of_the_first_gpu(device):
    assert current_sku() == device.sku


def test_conditions_under_load_are_those_of_a_gpu_that_works(device):
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    before_j = energy_j(device)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()
    now = conditions(device)
    assert 200 < now.sm_clock_mhz < 4000
    assert 400 < now.memory_clock_mhz < 20000
    assert 10 < now.temperature_c < 110
    assert 5 < now.power_w < 1500
    assert all(isinstance(reason, str) for reason in now.throttle)
    assert energy_j(device) > before_j


def test_conditions_are_read_in_a_few_milliseconds(device):
    def timed_s():
        start = time.perf_counter()
        conditions(device)
        return time.perf_counter() - start

    assert min(timed_s() for _ in range(5)) < 0.05


def test_the_toolchain_is_complete(device):
    tools = Toolchain.current(device)
    assert tools.driver.split(".")[0].isdigit()
    assert tools.cuda.split(".")[0].isdigit()
    assert tools.torch == torch.__version__


def test_discovery_makes_no_context():
    code = """
import ctypes, json
from autotune.device import conditions, current_sku, devices
current_sku()
conditions(devices()[0])
cuda, current, flags, active = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_int(-1)
cuda.cuCtxGetCurrent(ctypes.byref(current))
cuda.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active))
print(json.dumps([current.value, active.value]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [None, 0]
