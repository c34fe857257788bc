"""Hyperparameters that are most probable given values: their posterior and its maximum; what they mean is `kernel`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack  # type: ignore[import-untyped]
from scipy.optimize import minimize  # type: ignore[import-untyped]

from autotune.search.encoding import ALIGNED, PLACE, SAME, Encoding, Floats
from autotune.search.kernel import CONSTANT, Hyperparameters, matern, matern_slope

ITERATIONS = 15
"""Of the fit, which starts where the last one ended."""
LENGTH_MEAN, LENGTH_SD = 0.0, 0.75
"""Of the natural log of length scales, where a parameter's whole range is 1, per root of the number of parameters (as
Hvarfner, Hellsten and Nardi 2024). Of sd .5, .75, 1: mean log score .33, .52, .56 on convolution-A100 and .67, .68, .62
on three synthetic spaces; means of -.3 to -.5 were no better on both, nor was .7."""
MIXING_MEAN, MIXING_SD = -1.5, 1.0
"""Of the log of what columns SAME and ALIGNED weigh; means of -3 and 0 were better on some spaces, worse on others."""
AMPLITUDE_MEAN, AMPLITUDE_SD = 0.0, 1.0
NOISE_MEAN, NOISE_SD = -5.0, 1.5
"""Values are standardised: noise of some 8 % of their spread, which also covers what the columns cannot tell apart."""
NOISE_BOUNDS = (-9.0, 1.0)
TRUST_MEAN, TRUST_SD = -1.0, 2.0
WORST = 1e10
"""Where the covariance is numerically singular."""


def prior(parameters: int, sources: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each hyperparameter before any value was seen."""
    relevance = -2.0 * LENGTH_MEAN - np.log(max(1, parameters))
    mean = [relevance] * parameters + [MIXING_MEAN] * 2 + [AMPLITUDE_MEAN, NOISE_MEAN] + [TRUST_MEAN] * sources
    sd = [2.0 * LENGTH_SD] * parameters + [MIXING_SD] * 2 + [AMPLITUDE_SD, NOISE_SD] + [TRUST_SD] * sources
    return np.array(mean), np.array(sd)


class Evidence:
    """Minus the log posterior density of hyperparameters, and its gradient."""

    def __init__(self, encoding: Encoding, columns: Floats, siblings: Floats, values: Floats) -> None:
        self._values, self._siblings = values, siblings
        self._parameters = len(encoding.tables)
        self._distances = np.zeros((3, self._parameters, len(values) ** 2))
        for kind in (PLACE, SAME, ALIGNED):
            for place in range(self._parameters):
                part = columns[:, (encoding.owner == place) & (encoding.kind == kind)]
                if part.size:
                    norm = (part * part).sum(1)
                    squared = np.maximum(norm[:, None] + norm - 2.0 * part @ part.T, 0.0)
                    self._distances[kind, place] = squared.ravel()
        self._mean, self._sd = prior(self._parameters, siblings.shape[1])

    def __call__(self, vector: Floats) -> tuple[float, Floats]:
        """At hyperparameters as a vector: the density's gradient is 1/2 tr((K^-1 - a a') dK), a = K^-1 y.

        Rasmussen and Williams 2006, eq. 5.9.
        """
        count = len(self._values)
        hyper = Hyperparameters.of(vector, self._parameters)
        kinds = np.array([1.0, *np.exp(hyper.mixing)])
        relevance, trust = np.exp(hyper.relevance), np.exp(hyper.trust)
        amplitude, noise = np.exp(hyper.amplitude), np.exp(hyper.noise)
        squared = np.einsum("k,p,kpn->n", kinds, relevance, self._distances, optimize=True).reshape(count, count)
        stationary = amplitude * matern(squared)
        covariance = stationary + CONSTANT + (self._siblings * trust) @ self._siblings.T
        covariance[np.diag_indices(count)] += noise
        factor, info = lapack.dpotrf(covariance, lower=1)
        if info:
            return WORST, np.zeros_like(vector)
        alpha = lapack.dpotrs(factor, self._values, lower=1)[0]
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weight = inverse - np.outer(alpha, alpha)
        by_distance = self._distances @ (weight * matern_slope(squared)).ravel() * (0.5 * amplitude)
        by_distance *= kinds[:, None] * relevance
        gradient = np.concatenate(
            [
                by_distance.sum(0),
                by_distance[1:].sum(1),
                [0.5 * np.vdot(weight, stationary), 0.5 * noise * np.trace(weight)],
                0.5 * trust * np.einsum("is,ij,js->s", self._siblings, weight, self._siblings),
            ]
        )
        apart = (vector - self._mean) / self._sd
        value = 0.5 * self._values @ alpha + np.log(np.diag(factor)).sum() + 0.5 * apart @ apart
        return float(value), gradient + apart / self._sd

    def most_probable(self, start: Hyperparameters | None = None) -> tuple[Hyperparameters, float]:
        """A local maximum, found from the start or the prior's mean, and minus the log posterior density there."""
        bounds = [(m - 4 * s, m + 4 * s) for m, s in zip(self._mean, self._sd, strict=True)]
        bounds[self._parameters + 3] = NOISE_BOUNDS
        begin = self._mean if start is None else start.vector
        found = minimize(self, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS})
        return Hyperparameters.of(found.x, self._parameters), float(found.fun)


def spread(ranked: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of the ranked: half of them the first, the others evenly from the rest."""
    if len(ranked) <= most:
        return ranked
    first, rest = np.split(ranked, [most // 2])
    return np.append(first, rest[np.linspace(0, len(rest) - 1, most - len(first)).astype(int)])
