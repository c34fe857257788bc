import pytest

from autotune.sweep.dependencies import ALL, ALWAYS, toolchain_parts


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import math", set()),
        ("import numpy as np", set()),
        ("import torch", {"torch"}),
        ("import torch\nimport triton.language as tl", {"torch", "triton"}),
        ("def body():\n    from triton import jit", {"triton"}),
        ("import torch.distributed as dist", {"torch", "nccl"}),
        ("from torch import distributed", {"torch", "nccl"}),
        ("import torch\ntorch.distributed.init_process_group", {"torch", "nccl"}),
        ("import torch as t\nf = t.compile(len)", {"torch", "triton"}),
        ("from cuda.core import Device", {"cuda"}),
        ("import autotune\nfrom autotune.search_spaces import tiles", set()),
    ],
)
def test_what_a_file_imports_is_what_it_uses(tmp_path, source, parts):
    path = tmp_path / "one.py"
    path.write_text(source)
    assert toolchain_parts(path) == ALWAYS | parts


def test_a_module_beside_it_counts_and_a_package_from_elsewhere_may_use_anything(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("import kernels")
    assert toolchain_parts(path) == ALL
    (tmp_path / "kernels.py").write_text("import triton")
    assert toolchain_parts(path) == ALWAYS | {"triton"}
