"""Plans, pasts and nights that the sweep's tests start from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from autotune.registry import Registry
from autotune.registry.records import StudyKey, StudyRecord
from autotune.sweep.due import Target
from autotune.sweep.past import Past
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from autotune.verdict import Verdict, VerdictKind
from tests.unit.answering import plan

STARTED_AT = "2026-03-01T02:00:00+00:00"
TOOLS = {
    "driver": "570.86.10", "cuda": "13.0", "torch": "2.11.0+cu130", "triton": "3.6.0", "nccl": "2.27.3",
    "python": "3.11", "autotune": "0.1.0",
}  # fmt: skip


_KEY = plan().key


def days_before(days, moment=STARTED_AT):
    return (datetime.fromisoformat(moment) - timedelta(days=days)).astimezone(UTC).isoformat(timespec="seconds")


def key(**changes):
    values = {name: getattr(_KEY, name) for name in StudyKey.__dataclass_fields__} | {"toolchain": TOOLS}
    return StudyKey(**values | changes)


def verdict(kind=VerdictKind.PROMOTED, winner=Config(x=1), at=None):  # noqa: B008 - it is frozen
    return Verdict(kind=kind, winner=winner, reason="It won.", trials=10, decided_at=at or days_before(2))


def study(trials=10, elapsed_s=20.0, judged=None, id=1, **changes):  # noqa: A002
    return StudyRecord(
        id=id, key=key(**changes), path="sample.py", device="NVIDIA H200", default_config=Config(x=9), seed=0,
        sampler="auto", state="complete", elapsed_s=elapsed_s, created_at=days_before(2), updated_at=days_before(2),
        trials=trials, failures=0, verdict=judged or verdict(),
    )  # fmt: skip


def tuned(speedup=2.0, **changes):
    one = TunedConfig(
        workload="sample", version="v1", problem=Problem(n=1), sku="h200-sxm-141gb", gpus=1, config=Config(x=1),
        metric="latency_ms", direction="minimize", value=1.0, interval=(1.0, 1.0), baseline=2.0,
        baseline_config=Config(x=9), speedup=speedup, toolchain=TOOLS, measured_at=days_before(2), verdict=verdict(),
    )  # fmt: skip
    return replace(one, **changes)


def past(days=2, speedup=2.0, judged=None, **changes):
    """Of a target that was tuned so many days ago; `changes` are those of its study's key since."""
    at = days_before(days)
    one = study(judged=judged or verdict(at=at), **changes)
    toolchain = one.key.toolchain
    return Past(study=one, tuned=tuned(speedup, toolchain=toolchain), looked_at=at, toolchain=toolchain)


def target(name="sample", sku="h200-sxm-141gb", **problem):
    return Target(workload=name, problem=Problem(problem or {"n": 1}), sku=sku, gpus=1)


def registry_file(folder):
    return Registry.open(f"sqlite:///{folder / 'registry.db'}")
