"""CUDA_VISIBLE_DEVICES, which CUDA obeys and NVML does not."""

import pytest

from autotune.device.nvml import Nvml
from autotune.device.visibility import visible_gpus

from .fake_nvidia import libraries

FIRST, SECOND, THIRD = "GPU-aaaaaaaa", "GPU-aaaabbbb", "GPU-cccccccc"
WHOLE, LARGE, SMALL = "GPU-dddddddd", "MIG-11111111", "MIG-22222222"
T4, H200 = "GPU-00000004", "GPU-00000200"


@pytest.fixture
def seen(monkeypatch):
    """The beginnings of the UUIDs that a process with the variable sees on a host; `cuda` is CUDA's own order."""

    def see(host, variable=None, *, cuda=(), **environment):
        monkeypatch.setenv("FAKE_HOST", host)
        nvml = Nvml(str(libraries(False) / "libnvidia-ml.so.1"))
        if variable is not None:
            environment["CUDA_VISIBLE_DEVICES"] = variable
        return [nvml.uuid(one.handle)[:12] for one in visible_gpus(nvml, environment, lambda: cuda)]

    return see


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, [FIRST, SECOND, THIRD]),
        ("0", [FIRST]),
        ("2,0", [THIRD, FIRST]),
        (" 1 , 2 ", [SECOND, THIRD]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,2", [FIRST]),
        ("1,7,2", [SECOND]),
        ("0,,2", [FIRST]),
        ("1,1", []),
        ("2gpu", [THIRD]),
        ("GPU-cccccccc-0000-0000-0000-000000000002", [THIRD]),
        ("GPU-c,GPU-aaaab", [THIRD, SECOND]),
        ("GPU-aaaa", []),  # two begin so
        ("GPU-c,GPU-nowhere,GPU-aaaab", [THIRD]),
        ("MIG-11111111", []),
    ],
)
def test_the_variable_filters_and_orders(seen, variable, expected):
    assert seen("h200", variable) == expected


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, [LARGE, SMALL, WHOLE]),
        ("0", [WHOLE]),
        ("1", [LARGE, SMALL]),
        ("GPU-e", [LARGE, SMALL]),
        ("MIG-2", [SMALL]),
        ("MIG-22222222-0000-0000-0000-000000000000,MIG-1", [SMALL, LARGE]),
        ("MIG-3", []),
        ("2", []),  # in MIG mode, and without a slice
        ("2,0", [WHOLE]),
        ("1,MIG-1", []),
    ],
)
def test_a_gpu_in_mig_mode_stands_for_its_slices(seen, variable, expected):
    assert seen("mig", variable) == expected


def test_where_gpus_differ_cuda_is_asked_for_its_order(seen):
    cuda = ["00000200-0000-0000-0000-000000000001", "00000004-0000-0000-0000-000000000000"]
    assert seen("mixed", cuda=cuda) == [H200, T4]
    assert seen("mixed", "1", cuda=cuda[1:]) == [T4]
    assert seen("mixed", cuda=cuda, CUDA_DEVICE_ORDER="PCI_BUS_ID") == [T4, H200]
    assert seen("mixed", "GPU-00000004,GPU-00000200", cuda=cuda) == [T4, H200]


def test_without_cuda_the_order_is_that_of_the_bus(seen):
    assert seen("mixed", cuda=[]) == [T4, H200]
