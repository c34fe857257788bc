"""How good a search was on a space of which every configuration was measured; values only, no study and no executor.

`measured_space` holds the values and what random search would reach on them, `score` compares searches with that. The
method is the published one of the auto-tuning community: performance relative to a calculated random-search baseline,
sampled between two quality levels of that baseline (Willemsen et al., A Methodology for Comparing Auto-Tuning
Optimization Algorithms, 2024, and their package autotuning_methodology). Here the baseline is the exact expectation
instead of an approximation, and what failed counts as a trial, since it costs one.
"""

from autotune.scoring.measured_space import Form, MeasuredSpace
from autotune.scoring.score import (
    BUDGETS,
    Reached,
    Score,
    best_so_far,
    mean_score,
    score,
    shares_closed,
)

__all__ = [
    "BUDGETS",
    "Form",
    "MeasuredSpace",
    "Reached",
    "Score",
    "best_so_far",
    "mean_score",
    "score",
    "shares_closed",
]
