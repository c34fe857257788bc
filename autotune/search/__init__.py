"""The default search: proposes the next valid configuration to measure; the trials themselves are `sampler`'s."""

from autotune.search.prior import Prior
from autotune.search.search import Search

__all__ = ["Prior", "Search"]
