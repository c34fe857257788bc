import pytest

from autotune.errors import SpaceError
from autotune.space.parameter import boolean, choice, env, integer, power_of_two


def test_each_kind_lists_its_values_and_starts_at_its_first():
    assert list(integer(1, 8, step=3).values) == [1, 4, 7]
    assert power_of_two(4, 32).values == (4, 8, 16, 32)
    assert choice("ring", "tree").values == ("ring", "tree")
    assert boolean().values == (False, True)
    assert [p.default for p in (integer(2, 4), power_of_two(4, 32), choice("b", "a"), boolean())] == [2, 4, "b", False]


def test_a_default_may_be_given():
    defaults = [integer(1, 9, default=3), power_of_two(1, 64, default=8), choice(1, None, default=None), boolean(True)]
    assert [p.default for p in defaults] == [3, 8, None, True]


def test_a_huge_range_costs_nothing():
    wide = integer(0, 10**15)
    assert (wide.index(10**12), wide.index(1e12), wide.take("x", 5.0)) == (10**12, 10**12, 5)


@pytest.mark.parametrize(
    ("parameter", "ordinal"),
    [
        (integer(1, 2), True),
        (power_of_two(1, 8), True),
        (choice(1, 2.5, 4), True),
        (choice(4, 2, 1), True),
        (choice(1, 4, 2), False),
        (choice("a", "b"), False),
        (choice(None, 1, 2), False),
        (boolean(), False),
    ],
)
def test_numbers_in_order_are_ordinal(parameter, ordinal):
    assert parameter.ordinal is ordinal


def test_the_value_taken_is_the_declared_one():
    assert boolean().take("flag", 1) is True
    assert choice(16, 32).take("block", 32.0) == 32
    assert isinstance(choice(16, 32).take("block", 32.0), int)


def test_conditions_add_up():
    parameter = boolean().when(a=1).when(b=("x", "y"))
    assert parameter.active({"a": 1, "b": "y"})
    assert not parameter.active({"a": 1, "b": "z"})
    assert not parameter.active({"b": "x"})


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (integer(1, 8), "1 to 8"),
        (integer(0, 100, step=10), "0 to 100 step 10"),
        (choice("a", None), "'a', None"),
        (choice(*range(20)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 20 in all"),
    ],
)
def test_values_read_as_a_person_would_write_them(parameter, text):
    assert parameter.text == text


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: choice(), r"choice\(\) has no values; expected some"),
        (lambda: choice([1, 2]), r"holds a collection; give the values themselves, as in choice\(16, 32\)"),
        (lambda: choice(1, 1.0), r"has 1.0 twice \(1, 1.0 and True are the same\)"),
        (lambda: choice(1, object()), "a value of choice\\(\\) is a object"),
        (lambda: choice(float("nan")), "NaN, which equals nothing"),
        (lambda: choice(1, 2, default=3), r"default=3\): the default must be one of 1, 2"),
        (lambda: integer(3, 1), r"integer\(3, 1\) is empty; expected low <= high"),
        (lambda: integer(1, 3, step=0), "the step must be at least 1"),
        (lambda: integer(1, 2.5), "integer\\(\\) has high=2.5; expected a whole number"),
        (lambda: integer(True, 3), "low=True; expected a whole number"),
        (lambda: integer(1, 9, step=4, default=3), "the default must be one of 1 to 9 step 4"),
        (lambda: power_of_two(1, 24), "24 is no power of two; did you mean 16 or 32"),
        (lambda: power_of_two(0, 8), "0 is no power of two; did you mean 1 or 2"),
        (lambda: power_of_two(8, 4), r"power_of_two\(8, 4\) is empty"),
        (lambda: boolean("yes"), "boolean\\(…, default='yes'\\): the default must be one of False, True"),
        (lambda: env("NCCL-ALGO", boolean()), "expected the name of a variable"),
        (lambda: env("NCCL_ALGO", [1, 2]), "expected a parameter, such as choice"),
        (lambda: boolean().when(), "when\\(\\) names no parent"),
        (lambda: boolean().when(mode=[]), "never holds; give the values"),
    ],
)
def test_a_wrong_declaration_is_told(declare, message):
    with pytest.raises(SpaceError, match=message):
        declare()
