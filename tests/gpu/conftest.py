"""Everything in this folder needs an NVIDIA GPU: it carries the marker `gpu`, and is skipped where there is none."""

from pathlib import Path

import pytest

from autotune.device import gpu_devices, why_no_gpu

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    own = [item for item in items if HERE in item.path.parents]
    missing = None if not own or gpu_devices() else pytest.mark.skip(reason=why_no_gpu())
    for item in own:
        item.add_marker(pytest.mark.gpu)
        if missing:
            item.add_marker(missing)
