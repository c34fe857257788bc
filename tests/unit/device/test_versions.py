"""Versions are read, never imported."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import torch

import autotune
from autotune.device import versions


def test_torch_has_one_version_whether_it_is_loaded_or_not(monkeypatch):
    assert versions.torch() == torch.__version__
    monkeypatch.delitem(sys.modules, "torch")
    assert versions.torch() == torch.__version__


def test_a_version_file_of_any_form_is_read(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "version.py").write_text(
        'from typing import Optional\n__version__: str = "9.9.0+cu999"\ndebug = False\n'
    )
    assert versions.torch() == "9.9.0+cu999"


def test_without_a_version_file_the_metadata_counts(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')\n")
    assert versions.torch() == metadata.version("torch")


def test_a_stand_in_for_torch_is_no_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(versions, "find_spec", lambda name: None)
    assert versions.torch() is None
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="1.2.3"))
    assert versions.torch() == "1.2.3"


def test_triton_has_one_version_too(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text('"""isort:skip_file"""\n__version__ = \'3.6.0\'\nimport torch\n')
    assert versions.triton() == "3.6.0"


def test_what_is_not_installed_has_no_version(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert versions.nccl() is None


def test_the_newest_nccl_counts(monkeypatch):
    monkeypatch.setattr(metadata, "version", {"nvidia-nccl-cu13": "2.28.9", "nvidia-nccl-cu12": "2.27.3"}.__getitem__)
    assert versions.nccl() == "2.28.9"


def test_nothing_is_imported_to_find_them():
    code = (
        "import sys; from autotune.device import Toolchain, cpu_device; Toolchain.current(cpu_device());"
        "print({'torch', 'triton', 'numpy', 'pynvml', 'importlib.metadata'} & set(sys.modules))"
    )
    root = Path(autotune.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"
