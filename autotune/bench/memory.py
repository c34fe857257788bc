"""Memory: what is given back after a trial, so that the next one starts from an equal state."""

from __future__ import annotations

import gc
import sys


def release_memory(*, failed: bool) -> None:
    """What torch caches is not there for CUDA libraries beside it; a failed trial may have left cycles as well."""
    if failed:
        gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # the context is broken, which the outcome says already
            return
