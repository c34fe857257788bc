from functools import partial

import pytest

from autotune.errors import SpaceError
from autotune.space.constraint import INACTIVE, Assignment, Constraint
from autotune.values import Config, Problem

PROBLEM = Problem(m=8)


def documented(config):
    """Tiles fit.

    More about it.
    """
    return config.a > 0


def of_all(config, problem, device):
    return config.a * problem.m < device


class Callable:
    """Fits the cache."""

    def __call__(self, config):
        return config.a == 1


def judged(predicate, **values):
    assignment = Assignment({"a": None, "b": None, "c": None}, values)
    return assignment.judge(Constraint.of(predicate).bound(PROBLEM, None)), assignment


def test_the_reason_is_the_docstring_else_the_one_given_else_the_name():
    assert Constraint.of(documented, "another").reason == "Tiles fit."
    assert Constraint.of(of_all, "small enough").reason == "small enough"
    assert Constraint.of(of_all).reason == Constraint.of(of_all).name == "of_all"
    assert Constraint.of(partial(documented)).reason == "Tiles fit."
    assert Constraint.of(Callable()).reason == "Fits the cache."


def test_a_lambda_is_called_by_its_place():
    assert Constraint.of(lambda config: True).name.startswith("lambda at test_constraint.py:")


@pytest.mark.parametrize(
    "predicate",
    [
        lambda config: config.a == 2,
        lambda problem, config: config["a"] * problem.m == 16,
        lambda device, *, config: device == 7 and config.a == 2,
        lambda problem, device: problem.m + device == 15,
        lambda config, limit=2: config.a == limit,
        lambda config, problem, device: config.a * problem.m > device,
    ],
)
def test_a_predicate_takes_what_it_names(predicate):
    assert Constraint.of(predicate).allows(Config(a=2), PROBLEM, 7)


@pytest.mark.parametrize(
    "predicate", [lambda cfg: True, lambda *config: True, lambda config, /: True, lambda **x: True]
)
def test_a_predicate_of_anything_else_is_told(predicate):
    with pytest.raises(SpaceError, match=r"a constraint takes any of config, problem, device, by these names"):
        Constraint.of(predicate)


def test_what_is_not_callable_is_told():
    with pytest.raises(SpaceError, match="is no plain function"):
        Constraint.of("a < b")


def test_it_waits_for_the_parameter_that_it_reads_first():
    verdict, assignment = judged(lambda config: config.a > 0 and config.c > 0, a=1)
    assert (verdict, assignment.stopped_at, assignment.read) == (None, ["c"], {"a"})


def test_it_is_decided_as_soon_as_it_returns():
    verdict, assignment = judged(lambda config: config.a > 1 and config.c > 0, a=1)
    assert (verdict, assignment.read) == (False, {"a"})


@pytest.mark.parametrize(
    "predicate",
    [
        lambda config: sum(config.values()) > 0,
        lambda config: len(config) > 0,
        lambda config: dict(config)["a"] > 0,
        lambda config: dict(**config)["a"] > 0,
        lambda config: (config | {"a": 3})["a"] > 0,
        lambda config: ({"a": 3} | config)["a"] > 0,
        lambda config: all(value > 0 for _, value in config.items()),
        lambda config: "a" in config.keys(),  # noqa: SIM118
        lambda config: config.text == "a=1,b=2,c=3",
        lambda config: config == {"a": 1, "b": 2, "c": 3},
        lambda config: hash(config) == hash(Config(a=1, b=2, c=3)),
        lambda config: repr(config) == "Config(a=1, b=2, c=3)",
        lambda config: config.copy()["a"] > 0,
    ],
)
def test_reading_the_configuration_as_a_whole_waits_for_its_last_parameter(predicate):
    verdict, assignment = judged(predicate, a=1, b=2)
    assert (verdict, assignment.stopped_at[0]) == (None, "c")
    assert judged(predicate, a=1, b=2, c=3)[0] is True


def swallow(config):
    try:
        return config.c > 0
    except Exception:
        return False


def swallow_everything(config):
    try:
        return config.c > 0
    except BaseException:
        return False


def replace_it(config):
    try:
        return config.c > 0
    finally:
        config.b  # noqa: B018


@pytest.mark.parametrize("predicate", [swallow, swallow_everything, replace_it])
def test_a_predicate_cannot_swallow_that_it_must_wait(predicate):
    verdict, assignment = judged(predicate, a=1)
    assert (verdict, assignment.stopped_at[0]) == (None, "c")


def test_it_does_not_apply_where_a_parameter_that_it_reads_is_inactive():
    constraint = Constraint.of(lambda config: config.a + config.b < 0)
    assert constraint.allows(Config(a=1), PROBLEM, None)
    assert not constraint.allows(Config(a=1, b=1), PROBLEM, None)


def test_a_predicate_may_ask_whether_a_parameter_is_active():
    assert not Constraint.of(lambda config: "b" in config).allows(Config(a=1), PROBLEM, None)
    assert not Constraint.of(lambda config: config.get("b", 0) > 0).allows(Config(a=1), PROBLEM, None)


def test_a_predicate_that_raises_is_told_with_the_configuration():
    def divides(config):
        return 8 % config.a == 0

    with pytest.raises(SpaceError, match=r"constraint divides raised ZeroDivisionError.* for a=0; it must return True"):
        Constraint.of(divides).allows(Config(a=0), PROBLEM, None)


def test_a_predicate_that_forgets_to_return_is_told():
    def forgets(config):
        config.a > 1  # noqa: B015

    with pytest.raises(SpaceError, match="forgets raised TypeError: it returned None, not True or False"):
        Constraint.of(forgets).allows(Config(a=1), PROBLEM, None)


def test_a_configuration_seen_by_a_predicate_cannot_be_changed():
    def changes(config):
        config["a"] = 3
        return True

    with pytest.raises(SpaceError, match="changes raised TypeError"):
        Constraint.of(changes).allows(Config(a=1), PROBLEM, None)


@pytest.mark.parametrize(
    ("predicate", "verdict"),
    [
        (lambda config: config.a > 9, True),
        (lambda config: "a" in config, False),
        (lambda config: config.get("a", 0) > 0, False),
        (lambda config: len(config) > 0, False),
    ],
)
def test_that_a_parameter_is_inactive_counts_as_read(predicate, verdict):
    assignment = Assignment({"a": None}, {"a": INACTIVE})
    assert assignment.judge(predicate) is verdict
    assert assignment.read == {"a"}


def test_names_that_the_space_lacks_are_absent_when_asked_for():
    assert judged(lambda config: "d" not in config and config.get("d", 7) == 7)[0] is True
