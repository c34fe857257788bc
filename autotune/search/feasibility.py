"""Feasibility: how likely it is that a candidate runs and keeps the bounds; what it promises then is `acquisition`."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr  # type: ignore[import-untyped]

from autotune.search.encoding import Floats
from autotune.search.posterior import Posterior
from autotune.search.record import FAILED

DOUBT = 0.15
"""Standard deviation that is left of a label, 0 or 1, however near it was observed: few failures are regular. .3 scored
.51 and .15 .53 where 60 % fail, 12 seeds on eight spaces."""
BOUND_DOUBT = 0.05
"""The same of a violation, in units of their spread."""


def log_feasible(posterior: Posterior, violation: Floats) -> Floats:
    """Log of the probability at each candidate, given the violation of the observed points, NaN where unknown."""
    return _log_runs(posterior, violation) + _log_keeps(posterior, violation)


def _log_runs(posterior: Posterior, violation: Floats) -> Floats:
    """That it does not fail.

    The process of the values regresses the label 1 of what failed, 0 of what ran: the label exceeds one half with the
    probability sought (a least-squares classifier, Rasmussen and Williams 2006, sec. 6.5).
    """
    known = ~np.isnan(violation)
    failed = violation == FAILED
    if not failed.any():
        return np.zeros(len(posterior.variance))
    share = (failed.sum() + 0.5) / (known.sum() + 1.0)
    label = share + posterior.mean(np.where(known, failed - share, 0.0))
    return np.asarray(log_ndtr((0.5 - label) / _deviation(posterior, share * (1.0 - share), DOUBT)))


def _log_keeps(posterior: Posterior, violation: Floats) -> Floats:
    """That it keeps the bounds: the process regresses by how much they are exceeded, and by how much they are not."""
    ran = np.isfinite(violation)
    exceeded = ran & (violation > 0)
    if not exceeded.any():
        return np.zeros(len(posterior.variance))
    # What is only known to keep them is taken to do so by as much as others do not.
    signed = np.where(violation == 0, -np.median(violation[exceeded]), violation)
    scaled = np.arcsinh(signed / np.median(np.abs(signed[ran])))
    centre, spread = float(scaled[ran].mean()), float(scaled[ran].std()) or 1.0
    expected = centre + posterior.mean(np.where(ran, scaled - centre, 0.0))
    return np.asarray(log_ndtr(-expected / _deviation(posterior, spread**2, BOUND_DOUBT * spread)))


def _deviation(posterior: Posterior, variance: float, doubt: float) -> Floats:
    """Of a quantity with that variance: none next to what was observed but the doubt."""
    relative = np.clip(posterior.variance / (posterior.kernel.amplitude or 1.0), 0.0, 1.0)
    return np.asarray(np.sqrt(relative * variance + doubt**2))
