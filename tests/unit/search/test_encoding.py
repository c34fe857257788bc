import numpy as np

from autotune.search.encoding import ALIGNED, PLACE, SAME, Encoding
from autotune.space import SearchSpace, boolean, choice, integer, power_of_two


def encoded(parameter, rows, kind):
    encoding = Encoding.of({"x": parameter})
    return encoding(np.array(rows, dtype=np.int32)[:, None])[:, encoding.kind == kind]


def test_powers_of_two_are_equally_far_apart():
    assert np.allclose(encoded(power_of_two(16, 256), range(5), PLACE)[:, 0], [0, 0.25, 0.5, 0.75, 1])


def test_a_narrow_range_is_placed_linearly():
    assert np.allclose(encoded(choice(4, 5, 8), range(3), PLACE)[:, 0], [0, 0.25, 1])


def test_distinct_choices_are_one_apart():
    columns = encoded(choice("a", "b", "c"), range(3), SAME)
    squared = ((columns[:, None] - columns) ** 2).sum(2)
    assert np.allclose(squared, 1 - np.eye(3))


def test_alignment_tells_multiples_of_a_warp_from_others():
    columns = encoded(choice(32, 48, 64, 80, 96), range(5), ALIGNED)[:, 0]
    assert columns[1] == columns[3] < columns[0] == columns[4] < columns[2]


def test_powers_of_two_alone_need_no_alignment():
    assert encoded(power_of_two(1, 8), range(4), ALIGNED).shape == (4, 0)


def test_an_inactive_parameter_is_a_value_of_its_own():
    columns = encoded(choice("a", "b").when(parent=1), [0, 1, -1], SAME)
    assert len(np.unique(columns, axis=0)) == 3


def test_very_many_values_and_huge_ones_stay_finite_and_small():
    space = SearchSpace(
        n=integer(0, 10**9), x=choice(-1e308, 0.0, 1e308), c=choice(*(f"v{i}" for i in range(200))), b=boolean()
    )
    encoding = Encoding.of(space.parameters)
    columns = encoding(np.array([[0, 0, 0, 0], [10**9, 2, 199, 1]], dtype=np.int32))
    assert np.isfinite(columns).all()
    assert columns.shape[1] < 100
