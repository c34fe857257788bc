import subprocess
import sys

import pytest

import autotune
from autotune.errors import SpaceError
from autotune.space import Constraint, SearchSpace, boolean, choice, env, integer, power_of_two
from autotune.values import Config, Problem

PROBLEM = Problem(m=64)


def even(config):
    """An even number of workers."""
    return config.workers % 2 == 0


def loader():
    return SearchSpace(
        prefetch=integer(1, 4).when(workers=lambda n: n > 0),
        workers=integer(0, 3),
        persistent=boolean().when(workers=lambda n: n > 0),
        keep=choice("all", "some").when(persistent=True),
    )


def test_parents_come_before_children_else_the_order_is_the_declared_one():
    assert list(loader().parameters) == ["workers", "prefetch", "persistent", "keep"]
    assert list(SearchSpace(z=boolean(), a=boolean()).parameters) == ["z", "a"]


def test_size_counts_only_active_parameters():
    assert loader().size == 1 + 3 * 4 * (1 + 2)
    assert SearchSpace(x=integer(1, 10**9), y=integer(1, 10**9)).size == 10**18
    assert SearchSpace().size == 1


def test_constraints_do_not_change_the_size():
    assert loader().where(even).size == loader().size


def test_the_default_holds_what_is_active():
    assert loader().default == Config(workers=0)
    assert loader().with_default(workers=2, keep="some").default == Config(workers=2, prefetch=1, persistent=False)


def test_a_default_may_depend_on_problem_and_device():
    space = SearchSpace(block=power_of_two(16, 256), warps=choice(4, 8)).with_default(
        lambda problem: {"block": problem.m}, warps=8
    )
    assert space.default == Config(block=16, warps=8)
    assert space.default_for(PROBLEM, None) == Config(block=64, warps=8)
    assert space.bind(PROBLEM, None).default == Config(block=64, warps=8)


def test_later_defaults_win():
    space = SearchSpace(block=power_of_two(16, 256)).with_default({"block": 32}).with_default(block=64)
    assert space.default == Config(block=64)


def test_spaces_join_and_the_right_one_wins():
    tiles = SearchSpace(block=power_of_two(16, 256), warps=choice(4, 8)).with_default(block=64, warps=8)
    both = tiles.where(lambda config: config.block > 16) | SearchSpace(block=choice(1, 2), stages=integer(1, 3)).where(
        even
    )
    assert list(both.parameters) == ["block", "warps", "stages"]
    assert both.parameters["block"].values == (1, 2)
    assert both.default == Config(block=1, warps=8, stages=1)
    assert len(both.constraints) == 2


def test_a_constraint_of_both_spaces_counts_once():
    one = SearchSpace(workers=integer(0, 3)).where(even)
    assert len((one | one).constraints) == len(one.where(even).constraints) == 1


def test_a_constraint_may_be_given_ready_made():
    constraint = Constraint.of(even)
    assert SearchSpace(workers=integer(0, 3)).where(constraint).constraints == (constraint,)


def test_a_config_holds_the_declared_values_in_order():
    config = loader().config({"persistent": 0, "workers": 2.0, "prefetch": 3})
    assert config == Config(workers=2, prefetch=3, persistent=False)
    assert list(config) == ["workers", "prefetch", "persistent"]
    assert config.text == "persistent=false,prefetch=3,workers=2"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"worker": 1}, "there is no parameter 'worker'; did you mean 'workers'"),
        ({"workers": 7}, "workers=7 is not allowed; workers is one of 0 to 3"),
        ({"workers": [1]}, "workers is a list"),
        ({}, r"the configuration lacks workers \(one of 0 to 3\)"),
        ({"workers": 1}, r"lacks prefetch \(one of 1 to 4\) and persistent \(one of False, True\)"),
        ({"workers": 0, "prefetch": 1}, "prefetch=1 is set, but prefetch is active only where workers passes lambda"),
        (
            {"workers": 1, "prefetch": 1, "persistent": False, "keep": "all"},
            "keep='all' is set, but keep is active only where persistent is True; leave it out",
        ),
    ],
)
def test_what_is_no_config_of_the_space_is_told(values, message):
    with pytest.raises(SpaceError, match=message):
        loader().config(values)


