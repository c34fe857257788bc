"""Fixtures that several tests of the space share."""

import pytest


@pytest.fixture(params=["in the diagram", "outside"])
def constraints_are(request, monkeypatch):
    """The same must hold whether the constraints fit into the diagram or are applied to what it gives."""
    if request.param == "outside":
        monkeypatch.setattr("autotune.space.solver.STEPS", 0)
        monkeypatch.setattr("autotune.space.solver._PROBES", 4)
        monkeypatch.setattr("autotune.space.valid_set._MOST_DRAWS", 10)  # few enough to need the search now and then
        monkeypatch.setattr("autotune.space.valid_set._REJECTED_IN_A_ROW", 20)
    return request.param
