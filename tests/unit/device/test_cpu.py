"""What /proc and /sys say, of this machine and of machines laid out in a folder."""

import os

import pytest

from autotune.device import cpu


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A file system with the given files; the process may run on `cores` cores."""

    def lay_out(files, cores=8):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        monkeypatch.setattr(cpu, "affinity", lambda: set(range(cores)))
        return str(tmp_path)

    return lay_out


def test_this_machine():
    assert cpu.processor().name
    assert 1 <= cpu.usable_cores() <= (os.cpu_count() or 1)
    assert cpu.usable_memory_bytes() > 2**28
    assert cpu.affinity()


def test_the_first_block_names_the_processor(machine):
    root = machine(
        {"proc/cpuinfo": "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654\n\nmodel name\t: X\n"}
    )
    assert cpu.processor(root) == cpu.Processor(name="AMD EPYC 9654", family="25.17")


def test_an_arm_processor_is_named_by_its_numbers(machine):
    text = "processor\t: 0\nBogoMIPS\t: 2000.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\nCPU part\t: 0xd0c\n"
    found = cpu.processor(machine({"proc/cpuinfo": text}))
    assert found.name.endswith("implementer 0x41 part 0xd4f")
    assert found.family is None


def test_a_machine_that_tells_nothing_still_has_a_processor(machine):
    root = machine({})
    assert cpu.processor(root) == cpu.Processor(name=os.uname().machine, family=None)
    assert cpu.usable_cores(root) == 8
    assert cpu.usable_memory_bytes(root) == 0
    assert (cpu.l2_bytes(root), cpu.clock_mhz(root)) == (None, None)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("6400000 100000", 8)],
)
def test_a_quota_of_the_second_version_caps_the_cores(machine, quota, cores):
    files = {"proc/self/cgroup": "0::/job.slice\n", "sys/fs/cgroup/job.slice/cpu.max": f"{quota}\n"}
    assert cpu.usable_cores(machine(files)) == cores


def test_the_tightest_quota_among_the_ancestors_counts(machine):
    files = {
        "proc/self/cgroup": "0::/pod/container\n",
        "sys/fs/cgroup/pod/container/cpu.max": "max 100000\n",
        "sys/fs/cgroup/pod/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/pod/memory.max": "1000000\n",
        "proc/meminfo": "MemTotal:       16384 kB\n",
    }
    root = machine(files)
    assert cpu.usable_cores(root) == 3
    assert cpu.usable_memory_bytes(root) == 1000000


def test_a_quota_of_the_first_version_is_found_at_the_mount_point_of_a_container(machine):
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
        "proc/meminfo": "MemTotal:       16384 kB\n",
    }
    root = machine(files)
    assert cpu.usable_cores(root) == 4
    assert cpu.usable_memory_bytes(root) == 2000000


def test_no_quota_of_the_first_version_is_minus_one(machine):
    files = {"proc/self/cgroup": "1:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}
    assert cpu.usable_cores(machine(files)) == 8


def test_sizes_of_caches(machine):
    path = "sys/devices/system/cpu/cpu0/cache/index2/size"
    assert cpu.l2_bytes(machine({path: "2048K\n"})) == 2 * 1024**2


def test_the_clock_is_the_mean_of_the_cores_that_may_be_used(machine):
    files = {
        f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": f"{1000000 * (core + 1)}\n" for core in range(4)
    }
    assert cpu.clock_mhz(machine(files, cores=2)) == 1500


def test_a_virtual_machines_clock_is_in_cpuinfo(machine):
    text = "".join(f"processor\t: {core}\ncpu MHz\t\t: {2000 + core}.000\n\n" for core in (0, 2, 4))
    assert cpu.clock_mhz(machine({"proc/cpuinfo": text}, cores=3)) == 2001  # the cores 0 and 2


def rapl(zone, name, energy, most=262_143_328_850):
    folder = f"sys/class/powercap/{zone}"
    return {f"{folder}/name": f"{name}\n", f"{folder}/energy_uj": energy, f"{folder}/max_energy_range_uj": f"{most}\n"}


def test_energy_is_the_sum_over_the_packages_from_the_first_reading_on(machine):
    zones = {
        **rapl("intel-rapl:0", "package-0", "5000000\n"),
        **rapl("intel-rapl:1", "package-1", "7000000\n"),
        **rapl("intel-rapl:0:0", "core", "1000000\n"),
        **rapl("intel-rapl:2", "psys", "1000000\n"),
    }
    root = machine(zones)
    assert cpu.energy_j(root) == 0
    machine(rapl("intel-rapl:0", "package-0", "6500000\n"))
    machine(rapl("intel-rapl:1", "package-1", "7250000\n"))
    machine(rapl("intel-rapl:2", "psys", "9000000\n"))
    assert cpu.energy_j(root) == pytest.approx(1.75)


def test_a_counter_of_energy_that_starts_again_goes_on(machine):
    root = machine(rapl("intel-rapl:0", "package-0", "9000000\n", most=10_000_000))
    cpu.energy_j(root)
    machine(rapl("intel-rapl:0", "package-0", "500000\n", most=10_000_000))
    assert cpu.energy_j(root) == pytest.approx(1.5)
    machine(rapl("intel-rapl:0", "package-0", "600000\n", most=10_000_000))
    assert cpu.energy_j(root) == pytest.approx(1.6)


def test_energy_that_may_not_be_read_is_none(machine):
    assert cpu.energy_j(machine(rapl("intel-rapl:0", "package-0", ""))) is None
    assert cpu.energy_j(machine({}) + "/nowhere") is None
