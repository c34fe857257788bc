"""Data sheets."""

import dataclasses

import pytest

from autotune.device import cpu_device
from autotune.device.peak import _PRODUCTS, peak_bandwidth_bytes_per_s, peak_flops
from autotune.device.sku import SOLD_GB


def of(sku, bandwidth=None):
    return dataclasses.replace(cpu_device(), sku=sku, memory_bandwidth_bytes_per_s=bandwidth)


@pytest.mark.parametrize(
    ("sku", "dtype", "flops"),
    [
        ("h200-sxm-141gb", "bfloat16", 989.4e12),
        ("h200-sxm-141gb", "torch.float16", 989.4e12),
        ("h200-sxm-141gb", "tf32", 494.7e12),
        ("h200-sxm-141gb", "float32", 66.9e12),
        ("h200-sxm-141gb", "float8_e4m3fn", 1978.9e12),
        ("h100-pcie-80gb", "int8", 1513e12),
        ("a100-pcie-40gb", "bfloat16", 312e12),
        ("a100-sxm-80gb", "float8_e4m3fn", None),
        ("l40s-48gb", "float64", None),
        ("t4-16gb", "float16", 65e12),
        ("t4-16gb", "bfloat16", None),
        ("h200-sxm-141gb", "complex64", None),
        ("h200-sxm-141gb-450w", "bfloat16", None),
        ("a100-sxm-80gb-mig-3g.40gb", "bfloat16", None),
        ("cpu-amd-epyc-9654-96c", "float32", None),
    ],
)
def test_peak_flops(sku, dtype, flops):
    found = peak_flops(of(sku), dtype)
    assert found == (None if flops is None else pytest.approx(flops))


def test_bandwidth_is_the_data_sheets_else_what_the_clocks_say():
    assert peak_bandwidth_bytes_per_s(of("h200-sxm-141gb", 4.917e12)) == pytest.approx(4.8e12)
    assert peak_bandwidth_bytes_per_s(of("h200-sxm-141gb-450w", 4.917e12)) == 4.917e12
    assert peak_bandwidth_bytes_per_s(of("geforce-rtx-5090-32gb", 1.79e12)) == 1.79e12
    assert peak_bandwidth_bytes_per_s(of("cpu-amd-epyc-9654-96c")) is None


@pytest.mark.parametrize("sku", sorted(_PRODUCTS))
def test_every_row_is_plausible(sku):
    compute, bandwidth = _PRODUCTS[sku]
    assert int(sku.rpartition("-")[2].removesuffix("gb")) in SOLD_GB
    ladder = [peak for peak in (compute.fp32, compute.tf32, compute.fp16, compute.fp8) if peak]
    assert ladder == sorted(ladder)
    assert bandwidth is None or 0.2e12 < bandwidth < 10e12
