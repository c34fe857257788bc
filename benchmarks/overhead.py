"""What autotune costs: its import, its lookups, a study's bookkeeping per trial; `python -m benchmarks.overhead`.

Times on a shared CPU are noisy: the medians of several runs are given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.device import Toolchain, cpu_device, devices
from autotune.executors.local import LocalExecutor
from autotune.plan import Budget, Plan
from autotune.progress import Progress
from autotune.registry import RecordedTrial, Registry
from autotune.study import Study
from autotune.trial import Effort
from autotune.workload import load
from benchmarks import lookup_overhead

TRIALS = 1000
LAST = 100

# Seven parameters with a constraint among them; the trial itself does nothing.
WORKLOAD = """
import autotune
from autotune import SearchSpace, choice, power_of_two

def fits(config, problem, device):
    return (config.block_m + config.block_n) * config.block_k * config.num_stages <= 2**16

@autotune.workload(
    space=SearchSpace(
        block_m=power_of_two(16, 256), block_n=power_of_two(16, 256), block_k=power_of_two(16, 256),
        group_m=choice(1, 4, 8), num_warps=choice(2, 4, 8), num_stages=choice(1, 2, 3, 4, 5), split_k=choice(1, 2, 4),
    ).where(fits),
    objective=autotune.maximize("score"),
    gpus=0,
)
def nothing(problem, config):
    yield lambda: {"score": config.block_m / config.block_n + config.num_warps - abs(config.num_stages - 3)}
"""


def study_overhead(trials: int = TRIALS) -> dict[str, float]:
    """Wall milliseconds per trial beside the trial: ask, submit, tell, record, and the way to the worker and back.

    Over all trials, and over the last hundred, where the model and the database are largest.
    """
    left: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nothing.py"
        path.write_text(WORKLOAD)
        (workload,) = load(path)
        plan = Plan(
            workload=workload,
            problem=workload.problems[0],
            device=cpu_device(),
            budget=Budget(trials=trials),
            effort=Effort.QUICK,
        )
        last_s = time.perf_counter()

        def watch(progress: Progress, trial: RecordedTrial | None) -> None:
            nonlocal last_s
            if trial is not None:
                now_s = time.perf_counter()
                left.append(1e3 * (now_s - last_s - trial.outcome.elapsed_s))
                last_s = now_s

        with LocalExecutor() as executor, Registry.open(f"sqlite:///{folder}/autotune.db") as registry:
            Study(plan, executor, registry, Path(folder) / "snapshots", watch).run()
    steady = left[1:]  # the first waits for the worker to start
    return {
        "study_overhead_ms_per_trial": statistics.median(steady),
        "study_overhead_mean_ms_per_trial": statistics.fmean(steady),
        "study_overhead_last_100_ms_per_trial": statistics.median(steady[-LAST:]),
        "trials": len(left),
    }


def measure() -> dict[str, Any]:
    """All figures, with where and when they were taken."""
    here = devices()[0]
    return {
        **lookup_overhead.measure(),
        **study_overhead(),
        "device": here.to_json(),
        "versions": Toolchain.current(here).to_json(),
        "command": "python -m benchmarks.overhead",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Measure, print, and write the result file."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results/overhead.json")
    out = arguments.parse_args().out
    found = measure()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
