import pytest
import sqlalchemy

from autotune.errors import RegistryError
from autotune.registry import Registry
from autotune.registry.generations import Change
from autotune.registry.tables import generations
from autotune.study import Study
from autotune.values import Config, Problem
from tests.unit.answering import AnsweringExecutor, measured, plan
from tests.unit.registry.samples import start, tuned
from tests.unit.registry.test_absences import answers_lost

ONE, TWO, THREE = (tuned(Config(a=number)) for number in (1, 2, 3))
OTHER = tuned(Config(a=9), workload="softmax")


def published(registry, *winners):
    """A generation of those."""
    number = registry.generation()
    for one in winners:
        assert registry.staging(number).promote(one)
    registry.publish(number)
    return number


def test_what_is_staged_is_seen_by_its_own_sweep_alone_until_it_is_published(registry, url):
    registry.promote(ONE)
    number = registry.generation()
    staging = registry.staging(number)
    assert staging.promote(TWO)
    assert staging.promote(OTHER)
    assert not staging.promote(TWO)
    assert staging.current() == [TWO, OTHER]
    assert staging.siblings("matmul", problem=Problem(m=17), sku="h200") == [TWO]
    assert staging.current("softmax") == [OTHER]
    assert staging.current(sku="a100") == []
    assert staging.current("matmul", "h200", Problem(m=16)) == [TWO]
    with Registry.open(url) as other:
        assert other.current() == [ONE]
        assert other.generation() == number  # a resumed sweep finds them again
        assert other.staging(number).current() == [TWO, OTHER]
    changeover = registry.publish(number)
    assert changeover.changes == (Change(before=ONE, after=TWO), Change(before=None, after=OTHER))
    assert (changeover.generations, changeover.left) == ((number,), ())
    assert registry.current() == [TWO, OTHER]
    assert registry.published == number
    assert [one for one, _ in registry.history("matmul")] == [TWO, ONE]


def test_a_generation_is_published_once_and_the_next_is_another(registry):
    first = published(registry, ONE)
    assert registry.publish(first).changes == ()
    with pytest.raises(RegistryError, match="generation 1 is published: nothing is put into it now"):
        registry.staging(first).promote(TWO)
    assert registry.generation() == first + 1
    with pytest.raises(RegistryError, match="there is no generation 99"):
        registry.publish(99)


def test_a_later_winner_of_the_same_sweep_takes_the_place_of_an_earlier(registry):
    number = registry.generation()
    registry.staging(number).promote(ONE)
    registry.staging(number).promote(TWO)
    assert registry.staging(number).current() == [TWO]
    assert registry.publish(number).changes == (Change(before=None, after=TWO),)


def test_rolling_back_twice_goes_back_two_and_history_keeps_everything(registry):
    registry.promote(ONE)
    first, second = published(registry, TWO), published(registry, THREE, OTHER)
    changeover = registry.roll_back()
    assert changeover.generations == (second,)
    assert changeover.changes == (Change(before=THREE, after=TWO), Change(before=OTHER, after=None))
    assert (registry.current(), registry.published) == ([TWO], first)
    assert registry.roll_back().changes == (Change(before=TWO, after=ONE),)
    assert (registry.current(), registry.published) == ([ONE], 0)
    with pytest.raises(RegistryError, match="no generation is published, so there is nothing to roll back"):
        registry.roll_back()
    assert [one for one, _ in registry.history("matmul")] == [ONE, TWO, THREE, TWO, ONE]
    assert [(one.number, one.state, one.winners) for one in registry.generations()] == [
        (second, "rolled back", 2),
        (first, "rolled back", 1),
    ]
    with pytest.raises(RegistryError, match=f"generation {second} was rolled back at"):
        registry.publish(second)
    assert published(registry, THREE) == second + 1
    assert registry.current() == [THREE]


def test_rolling_back_to_a_number_is_one_step(registry):
    numbers = [published(registry, one) for one in (ONE, TWO, THREE)]
    with pytest.raises(RegistryError, match="generation 9 is not published; roll back to one of 3, 2, 1, or to 0"):
        registry.roll_back(9)
    with pytest.raises(RegistryError, match="generation 3 is the last published one"):
        registry.roll_back(3)
    changeover = registry.roll_back(numbers[0])
    assert changeover.generations == (3, 2)
    assert changeover.changes == (Change(before=THREE, after=ONE),)
    assert registry.roll_back(0).changes == (Change(before=ONE, after=None),)


def test_what_was_promoted_by_hand_meanwhile_is_not_overwritten_unseen(registry):
    registry.promote(ONE)
    number = registry.generation()
    staging = registry.staging(number)
    staging.promote(TWO)
    registry.promote(THREE)
    assert staging.current() == [THREE]
    changeover = registry.publish(number)
    assert (changeover.changes, changeover.left) == ((), (THREE,))
    assert registry.current() == [THREE]
    assert registry.generations() == []


def test_what_was_promoted_by_hand_after_a_generation_is_left_when_that_is_rolled_back(registry):
    published(registry, ONE, OTHER)
    registry.promote(TWO)
    second = published(registry, THREE)
    assert registry.roll_back().generations == (second,)
    assert registry.current("matmul") == [TWO]
    changeover = registry.roll_back()
    assert changeover.changes == (Change(before=OTHER, after=None),)
    assert changeover.left == (TWO,)
    assert registry.current() == [TWO]


def test_an_answer_that_was_lost_rolls_back_and_publishes_once(registry):
    registry.promote(ONE)
    with answers_lost(registry):
        number = registry.generation()
    with answers_lost(registry):
        registry.staging(number).promote(TWO)
    with answers_lost(registry):
        assert registry.publish(number).changes == (Change(before=ONE, after=TWO),)
    published(registry, THREE)
    with answers_lost(registry, 2):
        assert registry.roll_back().changes == (Change(before=THREE, after=TWO),)
    assert registry.current() == [TWO]
    assert registry.published == number


def test_the_database_itself_refuses_a_second_open_generation(registry):
    registry.generation()
    with pytest.raises(sqlalchemy.exc.IntegrityError), registry._database.writing() as connection:
        connection.execute(sqlalchemy.insert(generations), {"state": "open", "begun_at": "now"})


def test_a_generation_without_winners_came_to_nothing(registry):
    number = registry.generation()
    assert registry.publish(number).changes == ()
    assert (registry.published, registry.generations()) == (0, [])
    assert registry.generation() == number + 1


def test_a_study_stages_as_it_promotes(registry):
    def answer(config):
        return measured(1.0 + abs(config.x - 3))

    number = registry.generation()
    result = Study(plan(), AnsweringExecutor(answer), registry.staging(number), None).run()
    assert (result.promoted, result.tuned.config) == (True, {"x": 3})
    assert registry.current() == []
    again = Study(plan(trials=10), AnsweringExecutor(answer), registry.staging(number), None).run()
    assert again.tuned == result.tuned
    registry.publish(number)
    assert registry.current() == [result.tuned]


def test_many_publish_and_promote_at_once_and_one_is_current(registry, url):
    from concurrent.futures import ThreadPoolExecutor

    start(registry)
    numbers = registry.generation()
    registry.staging(numbers).promote(ONE)

    def write(turn):
        with Registry.open(url) as one:
            one.publish(numbers) if turn % 2 else one.promote(tuned(Config(b=turn)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(registry.current()) == 1
