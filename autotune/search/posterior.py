"""Posterior: a Gaussian process at candidates, extended by one observation at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular  # type: ignore[import-untyped]

from autotune.search.encoding import Floats
from autotune.search.kernel import Kernel, Points

LEAST_DIAGONAL = 1e-10
"""Of a Cholesky factor, squared, where rounding leaves nothing."""


class Posterior:
    """Mean and variance at candidates given values at observed points.

    With L L' = K + noise of the observed points and V = L^-1 K(observed, candidates) the mean is V' L^-1 y and the
    variance k minus the sum of V^2 over rows (Rasmussen and Williams 2006, alg. 2.1). A further point adds one row to
    both, at a cost of O(observed x candidates). V is in single precision: it is read whole at each step, so that its
    size is what a step costs.
    """

    def __init__(self, kernel: Kernel, observed: Points, candidates: Points, room: int) -> None:
        self.kernel = kernel
        self.count = count = len(observed[0])
        self._observed = (_with_room(observed[0], room), _with_room(observed[1], room))
        self._candidates = _single(candidates)
        covariance = kernel(observed, observed)
        covariance[np.diag_indices(count)] += kernel.noise
        self._factor: Floats = np.zeros((room, room))
        self._factor[:count, :count] = np.linalg.cholesky(covariance)
        self._rows: Floats = np.zeros((room, len(candidates[0])), dtype=np.float32)
        self._rows[:count] = self._solved(kernel(_single(observed), self._candidates))
        explained = np.einsum("ij,ij->j", self._rows[:count], self._rows[:count], dtype=float)
        self.variance: Floats = kernel.variance(candidates) - explained
        """At the candidates, (candidates,)."""

    @property
    def room(self) -> int:
        """How many points can still be observed."""
        return len(self._factor) - self.count

    def observe(self, point: Points) -> None:
        """One more point, (1, columns), after those observed."""
        n = self.count
        before = (self._observed[0][:n], self._observed[1][:n])
        left = self._solved(self.kernel(before, point)[:, 0])
        below = float(self.kernel.variance(point)[0]) + self.kernel.noise - left @ left
        diagonal = math.sqrt(max(float(below), LEAST_DIAGONAL))
        row = self.kernel(_single(point), self._candidates)[0] - left.astype(np.float32) @ self._rows[:n]
        self._rows[n] = row / np.float32(diagonal)
        self._factor[n, :n], self._factor[n, n] = left, diagonal
        for kept, part in zip(self._observed, point, strict=True):
            kept[n] = part[0]
        self.variance -= self._rows[n].astype(float) ** 2
        self.count += 1

    def mean(self, values: Floats) -> Floats:
        """At the candidates, given a value at each observed point."""
        weights = self._solved(values).astype(np.float32)
        return np.asarray(weights @ self._rows[: self.count], dtype=float)

    def smoothed(self, values: Floats) -> Floats:
        """At the observed points themselves: y - noise (K + noise)^-1 y."""
        factor = self._factor[: self.count, : self.count]
        alpha = solve_triangular(factor, self._solved(values), lower=True, trans=1, check_finite=False)
        return np.asarray(values - self.kernel.noise * alpha)

    def completed(self, values: Floats, known: NDArray[np.bool_]) -> Floats:
        """The values with the unknown ones replaced by their mean given the known ones (kriging believer).

        These are the ones that make y' K^-1 y least: with M = L^-1 the least squares of M_u y_u = - M_k y_k.
        """
        if known.all():
            return values
        unknown = np.flatnonzero(~known)
        ahead = np.zeros((self.count, len(unknown)))
        ahead[unknown, np.arange(len(unknown))] = 1.0
        columns = self._solved(ahead)
        filled = np.where(known, values, 0.0)
        filled[unknown] = -np.linalg.solve(columns.T @ columns, columns.T @ self._solved(filled))
        return filled

    def _solved(self, right: Floats) -> Floats:
        """L^-1 times it."""
        factor = self._factor[: self.count, : self.count].astype(right.dtype, copy=False)
        return np.asarray(solve_triangular(factor, right, lower=True, check_finite=False))


def _single(points: Points) -> Points:
    return np.asarray(points[0], dtype=np.float32), np.asarray(points[1], dtype=np.float32)


def _with_room(part: Floats, room: int) -> Floats:
    wide = np.zeros((room, part.shape[1]), dtype=part.dtype)
    wide[: len(part)] = part
    return wide
