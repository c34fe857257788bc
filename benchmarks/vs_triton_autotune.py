"""A study of a GEMM under `@triton.autotune` against `triton.autotune` itself, each as its user would run it, once.

    python -m benchmarks.vs_triton_autotune --out benchmarks/results/vs_triton_autotune.json

Both start cold, in processes of their own with an empty compile cache, and have the same configurations to choose from.
Then the two picks are measured in alternating pairs at steady clocks, for readings of different minutes do not compare.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.device import Toolchain, gpu_devices
from autotune.drop_in.kernel import AutotunedKernel
from autotune.registry import Registry
from autotune.values import Config
from autotune.workload import load
from benchmarks.triton_matmul_pairs import against

HERE = Path(__file__).parent
KERNEL, WORKLOAD = HERE / "gemm_kernel.py", HERE / "gemm_autotuned.py"
RESULT = HERE / "results" / "vs_triton_autotune.json"
TRIALS, PAIRS = 150, 600
LEAST_CONFIGURATIONS = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command that ended well: what it printed, and seconds since its start."""

    answer: dict[str, Any]
    answered_s: float
    """Until its answer was there."""
    wall_s: float
    """Until the process had ended."""


def theirs() -> dict[str, Any]:
    """Triton's autotuner over the whole list: wall seconds from the start of its process until it has picked."""
    with tempfile.TemporaryDirectory() as folder:
        run = _timed([sys.executable, str(KERNEL)], Path(folder))
    return {"theirs_wall_s": run.answered_s, **{f"theirs_{name}": value for name, value in run.answer.items()}}


