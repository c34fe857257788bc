"""Kernel: the covariance of two configurations under hyperparameters; what they are fitted to is `evidence`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune.search.encoding import Encoding, Floats

CONSTANT = 0.1
"""Variance of the process's mean, where values are standardised; 1 scored the same."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Of a Gaussian process, all as natural logarithms."""

    relevance: Floats
    """(parameters,): of 1 / squared length scale."""
    mixing: Floats
    """(2,): of what columns SAME and ALIGNED weigh against PLACE."""
    amplitude: float
    """Of the variance of what the linear part leaves."""
    noise: float
    """Of the variance of a measurement."""
    trust: Floats
    """(sources,): of the variance of the factor with which each sibling's value counts."""

    @property
    def vector(self) -> Floats:
        """All in one, for an optimiser."""
        return np.concatenate([self.relevance, self.mixing, [self.amplitude, self.noise], self.trust])

    @classmethod
    def of(cls, vector: Floats, parameters: int) -> Hyperparameters:
        """The inverse of `vector`."""
        relevance, mixing, rest = np.split(vector, [parameters, parameters + 2])
        return cls(relevance, mixing, float(rest[0]), float(rest[1]), rest[2:])


Points = tuple[Floats, Floats]
"""What a kernel compares: scaled columns, and the scaled linear part; made by `Kernel.place`."""


def matern(squared: Floats) -> Floats:
    """Matérn-5/2 correlation by squared scaled distance (Rasmussen and Williams 2006, eq. 4.17)."""
    root = np.sqrt(5.0 * np.maximum(squared, 0.0))
    return np.asarray((1.0 + root + root * root / 3.0) * np.exp(-root))


def matern_slope(squared: Floats) -> Floats:
    """Its derivative by the squared distance."""
    root = np.sqrt(5.0 * np.maximum(squared, 0.0))
    return np.asarray(-(5.0 / 6.0) * (1.0 + root) * np.exp(-root))


class Kernel:
    """Covariances under fixed hyperparameters, between points (see `place`)."""

    def __init__(self, encoding: Encoding, hyper: Hyperparameters) -> None:
        kinds = np.array([1.0, *np.exp(hyper.mixing)])
        self._scale = np.sqrt(np.exp(hyper.relevance)[encoding.owner] * kinds[encoding.kind])
        self.amplitude, self.noise = float(np.exp(hyper.amplitude)), float(np.exp(hyper.noise))
        self._linear = np.sqrt([CONSTANT, *np.exp(hyper.trust)])

    def place(self, columns: Floats, siblings: Floats, dtype: Any = np.float64) -> Points:
        """Points: columns scaled for distance, and a 1 and the siblings' values scaled for the linear part."""
        linear = np.hstack([np.ones((len(columns), 1)), siblings]) * self._linear
        return (columns * self._scale).astype(dtype), linear.astype(dtype)

    def __call__(self, left: Points, right: Points) -> Floats:
        """Covariances (left, right)."""
        a, b = left[0], right[0]
        squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * (a @ b.T)
        return self.amplitude * matern(squared) + left[1] @ right[1].T

    def variance(self, points: Points) -> Floats:
        """Of each point."""
        return np.asarray(self.amplitude + (points[1] ** 2).sum(1))
