"""What `import autotune` and a lookup cost, each in fresh processes; a study's own overhead is measured elsewhere."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from autotune import snapshot
from autotune.device import current_sku
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = 10_000
RUNS = 9

_ASKED = "'matmul', m=5000, n=4096, k=4096, dtype='bfloat16'"
_HOT = f"""
import timeit, autotune
timer = timeit.Timer("best_config({_ASKED})", globals={{"best_config": autotune.best_config}})
print(min(timer.repeat(9, 20_000)) / 20_000 * 1e6)
"""
_FIRST = f"""
import time, autotune.lookup
from autotune import best_config
started_s = time.perf_counter()
best_config({_ASKED})
print((time.perf_counter() - started_s) * 1e3)
"""


def measure() -> dict[str, float]:
    """Medians: `import_ms` over a bare interpreter, a repeated lookup, and a first one among 10,000 entries."""
    with tempfile.TemporaryDirectory() as home:
        snapshot.write(Path(home, "snapshots"), entries())
        return {
            "import_ms": import_ms(),
            "lookup_hot_us": statistics.median(_printed(_HOT, home) for _ in range(3)),
            "lookup_first_ms": statistics.median(first_ms(home) for _ in range(RUNS)),
        }


def import_ms(runs: int = RUNS) -> float:
    """The median of differences between neighbouring runs, for which the machine is about equally busy."""
    return statistics.median(_wall_ms("import autotune") - _wall_ms("pass") for _ in range(runs))


def first_ms(home: str | Path) -> float:
    """A first lookup in a fresh process, with the snapshots below `home`; the import is not counted."""
    return _printed(_FIRST, home)


def entries() -> Iterator[TunedConfig]:
    """As many winners as a snapshot may well grow to hold."""
    sku, default = current_sku(), Config(block_m=64, block_n=64, block_k=32, group_m=8, num_warps=4, num_stages=2)
    for m in range(1, ENTRIES + 1):
        yield TunedConfig(
            workload="matmul",
            version="0123456789ab",
            problem=Problem(m=m, n=4096, k=4096, dtype="bfloat16"),
            sku=sku,
            gpus=1,
            config=Config(default, block_m=128),
            metric="latency_ms",
            direction="minimize",
            value=0.101,
            interval=(0.1, 0.102),
            baseline=0.15,
            baseline_config=default,
            speedup=1.485,
            toolchain={"driver": "570.86.15", "cuda": "12.8", "torch": "2.11.0", "triton": "3.6.0", "python": "3.12.3"},
            measured_at="2026-01-01T00:00:00+00:00",
            provenance={"study": 1, "trials": 200, "failures": 10, "device": "NVIDIA H200", "host": "gpu-01"},
        )


def _printed(program: str, home: str | Path) -> float:
    environment = {**os.environ, "AUTOTUNE_HOME": str(home), "AUTOTUNE_SNAPSHOT_PATH": ""}
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout)


def _wall_ms(program: str) -> float:
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    return (time.perf_counter() - started_s) * 1e3
