"""What /proc and /sys tell about this machine's processor: model, usable cores, memory, clocks; no SKU is made here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from os.path import isdir

ROOT = "/"

_CLOCK = r"^processor\s*: (\d+)$.*?^cpu MHz\s*: ([\d.]+)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """The first block of /proc/cpuinfo."""

    name: str
    """The model's name; on Arm, which has none, `aarch64 implementer 0x41 part 0xd4f`."""
    family: str | None
    """Family and model number as in `26.2`; None off x86."""


def processor(root: str = ROOT) -> Processor:
    """The processor of this machine; of its first core, where they differ."""
    first, _, _ = read(f"{root}/proc/cpuinfo", at_most=8192).partition("\n\n")
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    family, model = fields.get("cpu family"), fields.get("model")
    return Processor(
        name=fields.get("model name") or _unnamed(fields),
        family=f"{family}.{model}" if family and model else None,
    )


def usable_cores(root: str = ROOT) -> int:
    """Cores that this process may run on at once: its affinity, capped by the CPU quota of its control groups.

    A quota of one and a half cores counts as two: that many threads can run at the same moment.
    """
    quotas = [cores for folder in control_groups("cpu", root) if (cores := _quota_cores(folder)) is not None]
    whole = [max(1, -int(-cores // 1)) for cores in quotas]
    return min([len(affinity()), *whole])


def usable_memory_bytes(root: str = ROOT) -> int:
    """Physical memory, capped by the limits of this process's control groups; 0 where nothing tells."""
    total = re.search(r"MemTotal:\s+(\d+) kB", read(f"{root}/proc/meminfo"))
    limits = [
        int(text)
        for folder in control_groups("memory", root)
        for file in ("memory.max", "memory.limit_in_bytes")
        if (text := read(f"{folder}/{file}").strip()).isdigit()
    ]
    return min([int(total[1]) * 1024, *limits]) if total else min(limits, default=0)


def l2_bytes(root: str = ROOT) -> int | None:
    """The second-level cache of one core."""
    size = re.match(r"(\d+)([KM])", read(f"{root}/sys/devices/system/cpu/cpu0/cache/index2/size"))
    return int(size[1]) * {"K": 1024, "M": 1024**2}[size[2]] if size else None


def clock_mhz(root: str = ROOT) -> int | None:
    """The mean present clock of the first cores in the affinity; of a few, since the kernel asks each for its own."""
    cores = sorted(affinity())[:8]
    texts = [read(f"{root}/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq").strip() for core in cores]
    clocks = [int(text) / 1000 for text in texts if text.isdigit()]
    if not clocks:  # a virtual machine has no cpufreq
        blocks = re.findall(_CLOCK, read(f"{root}/proc/cpuinfo", at_most=65536), re.MULTILINE | re.DOTALL)
        clocks = [float(mhz) for core, mhz in blocks if int(core) in cores]
    return round(sum(clocks) / len(clocks)) if clocks else None


def energy_j(root: str = ROOT) -> float | None:
    """Joules that the processor's packages have drawn, counted from some moment; None where nobody tells us.

    Where the kernel counts energy (RAPL) it most often lets only root read it.
    """
    return _energy_counter(root).read_j()


def control_groups(controller: str, root: str = ROOT) -> Iterator[str]:
    """The folders of this process's control group and of its ancestors, of version 2 and of version 1.

    The path in /proc/self/cgroup is the host's, and need not exist in a container: then only the mount point, which
    is the container's own group, is found. A folder that is not there reads as no limit.
    """
    for line in read(f"{root}/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = f"{root}/sys/fs/cgroup/{controllers}".rstrip("/")
        while path.strip("/"):
            yield mount + path
            path = path.rpartition("/")[0]
        yield mount


def affinity() -> set[int]:
    """The cores that the scheduler may put this process on; all of them on systems without affinities."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def read(path: str, at_most: int = -1) -> str:
    """The text of a file, its first characters alone if told so, or nothing where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(at_most)
    except OSError:
        return ""


@cache
def _energy_counter(root: str) -> _EnergyCounter:
    return _EnergyCounter(root)


class _EnergyCounter:
    """The sum over the packages, each of which starts again at 0 after its range: some minutes to hours of load.

    Source: Documentation/power/powercap/powercap.rst of the Linux kernel. A zone within a package is part of it.
    """

    def __init__(self, root: str) -> None:
        folder = f"{root}/sys/class/powercap"
        zones = sorted(filter(re.compile(r"intel-rapl:\d+").fullmatch, os.listdir(folder))) if isdir(folder) else []
        self._zones = [zone for name in zones if read(f"{(zone := f'{folder}/{name}')}/name").startswith("package")]
        self._last_uj: dict[str, int] = {}
        self._drawn_uj = 0

    def read_j(self) -> float | None:
        """Since the first call; to be called again before a package's range is used up."""
        for zone in self._zones:
            text = read(f"{zone}/energy_uj").strip()
            if not text.isdigit():
                return None
            now_uj, last_uj = int(text), self._last_uj.get(zone)
            if last_uj is not None:
                wrapped = now_uj < last_uj
                range_uj = int(read(f"{zone}/max_energy_range_uj").strip() or 0) if wrapped else 0
                self._drawn_uj += now_uj - last_uj + range_uj
            self._last_uj[zone] = now_uj
        return self._drawn_uj / 1e6 if self._zones else None


def _unnamed(fields: dict[str, str]) -> str:
    machine = os.uname().machine
    if "CPU part" in fields:
        return f"{machine} implementer {fields.get('CPU implementer', '?')} part {fields['CPU part']}"
    return fields.get("cpu") or fields.get("uarch") or machine  # POWER; RISC-V


def _quota_cores(folder: str) -> float | None:
    """The quota of one group in cores; None where there is none."""
    quota, _, period = read(f"{folder}/cpu.max").strip().partition(" ")  # version 2: "max 100000" or "150000 100000"
    if not quota:
        quota = read(f"{folder}/cpu.cfs_quota_us").strip()  # version 1: -1 is none
        period = read(f"{folder}/cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None
