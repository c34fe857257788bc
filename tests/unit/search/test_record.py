import math

from autotune.search.record import FAILED, Record


def test_it_numbers_rows_in_the_order_asked_however_many():
    record = Record(2)
    assert [record.add((i, -i)) for i in range(200)] == list(range(200))
    assert record.rows[150].tolist() == [150, -150]


def test_what_is_no_number_is_a_failure():
    record = Record(1)
    for place, value in enumerate([None, math.nan, math.inf, 2.0]):
        record.add((place,))
        record.settle((place,), value, 0.0)
    assert record.excess.tolist() == [FAILED] * 3 + [0.0]


def test_a_lost_row_may_be_asked_again():
    record = Record(1)
    record.add((0,))
    record.drop((0,))
    assert (0,) not in record
    assert record.add((0,)) == 1
    assert record.numbers.tolist() == [1]


def test_equal_outcomes_are_not_informative():
    record = Record(1)
    for place in range(3):
        record.add((place,))
        record.settle((place,), 1.0, 0.0)
        assert not record.informative
    record.add((3,))
    record.settle((3,), None, 0.0)
    assert record.informative
