"""Tunes the shipped workloads on this host's GPU, a result file each: `python -m benchmarks.gpu_studies --out DIR`.

Each file holds device, versions, command and date beside the figures. Absolute times of one run drift with the clocks
(a sustained load lowers an H200's by a fifth within seconds), so the figures that compare are measured in pairs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

STUDIES = {
    "triton_matmul": ["--trials", "120"],
    "triton_softmax": ["--trials", "60"],
    "cuda_stencil": ["--trials", "60"],
    "inference_batching": ["--trials", "40"],
}


def tune(name: str, options: list[str]) -> dict[str, Any]:
    """Run one study as a user would and give what it printed."""
    words = ["study", f"workloads/{name}.py", "--json", *options]
    done = subprocess.run([sys.executable, "-m", "autotune", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return {"command": "autotune " + " ".join(words), **json.loads(done.stdout)}


def result(printed: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run, the first problem's on top."""
    first = printed["studies"][0]
    rows = [_row(study) for study in printed["studies"]]
    return {
        "workload": first["workload"],
        "command": printed["command"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": first["device"],
        "versions": first["toolchain"],
        **{key: rows[0][key] for key in ("default_ms", "best_ms", "speedup")},
        "problems": rows,
    }


def _row(study: dict[str, Any]) -> dict[str, Any]:
    """The winner as its rounds read it, the default as the search did."""
    tuned = study["tuned"]
    best = {key: tuned[key] for key in ("config", "value", "interval")} | tuned["provenance"] if tuned else {}
    return {
        "problem": study["problem"],
        "objective": study["objective"],
        "default": study["default"],
        "best": best,
        "default_ms": study["default"]["metrics"].get("latency_ms"),
        "best_ms": best.get("metrics", {}).get("latency_ms"),
        "speedup": study["speedup"],
        "verdict": study["verdict"],
        "occupancy": study["occupancy"],
        "peak_shares": study["peak_shares"],
        "trials": study["trials"],
        "failures": study["failures"],
        "elapsed_s": study["elapsed_s"],
        "valid_configs": study["valid_configs"],
    }


def main() -> None:
    """Tune what was asked for; the matmul winner is then measured in pairs with torch.matmul."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    arguments.add_argument("--trials", help="instead of each study's own number")
    arguments.add_argument("names", nargs="*", default=list(STUDIES))
    chosen = arguments.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.names:
        options = ["--trials", chosen.trials] if chosen.trials else STUDIES[name]
        found = result(tune(name, options))
        if name == "triton_matmul":
            from benchmarks import triton_matmul_pairs

            row = next(r for r in found["problems"] if r["problem"]["m"] == 4096)
            found |= triton_matmul_pairs.pairs(row["best"]["config"], row["default"]["config"])
        (chosen.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        shown = ("workload", "default_ms", "best_ms", "speedup", "pair_ratio_torch")
        print(json.dumps({key: found.get(key) for key in shown}))


if __name__ == "__main__":
    main()