def test_a_rejection_is_the_reason_of_the_first_constraint_that_rejects():
    space = loader().where(even).where(lambda config: config.workers < 3, reason="at most two workers")
    assert space.rejection(Config(workers=0), PROBLEM, None) is None
    assert (
        space.rejection(Config(workers=1, prefetch=1, persistent=False), PROBLEM, None) == "An even number of workers."
    )
    assert (
        space.where(lambda config: config.workers != 2, reason="not 2").rejection(
            Config(workers=2, prefetch=1, persistent=False), PROBLEM, None
        )
        == "not 2"
    )


def test_a_constraint_need_not_bear_what_another_rejects():
    space = SearchSpace(split=integer(0, 3), k=integer(1, 4)).where(
        lambda config: config.k % config.split == 0, lambda config: config.split > 0, reason="splits evenly"
    )
    assert space.rejection(Config(split=0, k=1), PROBLEM, None) == "splits evenly"
    assert len(list(space.bind(PROBLEM, None))) == 4 + 2 + 1
    with pytest.raises(SpaceError, match="raised ZeroDivisionError"):
        SearchSpace(split=integer(0, 3)).where(lambda config: 4 % config.split == 0).rejection(
            {"split": 0}, PROBLEM, None
        )


def test_a_constraint_on_an_inactive_parameter_does_not_apply():
    space = loader().where(lambda config: config.prefetch > 1, reason="prefetches")
    assert space.rejection(Config(workers=0), PROBLEM, None) is None
    assert space.rejection(Config(workers=1, prefetch=1, persistent=False), PROBLEM, None) == "prefetches"


@pytest.mark.parametrize("read", [lambda config: config.blokc > 1, lambda config: config["blokc"] > 1])
def test_a_constraint_that_reads_an_unknown_parameter_is_told(read):
    space = SearchSpace(block=integer(1, 3)).where(read)
    for use in (lambda: space.bind(PROBLEM, None), lambda: space.rejection(Config(block=1), PROBLEM, None)):
        with pytest.raises(SpaceError, match="there is no parameter 'blokc'; did you mean 'block'"):
            use()


def test_a_shared_constraint_may_ask_for_a_parameter_that_only_some_spaces_have():
    space = SearchSpace(block=integer(1, 3)).where(lambda config: config.block * config.get("split", 1) < 3)
    assert [c.block for c in space.bind(PROBLEM, None)] == [1, 2]


def test_environment_parameters_are_written_as_the_environment_wants_them():
    space = SearchSpace(
        threads=env("NCCL_NTHREADS", choice(None, 128, 256)),
        nvls=env("NCCL_NVLS_ENABLE", boolean()),
        algo=env("NCCL_ALGO", choice("ring", "tree").when(nvls=False)),
        share=env("SHARE", choice(0.5, 1)),
        chunk=integer(1, 3),
    )
    config = space.config({"threads": None, "nvls": True, "share": 0.5, "chunk": 2})
    assert space.environment(config) == {"NCCL_NTHREADS": None, "NCCL_NVLS_ENABLE": "1", "SHARE": "0.5"}
    assert space.environment(space.default) == {
        "NCCL_NTHREADS": None,
        "NCCL_NVLS_ENABLE": "0",
        "NCCL_ALGO": "ring",
        "SHARE": "0.5",
    }


