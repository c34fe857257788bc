"""Acquisition: what a measurement at a candidate promises; the belief that it rests on is `posterior`."""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, log_ndtr  # type: ignore[import-untyped]

from autotune.search.encoding import Floats

_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)

_FAR = 1e5
"""From here on the density alone tells candidates apart: the rest is lost in rounding."""


def log_expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """log E[max(best - f, 0)] for f normal, without underflow (Ament et al. 2023, eq. 9)."""
    gain = (best - mean) / deviation
    log_density = -0.5 * gain * gain - _LOG_ROOT_TWO_PI
    above = np.maximum(gain, -1.0)
    direct = np.log(np.exp(-0.5 * above * above - _LOG_ROOT_TWO_PI) + above * np.exp(log_ndtr(above)))
    below = np.clip(-gain, 1.0, _FAR)
    mills = np.sqrt(0.5 * np.pi) * erfcx(below * np.sqrt(0.5))
    tail = log_density + np.log(np.maximum(1.0 - below * mills, 1.0 / _FAR**2))
    return np.asarray(np.where(gain > -1.0, direct, tail) + np.log(deviation))
