"""A SKU that one process found out through NVML answers the next one, as long as the host looks the same."""

import os
import stat
import time

import pytest

from autotune.device import cpu_device, remembered

from .fake_nvidia import ask

H200 = "h200-sxm-141gb"
INFORMATION = """\
Model: \t\t NVIDIA H200
IRQ:   \t\t 41
GPU UUID: \t GPU-aaaaaaaa-0000-0000-0000-000000000000
Video BIOS: \t 96.00.cf.00.01
Bus Type: \t PCIe
GPU Firmware: \t 580.159.03
GPU Excluded:\t No
"""
DRIVER = "proc/driver/nvidia"
FILES = {
    "proc/sys/kernel/random/boot_id": "6a6b8f0c-0000-4000-8000-000000000000\n",
    f"{DRIVER}/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.03\n",
    f"{DRIVER}/gpus/0000:00:06.0/information": INFORMATION,
    f"{DRIVER}/capabilities/gpu0/mig/gi1/access": "DeviceFileMinor: 12\n",
    f"{DRIVER}/capabilities/gpu0/mig/gi1/ci0/access": "DeviceFileMinor: 13\n",
    "dev/nvidia0": "",
    "dev/nvidiactl": "",
    "dev/nvidia-caps/nvidia-cap12": "",
}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The root of a host with one GPU, which this process may use, and a cache of our own."""
    root = tmp_path / "host"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def kept(host):
    """The file in which the host's SKU is kept."""
    path = remembered.place(str(host))
    remembered.remember(path, H200)
    assert remembered.recall(path) == H200
    return path