def ours(trials: int, seed: int) -> dict[str, Any]:
    """A study as typed, its wall seconds from the start of the process to its end, and what these are made of."""
    words = ["study", str(WORKLOAD.relative_to(HERE.parent)), "--json", "--trials", str(trials), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        run = _timed([sys.executable, "-m", "autotune", *words], Path(folder))
        [study] = run.answer["studies"]
        parts = _parts(Path(folder), study["study"])
    if study["tuned"] is None:
        raise SystemExit(f"the study has no winner: {study['verdict']}, failures {study['failures']}")
    return {
        "ours_command": shlex.join(["autotune", *words]),
        "ours_wall_s": run.wall_s,
        "ours_trials": study["trials"],
        "ours_failures": study["failures"],
        "ours_picked": study["tuned"]["config"],
        "ours_verdict": study["verdict"],
        "configurations": study["valid_configs"],
        "idle_share": study["occupancy"]["idle_share"],
        "ours_occupancy": study["occupancy"],
        "ours_parts": {
            # Of the wall time: these add up to it.
            "start_up_s": run.answered_s - study["elapsed_s"],
            "study_s": study["elapsed_s"],
            "exit_s": run.wall_s - run.answered_s,
            # Of the study, summed over trials, where the one process that has the device was in them.
            **parts,
        },
        "device": study["device"],
        "versions": study["toolchain"],
    }


def compare(reference: Mapping[str, Any], candidate: Mapping[str, Any], pairs: int) -> dict[str, Any]:
    """Two configurations in alternating pairs on the same inputs; the ratio is candidate over reference."""
    [workload] = load(WORKLOAD)
    module = sys.modules["gemm_kernel"]
    kernel, inputs = AutotunedKernel.of(module.gemm_kernel), module.operands()
    first, second = (kernel.pin(workload.space.config(one)) for one in (reference, candidate))
    launch = functools.partial(module.multiply, *inputs)
    found = against(first.around(launch), second.around(launch), pairs)
    return {
        "pair_ratio": found.ratio.median,
        "pair_ratio_ci": list(found.ratio.interval),
        "pairs": pairs,
        "theirs_ms": found.reference_ms.median,
        "ours_ms": found.candidate_ms.median,
    }


def main() -> None:
    """Run both, compare their picks, print and write the result."""
    options = _options()
    subprocess.run([sys.executable, "-c", "import torch, triton"], check=True)  # read from the disk for neither
    stored = json.loads(options.out.read_text()) if options.skip_theirs else theirs()
    before = {name: value for name, value in stored.items() if name.startswith("theirs_") and name != "theirs_ms"}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(before) + "\n")  # minutes of a GPU, not to be lost if the rest fails
    print(json.dumps(before), flush=True)
    own = ours(options.trials, options.seed)
    print(json.dumps(own), flush=True)
    _check(before, own)
    result = {
        "configurations": own["configurations"],
        "theirs_wall_s": before["theirs_wall_s"],
        "ours_wall_s": own["ours_wall_s"],
        "wall_ratio": own["ours_wall_s"] / before["theirs_wall_s"],
        "ours_trials": own["ours_trials"],
        **compare(before["theirs_picked"], own["ours_picked"], options.pairs),
        **before,
        **own,
        "versions": Toolchain.current(gpu_devices()[0]).to_json(),
        "cores": len(os.sched_getaffinity(0)),
        "command": shlex.join(["python", "-m", "benchmarks.vs_triton_autotune", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(_summary(result))


def _timed(command: Sequence[str], folder: Path) -> Run:
    """Run it with nothing compiled, tuned or remembered yet; its answer is the JSON that it prints."""
    environment = {
        **os.environ,
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "AUTOTUNE_HOME": str(folder / "home"),
        "AUTOTUNE_DATABASE": "",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONUNBUFFERED": "1",  # so that the answer is seen when it is given
    }
    started, answered, printed = time.perf_counter(), 0.0, ""
    with subprocess.Popen(command, env=environment, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            answered, printed = time.perf_counter(), printed + line
    ended = time.perf_counter()
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit code {process.returncode}")
    return Run(answer=json.loads(printed), answered_s=answered - started, wall_s=ended - started)


def _parts(folder: Path, study: int) -> dict[str, Any]:
    """Seconds of each phase of the trials, and of the rounds after them, as recorded by the study."""
    phases: Counter[str] = Counter()
    with Registry.open(f"sqlite:///{folder / 'home' / 'autotune.db'}") as registry:
        for trial in registry.trials(study):
            phases.update(trial.outcome.phase_s)
        rounds = registry.measured_again(study)
    again = sum(outcome.elapsed_s for one in rounds for outcome in one.outcomes.values())
    return {
        "trial_phases_s": {name: round(s, 3) for name, s in phases.items()},
        "rounds": len(rounds),
        "rounds_s": again,
    }


def _check(before: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """The comparison means nothing unless both chose from the same configurations, and from enough of them."""
    if before["theirs_configurations"] != own["configurations"] or own["configurations"] < LEAST_CONFIGURATIONS:
        raise SystemExit(
            f"theirs chose from {before['theirs_configurations']} configurations, ours from {own['configurations']}; "
            f"expected the same number, at least {LEAST_CONFIGURATIONS}."
        )
    if before["theirs_failed"]:
        raise SystemExit(f"{before['theirs_failed']} configurations failed under triton.autotune; expected none.")


def _summary(result: Mapping[str, Any]) -> str:
    low, high = result["pair_ratio_ci"]
    return (
        f"triton.autotune {result['theirs_wall_s']:.1f} s for {result['configurations']} configurations; "
        f"autotune study {result['ours_wall_s']:.1f} s ({result['wall_ratio']:.3f} of it), "
        f"{result['ours_trials']} trials.\n"
        f"theirs {Config(result['theirs_picked']).text}, {result['theirs_ms']:.4f} ms\n"
        f"ours   {Config(result['ours_picked']).text}, {result['ours_ms']:.4f} ms\n"
        f"ours over theirs in {result['pairs']} pairs: {result['pair_ratio']:.4f} ({low:.4f} to {high:.4f}); "
        f"idle share {result['idle_share']}; made of {json.dumps(result['ours_parts'])}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vs_triton_autotune", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of our study")
    parser.add_argument("--seed", type=int, default=0, help="of our study")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of the final comparison")
    parser.add_argument("--skip-theirs", action="store_true", help="take Triton's time and pick from the file at --out")
    parser.add_argument("--out", type=Path, default=RESULT, help="write the result there as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
