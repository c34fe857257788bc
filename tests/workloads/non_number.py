"""Reports metrics that are no numbers."""

import time

import autotune
from autotune import SearchSpace, choice

VALUES = {
    "good": {"tokens_per_s": 10, "p99_ms": 1.5},
    "text": {"tokens_per_s": "many", "p99_ms": 1.5},
    "nan": {"tokens_per_s": float("nan"), "p99_ms": 1.5},
    "boolean": {"tokens_per_s": True, "p99_ms": 1.5},
    "missing": {"tokens_per_s": 10},
    "no_mapping": 10.0,
    "nothing": None,
    "ours": {"tokens_per_s": 10, "p99_ms": 1.5, "latency_ms": 3.0},
}


@autotune.workload(
    space=SearchSpace(mode=choice(*VALUES)),
    objective=autotune.maximize("tokens_per_s", subject_to={"p99_ms": 200}),
    gpus=0,
)
def non_number(problem, config):
    def call():
        time.sleep(0.002)
        return VALUES[config.mode]

    yield call
