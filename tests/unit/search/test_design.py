import numpy as np
from scipy.spatial.distance import cdist

from autotune.search.design import farthest
from autotune.search.encoding import Encoding
from autotune.space import SearchSpace, power_of_two


def test_it_starts_in_the_middle_and_then_takes_what_is_farthest():
    encoding = Encoding.of(SearchSpace(a=power_of_two(1, 32), b=power_of_two(1, 32)).parameters)
    rows = np.array([[a, b] for a in range(6) for b in range(6)], dtype=np.int32)
    apart = cdist(encoding(rows), encoding(rows))
    taken = []
    for _ in range(5):
        taken.append(farthest(encoding, rows, rows[taken], np.random.default_rng(0)))
        if len(taken) > 1:
            nearest = apart[:, taken[:-1]].min(1)
            assert np.isclose(nearest[taken[-1]], nearest.max())
    assert set(rows[taken[0]].tolist()) <= {2, 3}
