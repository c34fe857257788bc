import statistics

import pytest

from autotune.morning.student_t import quantile, tail


# NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
@pytest.mark.parametrize(
    ("chance", "freedom", "value"),
    [(0.01, 1, 31.821), (0.01, 2, 6.965), (0.01, 4, 3.747), (0.001, 10, 4.143), (0.05, 20, 1.725), (0.025, 100, 1.984)],
)
def test_quantiles_are_those_of_the_handbook(chance, freedom, value):
    assert quantile(chance, freedom) == pytest.approx(value, abs=1e-3)
    assert tail(value, freedom) == pytest.approx(chance, rel=2e-3)


def test_with_much_freedom_it_is_the_normal_distribution():
    assert tail(3.0, 1e6) == pytest.approx(1 - statistics.NormalDist().cdf(3.0), rel=1e-3)


def test_both_tails_are_one_together():
    assert tail(0.0, 5) == pytest.approx(0.5)
    assert tail(-2.3, 7) == pytest.approx(1 - tail(2.3, 7))
