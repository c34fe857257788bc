"""Ten studies of one kernel with different seeds, and their picks measured together: `python -m benchmarks.agreement`.

Each study has a registry of its own and knows nothing of the others; what is compiled is shared. A pick's spread is by
how much the best of the picks is better, in pairs; its default_ratio is what the default's value is multiplied by.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.device import Toolchain
from autotune.executor import Executor, ExecutorOptions, load_executor
from autotune.measurement import Measurement
from autotune.plan import Plan
from autotune.round import Round
from autotune.selection.evidence import Evidence, Readings
from autotune.values import Config, Problem
from autotune.workload import find, load

ROOT = Path(__file__).parents[1]
WORKLOAD = ROOT / "workloads/triton_matmul.py"
PROBLEM = "m=4096,n=4096,k=4096,dtype=bfloat16"
STUDIES, TRIALS, ROUNDS = 10, 80, 8
ROUND_SEED = 1_000_000
"""The common measurement has inputs that no study has seen."""


def study(options: argparse.Namespace, seed: int, home: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """One study, run as a user would; what it printed."""
    words = ["study", str(options.workload), "--problem", options.problem, "--trials", str(options.trials)]
    words += ["--device", options.device, "--seed", str(seed), "--json"]
    words += ["--workload", options.name] if options.name else []
    command = [sys.executable, "-m", "autotune", "--home", str(home), *words]
    started_s = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the study of seed {seed} ended with exit code {done.returncode}\n{done.stderr[-4000:]}")
    (printed,) = json.loads(done.stdout)["studies"]
    return {**printed, "wall_s": time.monotonic() - started_s}


def together(executor: Executor, plan: Plan, configs: Sequence[Config], rounds: int = ROUNDS) -> Evidence:
    """All in turn, in rounds; SystemExit that says what failed where one did."""
    taken: list[Readings] = []
    for number in range(1, rounds + 1):
        trials = [replace(plan.trial(config), seed=ROUND_SEED + number) for config in configs]
        outcomes = executor.submit_round(Round(trials=tuple(trials), number=number)).result()
        readings: dict[Config, Measurement] = {}
        for config, outcome in zip(configs, outcomes, strict=True):
            if not isinstance(outcome, Measurement):
                raise SystemExit(f"{config.text} failed in the common measurement: {outcome.message}")
            readings[config] = outcome
        taken.append(readings)
    return Evidence(plan.workload.objective, taken)


def compare(
    evidence: Evidence, default: Config, seeds: Mapping[Config, Sequence[int]], direction: str
) -> list[dict[str, Any]]:
    """A row per distinct pick, the best first."""
    gains, sign = {pick: evidence.gain(pick, over=default) for pick in seeds}, 1 if direction == "maximize" else -1
    best = max(gains, key=lambda pick: gains[pick].mean)
    rows = [
        {
            "config": pick,
            "seeds": list(seeds[pick]),
            "value": evidence.values(pick).median,
            "spread": 0.0 if pick == best else evidence.gain(best, over=pick).mean,
            "default_ratio": 1 + sign * gains[pick].mean,
            "default_ratio_interval": sorted(1 + sign * end for end in (gains[pick].low, gains[pick].high)),
        }
        for pick in seeds
    ]
    return sorted(rows, key=lambda row: row["spread"])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures, with where and when they were taken."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shared = {"TRITON_CACHE_DIR": f"{folder}/triton", "XDG_CACHE_HOME": f"{folder}/cache"}
        os.environ.update(shared)  # for the common measurement too
        printed = [study(options, seed, Path(folder) / str(seed), os.environ) for seed in range(options.studies)]
        seeds: dict[Config, list[int]] = {}
        for seed, one in enumerate(printed):
            seeds.setdefault(Config(one["tuned"]["config"]), []).append(seed)
        with load_executor("local", ExecutorOptions(device=options.device)) as executor:
            declared = load(options.workload)
            workload = find(declared, options.name or printed[0]["workload"])
            device = executor.devices()[0]
            plan = Plan(workload=workload, problem=Problem(printed[0]["problem"]), device=device)
            default = Config(printed[0]["default"]["config"])
            evidence = together(executor, plan, list(dict.fromkeys([default, *seeds])), options.rounds)
    picks = compare(evidence, default, seeds, workload.objective.direction)
    return {
        "workload": workload.name,
        "problem": plan.problem,
        "picks": picks,
        "max_spread": max(row["spread"] for row in picks),
        "default": default,
        "studies": options.studies,
        "trials": options.trials,
        "verdicts": Counter(one["verdict"]["kind"] for one in printed),
        "study_wall_s": [round(one["wall_s"], 1) for one in printed],
        "rounds": evidence.rounds,
        "pairs": evidence.pairs(default),
        "wall_s": round(time.monotonic() - started_s, 1),
        "device": device.to_json(),
        "versions": Toolchain.current(device).to_json(),
        "command": shlex.join(["python", "-m", "benchmarks.agreement", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Run the studies, compare their picks, print, and write the result file."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    arguments.add_argument("--workload", type=Path, default=WORKLOAD, help="a file that declares it")
    arguments.add_argument("--name", help="of the workload, where the file declares several")
    arguments.add_argument("--problem", default=PROBLEM, help="one problem of it, k=v,…")
    arguments.add_argument("--studies", type=int, default=STUDIES)
    arguments.add_argument("--trials", type=int, default=TRIALS, help="of each study")
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="of the common measurement")
    arguments.add_argument("--device", default="gpu", help="as for autotune study")
    arguments.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/agreement.json")
    chosen = arguments.parse_args()
    chosen.workload = chosen.workload.resolve()
    found = measure(chosen)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