def test_the_fingerprint_follows_what_may_be_chosen():
    def space(high=4, variable="V", parents=(1, 2), reason="r"):
        child = env(variable, boolean()).when(x=lambda x: x in parents)
        return SearchSpace(x=integer(0, high), y=child).where(even, reason=reason)

    different = [space(), space(high=5), space(variable="W"), space(parents=(1, 3)), space() | SearchSpace(z=boolean())]
    different += [SearchSpace.of([{"x": 1}]), SearchSpace.of([{"x": 1}, {"x": 2}]), loader(), loader().where(even)]
    prints = [s.fingerprint for s in different]
    assert len(set(prints)) == len(prints)
    assert space().fingerprint == space().fingerprint == space(reason="the docstring counts").fingerprint
    assert all(len(p) == 12 and int(p, 16) >= 0 for p in prints)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: SearchSpace(x=[1, 2]), r"x=\[1, 2\] is no parameter; expected one such as choice\(16, 32, 64\)"),
        (lambda: SearchSpace(items=boolean()), "it would hide the mapping's own; call it 'items_'"),
        (lambda: SearchSpace(**{"a-b": boolean()}), "must be a Python identifier"),
        (
            lambda: SearchSpace(mode=boolean(), x=boolean().when(mod=True)),
            "x is active when mod is True, but there is no parameter 'mod'; did you mean 'mode'",
        ),
        (
            lambda: SearchSpace(mode=choice("a", "b"), x=boolean().when(mode="c")),
            "x is active when mode is 'c', but mode is never 'c'; mode is one of 'a', 'b'",
        ),
        (
            lambda: SearchSpace(a=boolean().when(b=True), b=boolean().when(c=True), c=boolean().when(a=True)),
            "the conditions run in a circle: a -> b -> c -> a",
        ),
        (lambda: SearchSpace(a=boolean().when(a=True)), "in a circle: a -> a"),
        (
            lambda: SearchSpace(a=env("V", boolean()), b=env("V", boolean())),
            "a and b both set V; give each its own variable",
        ),
        (lambda: SearchSpace(block=boolean()).with_default(blok=True), "no parameter 'blok'; did you mean 'block'"),
        (
            lambda: SearchSpace(block=integer(1, 3)).with_default(block=9),
            "block=9 is not allowed; block is one of 1 to 3",
        ),
        (
            lambda: SearchSpace().with_default(lambda config: {}),
            "a default takes any of problem, device, by these names",
        ),
        (lambda: SearchSpace.of([]), "SearchSpace.of\\(\\) got no configurations"),
        (
            lambda: SearchSpace.of([{"x": 1}]) | SearchSpace(x=boolean()),
            "both spaces have a 'x', and one lists its configurations",
        ),
        (
            lambda: SearchSpace().where(lambda cfg: True),
            "takes 'cfg'; a constraint takes any of config, problem, device",
        ),
    ],
)
def test_a_wrong_declaration_is_told(declare, message):
    with pytest.raises(SpaceError, match=message):
        declare()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda problem: {"block": problem.n}, "the default lambda at .* raised AttributeError.* for m=64"),
        (lambda problem: problem.m, r"returned 64; expected a mapping, such as \{'block_m': 128\}"),
        (lambda problem: {"block": 7}, "block=7 is not allowed; block is one of 16, 32"),
    ],
)
def test_a_wrong_default_function_is_told(source, message):
    space = SearchSpace(block=choice(16, 32)).with_default(source)
    with pytest.raises(SpaceError, match=message):
        space.bind(PROBLEM, None)


def test_a_condition_that_raises_is_told():
    space = SearchSpace(n=integer(0, 3), x=boolean().when(n=lambda n: 1 / n > 0))
    with pytest.raises(
        SpaceError, match=r"the condition n passes .* raised ZeroDivisionError: .* for 0; it must return"
    ):
        space.bind(PROBLEM, None)


def test_only_spaces_join():
    with pytest.raises(TypeError):
        SearchSpace() | {"x": 1}


def test_the_public_names_are_these():
    assert autotune.SearchSpace is SearchSpace
    assert autotune.choice is choice


def test_a_space_needs_the_standard_library_only():
    code = (
        "import sys, autotune.space, autotune.space.valid_set;"
        "print([m for m in ('numpy', 'optuna', 'sqlalchemy', 'torch', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
