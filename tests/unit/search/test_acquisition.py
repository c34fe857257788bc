import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from autotune.search.acquisition import log_expected_improvement


def gain(f, mean, deviation, best):
    return (best - f) * norm.pdf(f, mean, deviation)


@pytest.mark.parametrize("case", [(0.0, 1.0, 0.5), (1.0, 0.5, 0.0), (-1.0, 2.0, -3.0), (0.3, 0.2, 0.3)])
def test_it_is_the_log_of_the_integral(case):
    mean, deviation, best = case
    integral, _ = quad(gain, mean - 12 * deviation, best, args=case)
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
    assert np.isclose(found, np.log(integral), atol=1e-6)


def test_it_falls_without_underflow_or_jump():
    means = np.linspace(-50.0, 1000.0, 5000)
    found = log_expected_improvement(means, np.full(5000, 0.1), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
