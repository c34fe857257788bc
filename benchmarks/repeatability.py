"""How far repeated measurements of one kernel lie apart, in fresh processes: `python -m benchmarks.repeatability`.

Element-wise kernels, each measured as a trial is: one that takes about 5 µs from a cold L2, a larger one that takes
5 µs from a warm one, and one of about 1 ms. Each is read from both; what the two short ones take from the other L2 is
kept beside them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.bench import perform
from autotune.device import Device, Toolchain, devices, select
from autotune.measurement import Measurement
from autotune.space import SearchSpace, choice
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Cache, Workload

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "repeatability.json"

PROCESSES = 10
SHORT_MS, LONG_MS = 0.005, 1.0
SMALLEST, LARGEST = 1 << 10, 1 << 28
"""Elements of a kernel, when one of the wanted time is looked for."""
CACHES: tuple[Cache, ...] = ("cold", "warm")


def adding(problem: Problem, config: Config) -> Iterator[Any]:
    """y = x + 1 over float32, one kernel."""
    import torch

    x = torch.zeros(problem.n, device="cuda")
    y = torch.empty_like(x)
    yield lambda: torch.add(x, 1.0, out=y)
    assert bool((y == 1).all())


def latency_ms(n: int, cache: Cache, device: Device, effort: Effort = Effort.FULL) -> float:
    """The median of one measurement of a kernel over n elements."""
    problem = Problem(n=n)
    workload = Workload(
        name="adding",
        body=adding,  # type: ignore[arg-type]
        space=SearchSpace(x=choice(1)),
        problems=(problem,),
        cache=cache,
        path=Path(__file__),
        version="1",
    )
    trial = Trial(
        workload=workload.reference, problem=problem, config=Config(x=1), sku=device.sku, gpus=1, effort=effort
    )
    outcome = perform(workload, trial, device, lambda _: None)
    if not isinstance(outcome, Measurement):
        raise SystemExit(f"{n} elements, {cache}: {outcome.message}\n{outcome.details}")
    return outcome.medians["latency_ms"]


def sizes(device: Device) -> list[int]:
    """Elements of the kernels on this device."""
    long_ms = latency_ms(LARGEST, "cold", device, Effort.QUICK)
    long = round(LARGEST * LONG_MS / long_ms / 1024) * 1024  # its time is in proportion to its size
    return [*(_short(cache, device) for cache in CACHES), long]


def _short(cache: Cache, device: Device) -> int:
    """Elements of a kernel that takes SHORT_MS from such a cache."""
    low, high = SMALLEST, LARGEST
    while high - low > low // 8:
        middle = round((low * high) ** 0.5 / 1024) * 1024
        if middle in (low, high):
            break
        if latency_ms(middle, cache, device, Effort.QUICK) < SHORT_MS:
            low = middle
        else:
            high = middle
    return low


def measure(ns: list[int], device: Device) -> list[dict[str, float]]:
    """In this process: for each size the milliseconds by cache."""
    return [{cache: latency_ms(n, cache, device) for cache in CACHES} for n in ns]


def in_a_fresh_process(*words: str) -> Any:
    """What this module prints when it is asked to measure by `words`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.repeatability", *words], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"a measuring process ended with {done.returncode}:\n{done.stdout}{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def rows(ns: list[int], readings: list[list[dict[str, float]]]) -> list[dict[str, Any]]:
    """From the sizes, and for each process the readings of each: what takes 5 µs, what takes 1 ms, and the rest."""
    cold, warm, long = ([process[index] for process in readings] for index in range(len(ns)))
    return [
        row("5 µs", (ns[0], [one["cold"] for one in cold]), (ns[1], [one["warm"] for one in warm])),
        row("1 ms", *((ns[2], [one[cache] for one in long]) for cache in CACHES)),
        row(
            "the 5 µs kernels, each from the other cache",
            (ns[1], [o["cold"] for o in warm]),
            (ns[0], [o["warm"] for o in cold]),
        ),
    ]


def row(kernel: str, of_cold: tuple[int, list[float]], of_warm: tuple[int, list[float]]) -> dict[str, Any]:
    """Medians over the processes, and how far they lie apart: (largest - smallest) / median."""
    (cold_elements, cold), (warm_elements, warm) = of_cold, of_warm
    return {
        "kernel": kernel,
        "cold_elements": cold_elements,
        "warm_elements": warm_elements,
        "cold_spread": spread(cold),
        "warm_spread": spread(warm),
        "cold_ms": cold,
        "warm_ms": warm,
    }


def spread(values: list[float]) -> float:
    """(largest - smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def table(found: list[dict[str, Any]]) -> str:
    """As it stands in docs/measurement.md."""
    lines = ["| kernel | cold, ms | spread | warm, ms | spread |", "| --- | --- | --- | --- | --- |"]
    for one in found:
        cold, warm = statistics.median(one["cold_ms"]), statistics.median(one["warm_ms"])
        lines.append(
            f"| {one['kernel']} | {cold:.4g} | {one['cold_spread']:.2%} | {warm:.4g} | {one['warm_spread']:.2%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Find the sizes, measure, print and write the result."""
    options = _options()
    [device] = select(devices(), options.device)[:1]
    chosen = ["--device", options.device]
    if options.find:
        print(json.dumps(sizes(device)))
        return
    if options.elements:
        print(json.dumps(measure(options.elements, device)))
        return
    ns = in_a_fresh_process("--find", *chosen)
    ask = ["--elements", *map(str, ns), *chosen]
    readings = [in_a_fresh_process(*ask) for _ in range(options.processes)]
    found = rows(ns, readings)
    result = {
        "device": device.to_json(),
        "versions": Toolchain.current(device).to_json(),
        "command": shlex.join(["python", "-m", "benchmarks.repeatability", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processes": options.processes,
        "rows": found,
    }
    print(table(found))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeatability", description=__doc__)
    parser.add_argument("--device", default="gpu", help="as for autotune study")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="measurements of each kernel")
    parser.add_argument("--out", type=Path, default=RESULT, help="write the result there as JSON")
    parser.add_argument("--find", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--elements", type=int, nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
