import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from autotune import cli
from autotune.device import Device, cpu_device, tenants
from autotune.device.occupant import Occupant
from autotune.device.tenants import Tenant
from autotune.errors import DeviceError, UserError
from autotune.executors import admission
from autotune.executors.admission import Admission
from tests.unit.device.fake_nvidia import libraries
from tests.unit.disks import ROOT

FIRST = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
STRANGER = Tenant(who=Occupant(pid=4242, user="alice", command="python train.py"), memory_bytes=2**30)


def gpu(index, sku="h200-sxm-141gb"):
    return Device(
        kind="gpu", index=index, sku=sku, name="NVIDIA H200", uuid=f"GPU-{index}", arch="sm_90", memory_bytes=1,
        multiprocessors=132,
    )  # fmt: skip


GPUS = [gpu(0), gpu(1, "a100"), gpu(2, "a100")]


@pytest.fixture
def there(monkeypatch):
    """Who is there, by the device's index: before our worker is, and beside it."""
    first, beside = {}, {}
    monkeypatch.setattr(tenants, "GONE_S", 0.0)
    monkeypatch.setattr(admission, "tenants", lambda device: first.get(device.index, []))
    monkeypatch.setattr(admission, "newcomers", lambda device: beside.get(device.index, []))
    monkeypatch.setattr(admission, "gpu_devices", lambda: GPUS)
    return first, beside


def on_fake_host(*words, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    loaded = {"LD_LIBRARY_PATH": str(libraries(False)), "FAKE_HOST": "h200"}
    return subprocess.run(
        [sys.executable, "-m", "autotune", *words],
        cwd=ROOT,
        env={**inherited, **loaded, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_gpu_on_which_others_run_is_refused_with_what_to_type(there):
    there[0][0] = [STRANGER]
    with pytest.raises(DeviceError) as refused:
        Admission(GPUS, shared=False).trial("h200-sxm-141gb")
    assert str(refused.value) == (
        "gpu:0 (h200-sxm-141gb) is not ours alone; others run on it, and would be in every measurement: "
        "pid 4242 of alice: python train.py, with 1.0 GiB. "
        "Wait for them, take a free one (--device gpu:1 or --device gpu:2), or measure all the same with --shared."
    )
    there[0].update({1: [STRANGER], 2: [STRANGER]})
    with pytest.raises(DeviceError, match=r"Wait for them, or measure all the same with --shared\."):
        Admission(GPUS, shared=False).trial("h200-sxm-141gb")


def test_others_are_welcome_where_the_user_says_so(there):
    there[0][0] = there[1][0] = [STRANGER]
    Admission(GPUS, shared=True).round("h200-sxm-141gb")


def test_every_device_of_the_sku_is_looked_at_and_no_other(there):
    there[0][2] = [STRANGER]
    Admission(GPUS, shared=False).trial("h200-sxm-141gb")
    with pytest.raises(DeviceError, match="gpu:2"):
        Admission(GPUS, shared=False).trial("a100")


def test_only_the_first_trial_and_the_rounds_are_looked_at(there):
    one = Admission(GPUS, shared=False)
    one.trial("h200-sxm-141gb")
    there[0][0] = [STRANGER]
    one.trial("h200-sxm-141gb")
    one.round("h200-sxm-141gb")
    there[1][0] = [STRANGER]
    with pytest.raises(DeviceError, match=r"no winner can be found: pid 4242 .* the same command goes on"):
        one.round("h200-sxm-141gb")


def test_a_device_that_cannot_be_locked_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_LOCK_FOLDER", str(tmp_path / "nowhere"))
    with pytest.raises(DeviceError, match="--lock-folder DIR"):
        Admission([cpu_device()], shared=False).trial(cpu_device().sku)


def test_the_folder_of_the_locks_can_be_typed(tmp_path):
    words = ["trial", str(ROOT / "tests/workloads/logged.py"), "-w", "on_cpu", "--executor", "inline"]
    done = CliRunner().invoke(cli.app, ["--lock-folder", str(tmp_path / "nowhere"), *words])
    assert isinstance(done.exception, DeviceError)
    assert f"{tmp_path}/nowhere/autotune-cpu.queue cannot be used" in str(done.exception)


def test_on_a_host_the_command_ends_with_one_sentence_and_names_the_free_gpus():
    busy = {"FAKE_PROCESSES": f"{FIRST} 4194303 1024;"}
    done = on_fake_host("trial", "tests/workloads/logged.py", "-w", "on_gpu", **busy)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("autotune: gpu:0 (h200-sxm-141gb) is not ours alone")
    assert "--device gpu:1 or --device gpu:2" in done.stderr


@pytest.mark.parametrize("command", ["study", "trial"])
def test_the_executor_hears_of_shared(monkeypatch, command):
    heard = []

    def load_executor(kind, options):
        heard.append(options.shared)
        raise UserError("enough")

    monkeypatch.setattr(cli.tuning, "load_executor", load_executor)
    for words in ([], ["--shared"]):
        CliRunner().invoke(cli.app, [command, str(ROOT / "tests/workloads/logged.py"), "-w", "on_cpu", *words])
    assert heard == [False, True]


def test_devices_tells_who_is_on_them():
    busy = {"FAKE_PROCESSES": f"{FIRST} 4194303 1024;"}
    first, second, *_ = json.loads(on_fake_host("devices", "--json", **busy).stdout)
    assert first["tenants"] == [{"pid": 4194303, "user": None, "command": "", "memory_bytes": 2**30}]
    assert second["tenants"] == []
    assert "gpu:0 is used by pid 4194303, which cannot be seen from here" in on_fake_host("devices", **busy).stdout
