"""A fortnight and its morning, made up: 24 targets on four devices, and something of everything that may happen."""

import random
from dataclasses import replace

from autotune.event import Event, EventKind
from autotune.sweep.due import Due, DueKind
from autotune.sweep.night import Deed
from autotune.values import Config, Problem
from autotune.verdict import Gain, Verdict, VerdictKind
from benchmarks.regression import HISTORY, INCUMBENT, Noise, Workplace

NAMES = ("matmul", "attention_fwd", "rms_norm", "moe_gate", "softmax", "kv_copy")
OLD, NEW = {"driver": "580.82", "triton": "3.6.0"}, {"driver": "580.82", "triton": "3.7.0"}
UPDATED, WON = 9, 5
"""The nights of an update, after which one target was slower for good, and of a winner."""
BETTER = Config(tile=256)


def fortnight(seed=1):
    """Tonight, and the nights before it."""
    place = Workplace(Noise(), random.Random(seed))
    targets = place.targets
    nights = []
    for number in range(HISTORY + 1):
        slower = {targets[1]: (-0.15, 0.0)} if number > WON else {}
        slower |= {targets[8]: (0.06, 0.0)} if number >= UPDATED else {}
        slower |= {targets[4]: (0.09, 0.0), targets[14]: (0.05, 0.06)} if number == HISTORY else {}
        night = place.night(number, slower, whole=number == HISTORY)
        nights.append(replace(night, results=tuple(_dressed(result, targets, number) for result in night.results)))
    *before, tonight = nights
    return _tonight(tonight, targets), before


def _dressed(result, targets, number):
    """With a name, with the night's toolchain, and with the configuration that was in place."""
    index = targets.index(result.due.target)
    target = replace(
        result.due.target, workload=NAMES[index // 4], problem=Problem(m=16 * 4 ** (index % 4), n=4096, dtype="bf16")
    )
    versions = (NEW if number >= UPDATED else OLD) | ({"driver": "580.95"} if number == HISTORY and index < 12 else {})
    config = BETTER if index == 1 and number > WON else INCUMBENT
    first, default = result.readings
    readings = (replace(first, config=config), default)
    return replace(
        result,
        due=replace(result.due, target=target),
        readings=readings,
        toolchain=versions,
        trials=12,
        gpu_s=240.0,
    )


def _tonight(night, targets):
    """What else a night may bring."""
    results = list(night.results)
    verdict = Verdict(
        kind=VerdictKind.PROMOTED,
        winner=Config(tile=512, stages=3),
        reason="11.2 % better than the incumbent, over 5 rounds",
        over_incumbent=Gain(mean=0.112, low=0.097, high=0.127),
        trials=150,
        decided_at="2026-11-15T02:10:00+00:00",
    )
    tuned = Due(target=results[18].due.target, kind=DueKind.HARD_STALE, reasons=("driver 580.82 → 580.95",))
    results[18] = replace(results[18], due=tuned, deed=Deed.TUNED, verdict=verdict, trials=150, gpu_s=2900.0)
    results[3] = replace(results[3], failures={"out_of_memory on node-1": 7, "incorrect on node-3": 2}, trials=40)
    results[21] = replace(
        results[21], deed=Deed.FAILED, readings=(), message="kv_copy.py line 31: ImportError: no module named pagedkv"
    )
    late = Due(target=results[23].due.target, kind=DueKind.SOFT_STALE, reasons=("14 nights old",))
    results[23] = replace(results[23], due=late, deed=Deed.OUT_OF_BUDGET, readings=())
    events = (
        Event(
            kind=EventKind.QUARANTINED,
            at="2026-11-15T01:40:12+00:00",
            node="node-2",
            device="GPU-2",
            message="Its canary failed twice after its worker was replaced.",
        ),
        Event(
            kind=EventKind.REPLACED,
            at="2026-11-15T01:38:50+00:00",
            node="node-2",
            device="GPU-2",
            message="The worker died of signal 11.",
        ),
    )
    missing = ("no device of h100-pcie-80gb was there",)
    return replace(night, results=tuple(results), events=events, missing=missing, generation=41)
