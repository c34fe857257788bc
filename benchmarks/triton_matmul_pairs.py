"""A configuration of workloads/triton_matmul.py against torch.matmul, in alternating pairs; tuning is not done here.

    python -m benchmarks.triton_matmul_pairs --config block_m=128,block_n=256,… --out FILE

A sustained load lowers the clocks by a fifth within seconds, so only what is measured in turn is compared.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from autotune.device import Device, Toolchain, devices, select
from autotune.measurement import Samples, paired_ratio
from autotune.values import Config, Problem
from autotune.workload import find, load

WORKLOAD = Path(__file__).parents[1] / "workloads" / "triton_matmul.py"
PROBLEM = Problem(m=4096, n=4096, k=4096, dtype="bfloat16")
PAIRS, WARM_UP_S = 300, 2.0

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two calls that were timed in turn; the ratio is candidate over reference, pair by pair."""

    reference_ms: Samples
    candidate_ms: Samples
    ratio: Samples


def against(reference: Call, candidate: Call, pairs: int = PAIRS) -> Comparison:
    """Time both in turn on the current GPU, from cold L2, once both have warmed it up; every pair swaps the order."""
    import torch

    l2_bytes = torch.cuda.get_device_properties("cuda").L2_cache_size
    flush = torch.empty(2 * l2_bytes, dtype=torch.int8, device="cuda").zero_
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_UP_S:
        for call in (reference, candidate) * 20:
            call()
        torch.cuda.synchronize()
    first, second = [], []
    for pair in range(pairs):
        turns = [(reference, first), (candidate, second)]
        for call, into in turns if pair % 2 else reversed(turns):
            into.append(_timed(call, flush))
    torch.cuda.synchronize()
    reference_ms, candidate_ms = ([begin.elapsed_time(end) for begin, end in events] for events in (first, second))
    return Comparison(
        reference_ms=Samples(tuple(reference_ms)),
        candidate_ms=Samples(tuple(candidate_ms)),
        ratio=paired_ratio(candidate_ms, reference_ms),
    )


def pairs(config: Mapping[str, Any], default: Mapping[str, Any], problem: Problem = PROBLEM) -> dict[str, Any]:
    """Two configurations of the workload's kernel against torch.matmul, all on the same inputs; plain values."""
    import torch

    multiply = sys.modules[find(load(WORKLOAD), WORKLOAD.stem).body.__module__].multiply
    dtype = getattr(torch, problem.dtype)
    a = torch.randn(problem.m, problem.k, device="cuda", dtype=dtype)
    b = torch.randn(problem.k, problem.n, device="cuda", dtype=dtype)
    reference, product = (
        torch.full((problem.m, problem.n), float("nan"), device="cuda", dtype=dtype) for _ in range(2)
    )
    by_torch = partial(torch.matmul, a, b, out=reference)
    of_best, of_default = (against(by_torch, multiply(a, b, product, Config(chosen))) for chosen in (config, default))
    error = ((product.float() - reference.float()).norm() / reference.float().norm()).item()
    return {
        "default_ms": of_default.candidate_ms.median,
        "best_ms": of_best.candidate_ms.median,
        "torch_ms": of_best.reference_ms.median,
        "pair_ratio_torch": of_best.ratio.median,
        "pair_ratio_torch_interval": list(of_best.ratio.interval),
        "pair_ratio_torch_default": of_default.ratio.median,
        "pairs": len(of_best.ratio.values),
        "relative_error": error,
    }


def main() -> None:
    """Measure, print and write the result."""
    options = _options()
    [device] = select(devices(), options.device)[:1]
    space = find(load(WORKLOAD), WORKLOAD.stem).space
    config = space.config(Config.parse(options.config))
    default = space.bind(PROBLEM, device).default
    result = {
        **pairs(config, default),
        "config": config,
        "default_config": default,
        "problem": PROBLEM,
        **_about(device),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def _timed(call: Call, flush: Call) -> tuple[Any, Any]:
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush()
    begin.record()
    call()
    end.record()
    return begin, end


def _about(device: Device) -> dict[str, Any]:
    return {
        "device": device.to_json(),
        "versions": Toolchain.current(device).to_json(),
        "command": shlex.join(["python", "-m", "benchmarks.triton_matmul_pairs", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triton_matmul_pairs", description=__doc__)
    parser.add_argument("--config", required=True, help="name=value pairs of the tuned configuration")
    parser.add_argument("--device", default="gpu", help="as for autotune study")
    parser.add_argument("--out", type=Path, help="write the result there as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
