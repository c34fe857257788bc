import random
import statistics

import pytest

from autotune.errors import UserError
from autotune.executors.noise import Noise
from autotune.measurement import Samples


def read(noise, samples=(10.0,), spread_ms=None, name="latency_ms", count=4000):
    return noise.readings(name, Samples(tuple(samples)), spread_ms, count, random.Random(1)).values


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_share_is_the_standard_deviation_around_the_value(share):
    found = read(Noise.parse(str(share)))
    assert statistics.fmean(found) == pytest.approx(10.0, rel=0.03)
    assert statistics.stdev(found) == pytest.approx(10.0 * share, rel=0.1)
    assert min(found) > 0


def test_the_recorded_spread_is_that_of_the_file_or_of_its_readings():
    recorded = Noise.parse("recorded")
    assert statistics.stdev(read(recorded, spread_ms=0.2)) == pytest.approx(0.2, rel=0.1)
    assert statistics.stdev(read(recorded, samples=(9.0, 10.0, 11.0))) == pytest.approx(1.0, rel=0.1)
    assert set(read(recorded)) == {10.0}
    assert set(read(recorded, spread_ms=0.2, name="energy_j")) == {10.0}


@pytest.mark.parametrize("text", ["loud", "-0.1", "1.5", "nan"])
def test_anything_else_is_refused_with_what_is_expected(text):
    with pytest.raises(UserError, match=r"expected 'recorded' or a share below 1, as in --noise 0.05"):
        Noise.parse(text)
