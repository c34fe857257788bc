"""The simulation of benchmarks/selection.py, made small: `Study.run` on a device that exists as noise only."""

from dataclasses import replace

import pytest

from autotune.device import cpu_device
from autotune.registry import Registry
from autotune.study import Study
from autotune.verdict import VerdictKind
from benchmarks.selection import Noise, SimulatedExecutor, simulate, simulated_plan

STUDIES = 20


def test_parameters_that_do_nothing_promote_nothing():
    assert simulate(STUDIES, 0.0) == [VerdictKind.DEFAULT] * STUDIES


def test_a_gain_of_three_percent_is_promoted_under_noise_of_two():
    assert simulate(STUDIES, 0.03).count(VerdictKind.PROMOTED) >= STUDIES - 1


def test_the_single_pass_of_those_searches_is_wrong_nearly_always():
    device, misled, first = replace(cpu_device(), sku="simulated"), 0, 0.0
    with Registry.memory() as registry:
        for seed in range(5):
            executor = SimulatedExecutor(device, 0.0, Noise(), seed)
            progress = Study(simulated_plan(f"nothing_{seed}", device, seed), executor, registry, None).run().progress
            misled += progress.best.config != progress.default_config
            first = max(first, progress.speedup)
    assert misled >= 4
    assert first > 1.03  # as much as is to be found where there is something to be found


@pytest.mark.parametrize("gain", [0.10, 0.5])
def test_a_large_gain_takes_few_rounds(gain):
    device = replace(cpu_device(), sku="simulated")
    with Registry.memory() as registry:
        executor = SimulatedExecutor(device, gain, Noise(), 1)
        verdict = Study(simulated_plan("large", device, 1), executor, registry, None).run().verdict
    assert verdict.kind is VerdictKind.PROMOTED
    assert verdict.over_default.mean == pytest.approx(gain, abs=0.01)
