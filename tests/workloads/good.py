"""Workloads of the CPU whose time is known from their configuration."""

import random
import time

import autotune
from autotune import Problem, SearchSpace, boolean, choice, integer


@autotune.workload(space=SearchSpace(ms=choice(1, 2, 4, 8, default=4)), gpus=0)
def sleeping(problem, config):
    """Sleeps as long as the configuration says."""
    slept = []
    yield lambda: slept.append(time.sleep(config.ms / 1e3))
    assert slept


@autotune.workload(
    space=SearchSpace(chunk=integer(1, 64, default=1), sort=boolean()),
    problems=[Problem(n=2_000), Problem(n=20_000)],
    gpus=0,
)
def busy(problem, config):
    """Sums numbers in chunks; larger chunks are faster."""
    numbers = [random.random() for _ in range(problem.n)]
    totals = []

    def total():
        ordered = sorted(numbers) if config.sort else numbers
        totals.append(sum(sum(ordered[i : i + config.chunk]) for i in range(0, problem.n, config.chunk)))

    yield total
    assert abs(totals[-1] - sum(numbers)) < 1e-6


@autotune.workload(
    space=SearchSpace(batch=choice(1, 2, 4, 8)),
    objective=autotune.maximize("items_per_s", subject_to={"p99_ms": 6}),
    gpus=0,
)
def serving(problem, config):
    """Larger batches have a higher throughput and a longer tail; 8 is beyond the bound."""

    def serve():
        time.sleep(0.001)
        return {"items_per_s": 1000.0 * config.batch**0.5, "p99_ms": float(config.batch), "note": "ignored"}

    yield serve


@autotune.workload(space=SearchSpace(nothing=choice(0, 1)), gpus=0)
def trivial(problem, config):
    """Almost nothing: what remains is the overhead."""
    yield lambda: None
