"""The one place where a kind of device gets its name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.device.sku import SOLD_GB, cpu_sku, gpu_sku, marketed_gb, mig_profile

MIB = 1024**2
FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")


# Names as the driver gives them, and the total that nvidia-smi shows, in MiB.
@pytest.mark.parametrize(
    ("name", "mib", "sku"),
    [
        ("NVIDIA A100-SXM4-40GB", 40536, "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100-sxm-40gb"),
        ("A100-SXM4-40GB", 40536, "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-80GB", 81920, "a100-sxm-80gb"),
        ("NVIDIA A100-SXM-64GB", 65536, "a100-sxm-64gb"),
        ("NVIDIA A100-PCIE-40GB", 40960, "a100-pcie-40gb"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100-sxm-80gb"),
        ("NVIDIA H100 PCIe", 81559, "h100-pcie-80gb"),
        ("NVIDIA H100 NVL", 95830, "h100-nvl-94gb"),
        ("NVIDIA H200", 143771, "h200-sxm-141gb"),
        ("NVIDIA H200 NVL", 143771, "h200-nvl-141gb"),
        ("NVIDIA GH200 480GB", 97871, "gh200-96gb"),
        ("NVIDIA GH200 120GB", 97871, "gh200-96gb"),
        ("NVIDIA GH200 144G HBM3e", 146831, "gh200-144gb"),
        ("NVIDIA B200", 183359, "b200-sxm-180gb"),
        ("NVIDIA GB200", 189471, "gb200-186gb"),
        ("NVIDIA B300 SXM6 AC", 275040, "b300-ac-sxm-288gb"),
        ("NVIDIA H20", 97871, "h20-sxm-96gb"),
        ("NVIDIA L40S", 46068, "l40s-48gb"),
        ("NVIDIA L4", 23034, "l4-24gb"),
        ("NVIDIA A10G", 22731, "a10g-24gb"),
        ("Tesla V100-SXM2-16GB", 16160, "v100-sxm-16gb"),
        ("Tesla V100-PCIE-32GB", 32768, "v100-pcie-32gb"),
        ("Tesla T4", 15360, "t4-16gb"),
        ("NVIDIA GeForce RTX 4090", 24564, "geforce-rtx-4090-24gb"),
        ("GeForce RTX 2080 Ti", 11019, "geforce-rtx-2080-ti-11gb"),
        ("NVIDIA GeForce GTX 1060 3GB", 3019, "geforce-gtx-1060-3gb"),
        ("NVIDIA RTX A4000", 15352, "rtx-a4000-16gb"),
        ("NVIDIA RTX A4000", 16376, "rtx-a4000-16gb"),
        ("NVIDIA RTX 6000 Ada Generation", 46068, "rtx-6000-ada-48gb"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "rtx-6000-ada-48gb"),
        ("Quadro RTX 6000", 22698, "quadro-rtx-6000-24gb"),
        ("NVIDIA GB10", None, "gb10"),
    ],
)
def test_names_seen_in_the_wild(name, mib, sku):
    assert gpu_sku(name, memory_bytes=mib and mib * MIB) == sku


@pytest.mark.parametrize(
    ("pci_device_id", "sku"),
    [(0x2331, "h100-pcie-80gb"), (0x2321, "h100-nvl-80gb"), (0x2330, "h100-sxm-80gb"), (None, "h100-sxm-80gb")],
)
def test_the_pci_id_tells_the_form_factor_where_the_name_does_not(pci_device_id, sku):
    assert gpu_sku("NVIDIA H100", memory_bytes=81559 * MIB, pci_device_id=pci_device_id) == sku


def test_a_slice_and_a_power_cap_are_other_skus():
    facts = {"memory_bytes": 81920 * MIB, "default_power_limit_w": 400}
    whole = gpu_sku("NVIDIA A100-SXM4-80GB", power_limit_w=400, **facts)
    capped = gpu_sku("NVIDIA A100-SXM4-80GB", power_limit_w=250, **facts)
    part = gpu_sku("NVIDIA A100-SXM4-80GB", power_limit_w=400, mig_profile="3g.40gb", **facts)
    both = gpu_sku("NVIDIA A100-SXM4-80GB", power_limit_w=250, mig_profile="1c.3g.40gb+me", **facts)
    assert whole == "a100-sxm-80gb"
    assert capped == "a100-sxm-80gb-250w"
    assert part == "a100-sxm-80gb-mig-3g.40gb"
    assert both == "a100-sxm-80gb-mig-1c.3g.40gb.me-250w"


def test_a_laptops_wandering_limit_is_no_part_of_it():
    facts = {"memory_bytes": 8188 * MIB, "power_limit_w": 95, "default_power_limit_w": 80}
    assert gpu_sku("NVIDIA GeForce RTX 4070 Laptop GPU", **facts) == "geforce-rtx-4070-laptop-gpu-8gb"


def test_a_limit_that_cannot_be_read_is_no_cap():
    assert gpu_sku("Tesla T4", memory_bytes=15360 * MIB, power_limit_w=60) == "t4-16gb"
    assert gpu_sku("Tesla T4", memory_bytes=15360 * MIB, default_power_limit_w=70) == "t4-16gb"


# Profiles of the MIG User Guide, with the memory that NVML shows for such a slice.
@pytest.mark.parametrize(
    ("gpu_mib", "gpu_slices", "mib", "profile"),
    [
        (40536, 1, 4864, "1g.5gb"),
        (40536, 3, 20096, "3g.20gb"),
        (81920, 1, 9856, "1g.10gb"),
        (81920, 7, 81050, "7g.80gb"),
        (143771, 1, 16384, "1g.18gb"),
        (143771, 1, 33280, "1g.35gb"),
        (143771, 3, 71424, "3g.71gb"),
        (183359, 1, 22528, "1g.23gb"),
        (183359, 2, 45312, "2g.45gb"),
        (24258, 1, 5952, "1g.6gb"),
    ],
)
def test_a_slice_without_a_named_profile_gets_the_one_of_its_shape(gpu_mib, gpu_slices, mib, profile):
    shape = {"gpu_slices": gpu_slices, "memory_bytes": mib * MIB, "gpu_memory_bytes": gpu_mib * MIB}
    assert mig_profile("NVIDIA A100", compute_slices=gpu_slices, **shape) == profile


def test_the_profile_in_the_name_of_a_slice_goes_before_its_shape():
    shape = {"gpu_slices": 3, "compute_slices": 1, "memory_bytes": 40192 * MIB, "gpu_memory_bytes": 81920 * MIB}
    assert mig_profile("NVIDIA A100-SXM4-80GB MIG 1c.3g.40gb+me", **shape) == "1c.3g.40gb+me"
    assert mig_profile("NVIDIA A100-SXM4-80GB", **shape) == "1c.3g.40gb"


@given(st.sampled_from(SOLD_GB), st.floats(0.915, 1.0))
def test_a_size_is_recognised_by_what_is_left_of_it(size, left):
    found = marketed_gb(int(size * 1024**3 * left))
    assert found <= size
    assert found >= size * left * 0.995 - 1


@given(st.integers(1, 2000 * 1024**3))
def test_no_size_is_far_from_what_is_there(memory_bytes):
    gib = memory_bytes / 1024**3
    assert gib * 0.99 - 0.5 <= marketed_gb(memory_bytes) <= max(1, gib / 0.9 + 0.5)


@given(st.text(max_size=60), st.one_of(st.none(), st.integers(1, 2**40)), st.one_of(st.none(), st.text(max_size=20)))
def test_any_gpu_has_a_sku_that_can_name_a_file(name, memory_bytes, profile):
    sku = gpu_sku(name, memory_bytes=memory_bytes, mig_profile=profile, power_limit_w=1, default_power_limit_w=2)
    assert FILE_NAME.match(sku), sku


@given(st.sampled_from(["H100 PCIe", "A100-SXM4-80GB", "RTX A4000", "L4", "GeForce RTX 5090"]), st.integers(1, 300))
def test_the_vendors_name_in_front_makes_no_difference(name, gib):
    plain = gpu_sku(name, memory_bytes=gib * 1024**3)
    assert gpu_sku(f"NVIDIA {name}", memory_bytes=gib * 1024**3) == plain
    assert gpu_sku(f"Tesla {name}", memory_bytes=gib * 1024**3) == plain


@pytest.mark.parametrize(
    ("name", "family", "sku"),
    [
        ("AMD EPYC 7742 64-Core Processor", "23.49", "cpu-amd-epyc-7742-8c"),
        ("AMD EPYC 9654 96-Core Processor", "25.17", "cpu-amd-epyc-9654-8c"),
        ("AMD EPYC", "26.2", "cpu-amd-epyc-26.2-8c"),
        ("Intel(R) Xeon(R) Platinum 8480+", "6.143", "cpu-intel-xeon-platinum-8480-plus-8c"),
        ("Intel(R) Xeon(R) Platinum 8480C", "6.143", "cpu-intel-xeon-platinum-8480c-8c"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "6.79", "cpu-intel-xeon-6.79-8c"),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", "6.158", "cpu-intel-core-i7-9750h-8c"),
        ("QEMU Virtual CPU version 2.5+", "15.107", "cpu-qemu-virtual-version-2.5-plus-15.107-8c"),
        ("aarch64 implementer 0x41 part 0xd4f", None, "cpu-aarch64-implementer-0x41-part-0xd4f-8c"),
        ("", None, "cpu-unknown-8c"),
    ],
)
def test_processors(name, family, sku):
    assert cpu_sku(name, cores=8, family=family) == sku


@given(st.text(max_size=60), st.integers(1, 1024), st.one_of(st.none(), st.text(max_size=10)))
def test_any_processor_has_a_sku_that_can_name_a_file_and_tells_its_cores(name, cores, family):
    sku = cpu_sku(name, cores=cores, family=family)
    assert FILE_NAME.match(sku), sku
    assert sku != cpu_sku(name, cores=cores + 1, family=family)
