"""Peak: what a product can do at most, by NVIDIA's data sheets; how close a measurement comes is in `roofline.py`.

All figures are dense: the data sheets' figures with sparsity are halved. They hold at the boost clock, which is seldom
kept under load. A MIG slice and a power-capped GPU are other SKUs, and have no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autotune.device import Device

TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Dense operations per second in units of 10^12; None where there is no such unit or no figure."""

    fp64: float | None = None
    """On the tensor cores where they have it: there it is as exact, and cuBLAS uses it."""
    fp32: float
    """Outside the tensor cores."""
    tf32: float | None = None
    """What torch reaches with float32 matrices once `torch.backends.cuda.matmul.allow_tf32` is set."""
    fp16: float | None = None
    """Tensor cores that accumulate in float32; that of bfloat16, where there is one, is the same."""
    bf16: bool = True
    fp8: float | None = None
    int8: float | None = None


# NVIDIA H100 Tensor Core GPU Architecture (white paper), table of peak rates, SXM5 column.
_HOPPER_SXM = Compute(fp64=66.9, fp32=66.9, tf32=494.7, fp16=989.4, fp8=1978.9, int8=1978.9)
# The same, PCIe column.
_H100_PCIE = Compute(fp64=51.2, fp32=51.2, tf32=378, fp16=756, fp8=1513, int8=1513)
# NVIDIA H100 Tensor Core GPU data sheet (2024) and NVIDIA H200 data sheet, NVL columns.
_HOPPER_NVL = Compute(fp64=60, fp32=60, tf32=417.5, fp16=835.5, fp8=1670.5, int8=1670.5)
# NVIDIA A100 Tensor Core GPU data sheet.
_A100 = Compute(fp64=19.5, fp32=19.5, tf32=156, fp16=312, int8=624)
# NVIDIA Blackwell data sheet, HGX B200 column; and its GB200 NVL72 column.
_B200 = Compute(fp64=37, fp32=75, tf32=1100, fp16=2250, fp8=4500, int8=4500)
_GB200 = Compute(fp64=40, fp32=80, tf32=1250, fp16=2500, fp8=5000, int8=5000)

_PRODUCTS: dict[str, tuple[Compute, float | None]] = {
    "h200-sxm-141gb": (_HOPPER_SXM, 4.8 * TERA),  # bandwidth: NVIDIA H200 data sheet
    "h200-nvl-141gb": (_HOPPER_NVL, 4.8 * TERA),  # bandwidth: NVIDIA H200 data sheet
    "h100-sxm-80gb": (_HOPPER_SXM, 3.35 * TERA),  # bandwidth: NVIDIA H100 data sheet
    "h100-pcie-80gb": (_H100_PCIE, 2.0 * TERA),  # bandwidth: NVIDIA H100 data sheet
    "h100-nvl-94gb": (_HOPPER_NVL, 3.9 * TERA),  # bandwidth: NVIDIA H100 data sheet
    "gh200-96gb": (_HOPPER_SXM, 4.0 * TERA),  # NVIDIA GH200 Grace Hopper Superchip data sheet, HBM3
    "gh200-144gb": (_HOPPER_SXM, 4.9 * TERA),  # NVIDIA GH200 Grace Hopper Superchip data sheet, HBM3e
    "b200-sxm-180gb": (_B200, 7.7 * TERA),  # bandwidth: NVIDIA Blackwell data sheet
    "gb200-186gb": (_GB200, 8.0 * TERA),  # bandwidth: NVIDIA Blackwell data sheet
    "a100-sxm-40gb": (_A100, 1555 * GIGA),  # bandwidth: NVIDIA A100 data sheet of 2020
    "a100-pcie-40gb": (_A100, 1555 * GIGA),  # bandwidth: NVIDIA A100 data sheet of 2020
    "a100-sxm-80gb": (_A100, 2039 * GIGA),  # bandwidth: NVIDIA A100 data sheet
    "a100-pcie-80gb": (_A100, 1935 * GIGA),  # bandwidth: NVIDIA A100 data sheet
    # NVIDIA A30, A10, A40, L4, L40, L40S, T4 and V100 data sheets, one each.
    "a30-24gb": (Compute(fp64=10.3, fp32=10.3, tf32=82, fp16=165, int8=330), 933 * GIGA),
    "a10-24gb": (Compute(fp32=31.2, tf32=62.5, fp16=125, int8=250), 600 * GIGA),
    "a40-48gb": (Compute(fp32=37.4, tf32=74.8, fp16=149.7, int8=299.3), 696 * GIGA),
    "l4-24gb": (Compute(fp32=30.3, tf32=60, fp16=121, fp8=242.5, int8=242.5), 300 * GIGA),
    "l40-48gb": (Compute(fp32=90.5, tf32=90.5, fp16=181.05, fp8=362, int8=362), 864 * GIGA),
    "l40s-48gb": (Compute(fp32=91.6, tf32=183, fp16=362.05, fp8=733, int8=733), 864 * GIGA),
    "t4-16gb": (Compute(fp32=8.1, fp16=65, bf16=False, int8=130), None),  # sheets differ on its bandwidth
    "v100-sxm-16gb": (Compute(fp64=7.8, fp32=15.7, fp16=125, bf16=False), 900 * GIGA),
    "v100-sxm-32gb": (Compute(fp64=7.8, fp32=15.7, fp16=125, bf16=False), 900 * GIGA),
    "v100-pcie-16gb": (Compute(fp64=7, fp32=14, fp16=112, bf16=False), 900 * GIGA),
    "v100-pcie-32gb": (Compute(fp64=7, fp32=14, fp16=112, bf16=False), 900 * GIGA),
    # NVIDIA Ada GPU Architecture (white paper), appendix A: the tensor figures with accumulation in float32.
    "geforce-rtx-4090-24gb": (Compute(fp32=82.6, tf32=82.6, fp16=165.2, fp8=330.3, int8=660.6), 1008 * GIGA),
}


def peak_flops(device: Device, dtype: str) -> float | None:
    """Operations per second; None for a product or a dtype without a figure, a MIG slice, a capped GPU, a CPU.

    dtype: as torch prints it, with or without the `torch.`; `tf32` for float32 matrices on the tensor cores.
    """
    if device.sku not in _PRODUCTS:
        return None
    compute, _ = _PRODUCTS[device.sku]
    peaks = {
        "float64": compute.fp64,
        "float32": compute.fp32,
        "tf32": compute.tf32,
        "float16": compute.fp16,
        "bfloat16": compute.fp16 if compute.bf16 else None,
        "float8_e4m3fn": compute.fp8,
        "float8_e5m2": compute.fp8,
        "int8": compute.int8,
    }
    tera = peaks.get(dtype.removeprefix("torch."))
    return None if tera is None else tera * TERA


def peak_bandwidth_bytes_per_s(device: Device) -> float | None:
    """Of the device memory: by the data sheet, else by the memory's clock and the width of its bus."""
    _, bandwidth = _PRODUCTS.get(device.sku, (None, None))
    return bandwidth or device.memory_bandwidth_bytes_per_s
