"""Against a direct dense computation: the conditional of a joint normal distribution."""

import numpy as np
import pytest

from autotune.search.encoding import Encoding
from autotune.search.evidence import prior
from autotune.search.kernel import Hyperparameters, Kernel
from autotune.search.posterior import Posterior

NOISE = -3.0


@pytest.fixture(scope="module")
def case(valid):
    rng = np.random.default_rng(0)
    encoding = Encoding.of(valid.space.parameters)
    mean, _ = prior(6, 1)
    mean[9] = NOISE
    kernel = Kernel(encoding, Hyperparameters.of(mean, 6))
    rows = np.stack([np.array(column) for column in valid.columns().values()], axis=1)
    rows = rows[rng.choice(len(rows), 90, replace=False)].astype(np.int32)
    points = kernel.place(encoding(rows), rng.normal(size=(len(rows), 1)))
    return kernel, part(points, slice(0, 30)), part(points, slice(30, 90)), rng.normal(size=30)


def part(points, which):
    return points[0][which], points[1][which]


def dense(kernel, observed, candidates, values):
    covariance = kernel(observed, observed) + kernel.noise * np.eye(len(values))
    cross = kernel(observed, candidates)
    solved = np.linalg.solve(covariance, cross)
    return solved.T @ values, np.diag(kernel(candidates, candidates)) - np.einsum("ij,ij->j", cross, solved)


def test_mean_and_variance_equal_the_dense_computation(case):
    kernel, observed, candidates, values = case
    posterior = Posterior(kernel, observed, candidates, room=40)
    mean, variance = dense(kernel, observed, candidates, values)
    assert np.allclose(posterior.mean(values), mean, atol=1e-4)
    assert np.allclose(posterior.variance, variance, atol=1e-4)


def test_one_point_at_a_time_equals_all_at_once(case):
    kernel, observed, candidates, values = case
    posterior = Posterior(kernel, part(observed, slice(0, 3)), candidates, room=30)
    for i in range(3, 30):
        posterior.observe(part(observed, slice(i, i + 1)))
    whole = Posterior(kernel, observed, candidates, room=30)
    assert posterior.room == 0
    assert np.allclose(posterior.mean(values), whole.mean(values), atol=1e-4)
    assert np.allclose(posterior.variance, whole.variance, atol=1e-4)


def test_smoothed_is_the_mean_at_the_observed_points(case):
    kernel, observed, _, values = case
    posterior = Posterior(kernel, observed, observed, room=30)
    assert np.allclose(posterior.smoothed(values), posterior.mean(values), atol=1e-3)


def test_unknown_values_are_completed_by_what_the_known_ones_let_expect(case):
    kernel, observed, candidates, values = case
    known = np.arange(30) % 3 > 0
    posterior = Posterior(kernel, observed, candidates, room=30)
    completed = posterior.completed(np.where(known, values, np.nan), known)
    expected, _ = dense(kernel, part(observed, known), part(observed, ~known), values[known])
    assert np.allclose(completed[~known], expected)
    assert np.array_equal(completed[known], values[known])


def test_completing_leaves_the_mean_where_it_was(case):
    kernel, observed, candidates, values = case
    known = np.arange(30) % 3 > 0
    posterior = Posterior(kernel, observed, candidates, room=30)
    mean, _ = dense(kernel, part(observed, known), candidates, values[known])
    assert np.allclose(posterior.mean(posterior.completed(values, known)), mean, atol=1e-4)
