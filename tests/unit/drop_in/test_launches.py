"""use_tuned on the real Autotuner, whose kernel and benchmark are stood in for: nothing is compiled or timed."""

import importlib.util
from types import SimpleNamespace

import pytest

import autotune
from autotune import Config, Problem, snapshot
from autotune.errors import UserError, WorkloadError
from autotune.lookup import refresh
from tests.unit.test_lookup import tuned

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs triton", allow_module_level=True)

import triton
import triton.language as tl

LIST = [triton.Config({"BLOCK": block}, num_warps=4, num_stages=2) for block in (64, 128, 256)]
BEST = Config(BLOCK=512, num_warps=8, num_stages=3)  # between the listed ones, as a search finds it


@triton.jit
def scale(x, y, n, factor, BLOCK: tl.constexpr):
    pass


@pytest.fixture
def kernel():
    return autotuned()


@pytest.fixture
def publish(home):
    def publish(problem, config=BEST):
        snapshot.write(home / "snapshots", [tuned(workload="scaled", problem=problem, config=config)])
        refresh()

    return publish


def autotuned(listed=LIST, **options):
    """With `.launched`, the blocks that were launched, and `.benchmarked`, those that were timed."""

    def do_bench(call, quantiles):
        blocks.append("benchmark")
        call()
        return [1.0, 1.0, 1.0]

    blocks = []
    made = triton.autotune(configs=list(listed), key=["n"], do_bench=do_bench, **options)(scale)
    made.fn = SimpleNamespace(fn=scale, run=lambda *_, BLOCK, **__: blocks.append(BLOCK))
    made.seen = blocks
    return made


def launch(kernel, n, x=None):
    """What was benchmarked and launched for it."""
    del kernel.seen[:]
    kernel[(1,)](x, None, n, 2.0)
    return list(kernel.seen)


def test_a_tuned_problem_is_launched_as_tuned_and_never_benchmarked(kernel, publish):
    publish(Problem(n=1024))
    assert autotune.use_tuned(kernel, "scaled") is kernel
    assert launch(kernel, 1024) == [512]
    assert launch(kernel, 1024) == [512]
    assert kernel.best_config.all_kwargs() == {"BLOCK": 512, "num_warps": 8, "num_stages": 3, "num_ctas": 1}


def test_what_is_not_tuned_is_benchmarked_as_ever(kernel, publish):
    publish(Problem(n=1024))
    autotune.use_tuned(kernel, "scaled")
    assert launch(kernel, 2048) == ["benchmark", 64, "benchmark", 128, "benchmark", 256, 64]
    assert launch(kernel, 2048) == [64]


def test_or_takes_the_first_of_the_list_where_that_is_wanted(kernel):
    autotune.use_tuned(kernel, "scaled", fallback="first")
    assert launch(kernel, 2048) == [64]
    with pytest.raises(UserError, match=r"fallback is 'none'; expected 'autotune' or 'first'"):
        autotune.use_tuned(kernel, "scaled", fallback="none")


def test_a_launch_that_was_seen_takes_tritons_own_path_untouched(kernel, publish, monkeypatch):
    publish(Problem(n=1024))
    autotune.use_tuned(kernel, "scaled")
    launch(kernel, 1024)
    assert type(kernel.cache) is dict
    assert "run" not in vars(kernel)
    monkeypatch.setattr(kernel, "prune_configs", None)  # nothing of ours is asked again
    monkeypatch.setattr(kernel, "_bench", None)
    assert launch(kernel, 1024) == [512]


def test_a_version_that_benchmarks_a_single_choice_too_is_told_what_it_would_find(kernel, publish):
    publish(Problem(n=1024))
    autotune.use_tuned(kernel, "scaled")
    launch(kernel, 1024)
    assert kernel._bench(None, None, 1024, 2.0, config=kernel.best_config, grid=(1,)) == [0.0, 0.0, 0.0]
    kernel.nargs = {}
    assert kernel._bench(None, None, 1024, 2.0, config=LIST[1]) == [1.0, 1.0, 1.0]


def test_the_problem_may_hold_more_than_the_key(kernel, publish):
    publish(Problem(n=1024, dtype="float16"))
    autotune.use_tuned(kernel, "scaled", problem=lambda arguments: {"dtype": arguments["x"].dtype})
    assert launch(kernel, 1024, SimpleNamespace(dtype="float16")) == [512]
    assert launch(kernel, 1024, SimpleNamespace(dtype="float32"))[-1] == 64


def test_a_kernel_with_one_listed_configuration_takes_what_was_tuned_too(publish):
    publish(Problem(n=1024))
    kernel = autotune.use_tuned(autotuned(LIST[:1]), "scaled")
    assert launch(kernel, 1024) == [512]
    assert launch(kernel, 2048) == [64]  # and is not benchmarked where there is no choice


def test_a_new_call_takes_what_was_tuned_meanwhile(kernel, publish):
    autotune.use_tuned(kernel, "scaled", fallback="first")
    assert launch(kernel, 1024) == [64]
    publish(Problem(n=1024))
    assert launch(kernel, 1024) == [64]
    autotune.use_tuned(kernel, "scaled")
    assert launch(kernel, 1024) == [512]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"BLOCKS": 512, "num_warps": 4, "num_stages": 2}, "it lacks BLOCK; there is no BLOCKS"),
        ({"num_warps": 4, "num_stages": 2}, "it lacks BLOCK"),
    ],
)
def test_a_configuration_that_no_longer_fits_the_kernel_is_left_alone_with_a_warning(kernel, publish, config, said):
    publish(Problem(n=1024), Config(config))
    autotune.use_tuned(kernel, "scaled", fallback="first")
    with pytest.warns(UserWarning, match=rf"scale is not launched as scaled was tuned: .* \({said}\); tune it again"):
        assert launch(kernel, 1024) == [64]


def test_a_value_that_only_the_list_can_give_must_still_be_listed(publish):
    kernel = autotuned([triton.Config({"BLOCK": kind}) for kind in (tl.float16, tl.float32)])
    autotune.use_tuned(kernel, "scaled", fallback="first")
    publish(Problem(n=1), Config(BLOCK="fp32", num_warps=4, num_stages=3))
    assert launch(kernel, 1) == [tl.float32]
    publish(Problem(n=2), Config(BLOCK="fp8e5", num_warps=4, num_stages=3))
    with pytest.warns(UserWarning, match="not listed BLOCK"):
        assert launch(kernel, 2) == [tl.float16]


def test_a_key_that_no_problem_can_hold_is_benchmarked_with_a_warning(kernel):
    autotune.use_tuned(kernel, "scaled", fallback="first")
    with pytest.warns(UserWarning, match="n is a tuple"):
        assert launch(kernel, (1, 2)) == [64]


def test_the_list_is_still_what_a_trial_pins(kernel, publish):
    publish(Problem(n=1024))
    autotune.use_tuned(kernel, "scaled")

    @autotune.triton_autotuned(kernel, problems=[Problem(n=1024)])
    def scaled(problem):
        yield lambda: kernel[(1,)](None, None, problem.n, 2.0)

    next(scaled(Problem(n=1024), Config(BLOCK=128, num_warps=4, num_stages=2)))()
    assert kernel.seen == [128]


def test_only_an_autotuned_kernel_can_use_what_was_tuned():
    with pytest.raises(WorkloadError, match=r"under no @triton.autotune"):
        autotune.use_tuned(scale, "scaled")