@pytest.fixture
def no_nvml(tmp_path):
    """The environment in which NVML cannot be loaded, whatever the host has."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "libnvidia-ml.so.1").write_text("no library")
    return {"LD_LIBRARY_PATH": str(folder)}


def current(host, **environment):
    """The SKU in a fresh process."""
    environment = {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"], **environment}
    return ask("h200", f"device.current_sku({str(host)!r})", **environment)


def test_the_next_process_needs_no_nvml(host, no_nvml):
    assert current(host, **no_nvml) == cpu_device().sku
    assert current(host) == H200
    assert current(host, **no_nvml) == H200


def test_each_choice_of_devices_is_remembered_for_itself(host, no_nvml):
    assert current(host) == H200
    assert current(host, **no_nvml, CUDA_VISIBLE_DEVICES="2") == cpu_device().sku
    assert current(host, CUDA_VISIBLE_DEVICES="2") == "h200-sxm-141gb-450w"
    assert current(host, **no_nvml, CUDA_VISIBLE_DEVICES="2") == "h200-sxm-141gb-450w"
    assert current(host, **no_nvml) == H200


def test_the_processor_behind_hidden_gpus_is_not_remembered(host, tmp_path):
    assert current(host, CUDA_VISIBLE_DEVICES="") == cpu_device().sku
    assert not (tmp_path / "cache").exists()


def test_devices_are_asked_of_nvml(host, no_nvml):
    assert current(host) == H200
    kinds = f"[one.kind for one in (device.current_sku({str(host)!r}), device.devices())[1]]"
    assert ask("h200", kinds, XDG_CACHE_HOME=os.environ["XDG_CACHE_HOME"], **no_nvml) == ["cpu"]


def test_a_file_lives_for_ten_minutes(host, kept, no_nvml):
    for age_s, expected in [(590, H200), (610, None), (-60, None)]:
        then_s = time.time() - age_s
        os.utime(kept, (then_s, then_s))
        assert remembered.recall(kept) == expected
    assert current(host, **no_nvml) == cpu_device().sku
    assert current(host) == H200
    assert remembered.recall(kept) == H200


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/sys/kernel/random/boot_id", "another start\n"),
        (f"{DRIVER}/version", "NVRM version: 590.48.01\n"),
        (f"{DRIVER}/gpus/0000:00:06.0/information", INFORMATION.replace("GPU-a", "GPU-b")),
        (f"{DRIVER}/gpus/0000:00:06.0/information", INFORMATION.replace("96.00", "97.00")),
        (f"{DRIVER}/gpus/0000:00:07.0/information", INFORMATION),
        (f"{DRIVER}/capabilities/gpu0/mig/gi2/access", "DeviceFileMinor: 30\n"),
        (f"{DRIVER}/capabilities/gpu0/mig/gi1/ci1/access", "DeviceFileMinor: 14\n"),
        ("dev/nvidia1", ""),
        ("dev/nvidia-caps/nvidia-cap13", ""),
    ],
)
def test_a_host_that_changed_is_another_one(host, kept, path, text):
    (host / path).parent.mkdir(parents=True, exist_ok=True)
    (host / path).write_text(text)
    changed = remembered.place(str(host))
    assert changed != kept
    assert remembered.recall(changed) is None


@pytest.mark.parametrize("path", ["proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0", "dev/nvidia-caps"])
def test_what_was_taken_away_makes_another_host(host, kept, path):
    (host / path).rename(host / "gone")
    assert remembered.place(str(host)) != kept


def test_a_device_that_may_not_be_opened_does_not_count(host, kept, monkeypatch):
    def denied(path, mode):  # as a control group denies it, to root as well
        return not path.endswith("nvidia0") and os.path.exists(path)

    monkeypatch.setattr(remembered.os, "access", denied)
    assert remembered.place(str(host)) != kept


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"])
def test_an_empty_variable_is_not_one_that_is_missing(host, kept, monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert remembered.place(str(host)) != kept
    monkeypatch.delenv(name)
    assert remembered.place(str(host)) == kept


def test_another_version_of_ours_asks_again(host, kept, monkeypatch):
    monkeypatch.setattr("autotune.__version__", "0.0.1")
    assert remembered.place(str(host)) != kept


@pytest.mark.parametrize(
    "path", [f"{DRIVER}/gpus", f"{DRIVER}/gpus/0000:00:06.0/information", "proc/sys/kernel/random/boot_id"]
)
def test_a_host_that_does_not_tell_what_it_is_is_not_remembered(host, path):
    (host / path).rename(host / "gone")
    assert remembered.place(str(host)) is None
    assert current(host) == H200
    assert not os.path.exists(os.environ["XDG_CACHE_HOME"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"h200-sxm",
        b"h200\nh100\n",
        b"H200\n",
        b"../h200\n",
        b"..\n",
        b"\xff\n",
        b"\0" * 15,
        b"h" * 101 + b"\n",
    ],
)
def test_a_damaged_file_is_ignored_and_written_anew(host, kept, no_nvml, content):
    with open(kept, "wb") as file:
        file.write(content)
    assert remembered.recall(kept) is None
    remembered.remember(kept, H200)
    assert remembered.recall(kept) == H200


def test_after_damage_a_process_asks_nvml(host, kept, no_nvml):
    with open(kept, "w") as file:
        file.write("h200-sxm-14")
    assert current(host, **no_nvml) == cpu_device().sku
    assert current(host) == H200
    assert current(host, **no_nvml) == H200


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/hostname", path)])
def test_only_a_plain_file_is_read(kept, plant):
    os.unlink(kept)
    plant(kept)
    assert remembered.recall(kept) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("whole_folder", [True, False])
def test_what_is_another_users_is_ignored(host, kept, no_nvml, whole_folder):
    os.chown(os.path.dirname(kept) if whole_folder else kept, 1234, 1234)
    assert remembered.recall(kept) is None
    assert current(host, **no_nvml) == cpu_device().sku
    assert current(host) == H200
    assert (remembered.recall(kept) == H200) is not whole_folder


def test_a_folder_that_others_may_write_is_neither_read_nor_written(kept):
    folder = os.path.dirname(kept)
    os.chmod(folder, 0o777)
    assert remembered.recall(kept) is None
    remembered.remember(kept, "h100-sxm-80gb")
    os.chmod(folder, 0o700)
    assert remembered.recall(kept) == H200


def test_a_cache_that_cannot_be_written_leaves_nvml(host, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert current(host) == H200
    assert current(host) == H200


def test_a_write_that_was_cut_off_is_not_repeated_over_and_leaves_nvml(host, kept):
    unfinished = f"{kept}.{os.getpid()}"
    with open(unfinished, "w") as file:
        file.write("h2")
    remembered.remember(kept, "h100-sxm-80gb")
    assert remembered.recall(kept) == H200
    os.utime(unfinished, (0, 0))
    remembered.remember(kept, "h100-sxm-80gb")
    assert remembered.recall(kept) == "h100-sxm-80gb"


def test_only_the_owner_can_look_into_the_folder(kept):
    assert stat.S_IMODE(os.stat(os.path.dirname(kept)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600


def test_what_has_expired_is_swept_away(kept):
    folder = os.path.dirname(kept)
    for name in ("old", "recent"):
        remembered.remember(f"{folder}/{name}", H200)
    os.utime(f"{folder}/old", (0, 0))
    remembered.remember(f"{folder}/new", H200)
    assert sorted(os.listdir(folder)) == sorted(["recent", "new", os.path.basename(kept)])


def test_the_cache_is_where_the_specification_has_it(host, monkeypatch):
    for base in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        monkeypatch.setenv("HOME", "/home/someone")
        assert os.path.dirname(remembered.place(str(host))) == "/home/someone/.cache/autotune/sku"


def test_looking_it_up_takes_under_a_millisecond(host, kept):
    def timed_s():
        start_s = time.perf_counter()
        assert remembered.recall(remembered.place(str(host))) == H200
        return time.perf_counter() - start_s

    assert min(timed_s() for _ in range(5)) < 1e-3
