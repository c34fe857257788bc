import numpy as np
from scipy.optimize import check_grad

from autotune.search.encoding import Encoding
from autotune.search.evidence import Evidence, prior, spread
from autotune.search.kernel import Hyperparameters
from tests.unit.search.toy import time_ms


def evidence(valid, count=30, sources=2):
    rng = np.random.default_rng(0)
    configs = [config for config, keep in zip(valid, rng.random(valid.size) < count / valid.size, strict=True) if keep]
    encoding = Encoding.of(valid.space.parameters)
    rows = np.array([valid.row(config) for config in configs], dtype=np.int32)
    values = np.array([time_ms(config) for config in configs])
    values = (values - values.mean()) / values.std()
    siblings = values[:, None] + rng.normal(size=(len(rows), sources))
    return Evidence(encoding, encoding(rows), siblings, values)


def test_the_gradient_is_that_of_the_value(valid):
    density, rng = evidence(valid), np.random.default_rng(1)
    mean, _ = prior(6, 2)
    at = mean + 0.3 * rng.normal(size=len(mean))
    error = check_grad(lambda x: density(x)[0], lambda x: density(x)[1], at)
    assert error < 1e-3 * np.linalg.norm(density(at)[1])


def test_the_most_probable_is_no_worse_than_where_it_started(valid):
    density = evidence(valid)
    mean, _ = prior(6, 2)
    hyper, cost = density.most_probable()
    assert cost < density(mean)[0]
    _, cost_again = density.most_probable(hyper)
    assert cost_again <= cost + 1e-6


def test_hyperparameters_survive_being_a_vector():
    vector = np.arange(6 + 2 + 2 + 3, dtype=float)
    assert np.array_equal(Hyperparameters.of(vector, 6).vector, vector)


def test_spread_keeps_the_best_half_and_samples_the_rest():
    chosen = spread(np.arange(100), 20)
    assert len(chosen) == 20
    assert chosen[:10].tolist() == list(range(10))
    assert chosen[-1] == 99
    assert spread(np.arange(5), 20).tolist() == list(range(5))
