"""What the tests of the registry put into it."""

import subprocess
import sys
from pathlib import Path

import sqlalchemy

from autotune.device import Device
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.registry import RecordedTrial, StudyKey
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem

ROOT = Path(__file__).parents[3]
DEVICE = Device(
    kind="gpu", index=0, sku="h200", name="NVIDIA H200", uuid="GPU-0", arch="sm_90", memory_bytes=1, multiprocessors=132
)
KEY = StudyKey(
    workload="matmul",
    version="0123456789ab",
    space_fingerprint="f00d",
    problem=Problem(m=16, scale=0.1, dtype="bfloat16"),
    sku="h200",
    gpus=1,
    objective="minimize latency_ms",
    effort="full",
    toolchain={"torch": "2.11.0", "driver": "570.86"},
)
DEFAULT = Config(block_m=64, fast=True)
MEASURED = Measurement(
    metrics={"latency_ms": Samples((1.25, 1.5)), "tokens_per_s": Samples((3.0,))},
    conditions=Conditions(sm_clock_mhz=1980, throttle=("power",)),
    phase_s={"prepare": 0.5, "measure": 0.1},
)
FAILED = Failure(
    kind=FailureKind.COMPILE, message="no", details="printed \0 and \ud800", phase="warm_up", phase_s={"prepare": 1.0}
)


def execute(url, *statements):
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def start(registry, key=KEY, **changes):
    described = {"path": Path(__file__), "device": DEVICE, "default_config": DEFAULT, "seed": 7, "sampler": "tpe"}
    return registry.study(key, **described | changes)


def trial(number, outcome=MEASURED, **config):
    return RecordedTrial(
        number=number,
        config=Config(config or {"block_m": number}),
        outcome=outcome,
        origin="search",
        finished_at="2026-01-01",
    )


def tuned(config=DEFAULT, **changes):
    values = {
        "workload": "matmul",
        "version": "0123456789ab",
        "problem": Problem(m=16),
        "sku": "h200",
        "gpus": 1,
        "config": config,
        "metric": "latency_ms",
        "direction": "minimize",
        "value": 0.1,
        "interval": (0.09, 0.11),
        "baseline": None,
        "baseline_config": DEFAULT,
        "speedup": None,
        "toolchain": {"torch": "2.11.0"},
        "measured_at": "2026-01-01T00:00:00+00:00",
        "provenance": {"study": 3},
    }
    return TunedConfig(**values | changes)


def script(program, *arguments, **options):
    """A process that runs the program with this checkout importable."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)
