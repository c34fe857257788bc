"""Kernels under the real @triton.autotune: declared without a GPU, launched where a test's own `run` stands in."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

import autotune
from autotune import Config, Problem, SearchSpace, choice
from autotune.drop_in.kernel import AutotunedKernel
from autotune.errors import SpaceError, WorkloadError
from autotune.registry import Registry
from autotune.restoring import Restoring
from autotune.workload import load
from benchmarks import vs_triton_autotune

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs triton", allow_module_level=True)

import triton
import triton.language as tl

ROOT = Path(__file__).parents[3]
INTERPRETS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 9)
PROBLEMS = [Problem(n=1024, dtype="float32")]


def configs(*rows, **options):
    return [
        triton.Config({"BLOCK": block}, num_warps=warps, num_stages=stages, **options) for block, warps, stages in rows
    ]


LIST = configs((128, 4, 2), (256, 8, 3), (64, 2, 2))


@triton.jit
def scale(x, y, n, factor, BLOCK: tl.constexpr, EVEN: tl.constexpr = False):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + place, factor * tl.load(x + place, mask=place < n), mask=place < n)


def tuned(listed=LIST, key=("n",), **options):
    """A kernel of its own with that list; its launches are noted in `.launched` and go no further."""
    kernel = triton.autotune(configs=list(listed), key=list(key), **options)(scale)
    kernel.fn = Recorder(kernel)
    return kernel


class Recorder:
    """Stands in for the JITFunction at the moment of a launch."""

    def __init__(self, kernel):
        self.fn = kernel.fn
        self.launches = []

    def run(self, *arguments, grid, warmup, **keywords):
        self.launches.append(keywords)
        for one in arguments:
            if isinstance(one, Tensor):
                one.values = [value + 1 for value in one.values]


class Tensor:
    """As much of a tensor as restoring needs."""

    def __init__(self, *values):
        self.values = list(values)

    def zero_(self):
        self.values = [0 for _ in self.values]

    def clone(self):
        return Tensor(*self.values)

    def detach(self):
        return self

    def copy_(self, other):
        self.values = list(other.values)


def declared(kernel, call=None, **options):
    @autotune.triton_autotuned(kernel, **{"problems": PROBLEMS, **options})
    def scaled(problem):
        """y = factor x."""
        yield call or (lambda: kernel[(1,)](None, None, problem.n, 2.0))

    return scaled


def launched(kernel):
    return [(row["BLOCK"], row["num_warps"], row["num_stages"]) for row in kernel.fn.launches]


def test_the_space_is_the_product_of_the_lists_values_and_its_first_is_the_default():
    workload = declared(tuned())
    assert {name: list(p.values) for name, p in workload.space.parameters.items()} == {
        "BLOCK": [64, 128, 256],
        "num_warps": [2, 4, 8],
        "num_stages": [2, 3],
    }
    assert workload.space.size == 18
    assert workload.space.default == Config(BLOCK=128, num_warps=4, num_stages=2)
    assert workload.seeds == (
        Config(BLOCK=256, num_warps=8, num_stages=3),
        Config(BLOCK=64, num_warps=2, num_stages=2),
    )
    assert (workload.name, workload.description, workload.gpus) == ("scaled", "y = factor x.", 1)
    assert workload.path == Path(__file__)


def test_only_listed_searches_the_list_alone():
    workload = declared(tuned(), only_listed=True)
    assert sorted(config.text for config in workload.space.bind(PROBLEMS[0], None)) == sorted(
        config.text for config in AutotunedKernel.of(tuned()).listed
    )
    assert workload.space.default == Config(BLOCK=128, num_warps=4, num_stages=2)
    assert workload.seeds == ()


def test_a_long_list_gives_seeds_from_all_of_it():
    rows = [(block, 4, stages) for block in (16, 32, 64, 128, 256, 512, 1024, 2048) for stages in range(1, 9)]
    seeds = declared(tuned(configs(*rows))).seeds
    assert len(seeds) <= 16
    assert {seed.BLOCK for seed in seeds} == {16, 32, 64, 128, 256, 512, 1024, 2048}


def test_settings_that_never_vary_are_no_parameters_and_are_launched_all_the_same():
    kernel = tuned(configs((64, 4, 2), (128, 4, 2), maxnreg=128))
    workload = declared(kernel)
    assert "maxnreg" not in workload.space.parameters
    assert "maxnreg" in declared(tuned([*configs((64, 4, 2), maxnreg=128), *LIST])).space.parameters
    next(workload(PROBLEMS[0], Config(BLOCK=128, num_warps=4, num_stages=2)))()
    assert kernel.fn.launches[0]["maxnreg"] == 128


def test_the_space_can_be_widened_and_constrained():
    added = SearchSpace(num_stages=choice(1, 2, 3, 4)).where(lambda config: config.BLOCK / config.num_stages >= 32)
    workload = declared(tuned(), space=added)
    valid = workload.space.bind(PROBLEMS[0], None)
    assert valid.default == Config(BLOCK=128, num_warps=4, num_stages=2)
    assert Config(BLOCK=128, num_warps=8, num_stages=4) in valid
    assert Config(BLOCK=64, num_warps=8, num_stages=4) not in valid
    with pytest.raises(WorkloadError, match=r"no argument 'BLOCKS'.*did you mean 'BLOCK'"):
        declared(tuned(), space=SearchSpace(BLOCKS=choice(1, 2)))


def test_an_argument_that_some_leave_out_has_the_kernels_default():
    kernel = tuned([triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128, "EVEN": True})])
    assert declared(kernel).space.default.EVEN is False
    assert declared(kernel).space.size == 4


def test_an_argument_without_a_default_that_some_leave_out_needs_only_listed():
    listed = [triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128, "factor": 3})]
    with pytest.raises(WorkloadError, match=r"not every configuration of scale has factor.*only_listed=True"):
        declared(tuned(listed))
    space = declared(tuned(listed), only_listed=True).space
    assert space.size == 2
    assert "factor" not in space.default


def test_values_that_are_no_scalars_are_named_and_given_back_as_they_are():
    kernel = tuned([triton.Config({"BLOCK": 64, "EVEN": kind}) for kind in (tl.float16, tl.float32)])
    workload = declared(kernel)
    assert list(workload.space.parameters["EVEN"].values) == ["fp16", "fp32"]
    next(workload(PROBLEMS[0], Config(BLOCK=64, EVEN="fp32", num_warps=4, num_stages=3)))()
    assert kernel.fn.launches[0]["EVEN"] is tl.float32


def test_values_without_a_lasting_text_are_refused():
    with pytest.raises(WorkloadError, match="no text that is the same in every process"):
        declared(tuned([triton.Config({"BLOCK": 64, "EVEN": object()})]))


def test_a_trial_launches_its_configuration_and_gives_the_list_back():
    kernel = tuned()
    listed = kernel.configs
    body = declared(kernel)(PROBLEMS[0], Config(BLOCK=64, num_warps=8, num_stages=3))
    call = next(body)
    assert kernel.configs is listed
    call(), call()
    assert launched(kernel) == [(64, 8, 3)] * 2
    assert kernel.configs is listed
    assert next(body, "done") == "done"


def test_configurations_that_are_called_in_turn_each_launch_their_own():
    kernel = tuned()
    workload = declared(kernel)
    small, large = (next(workload(PROBLEMS[0], Config(BLOCK=block, num_warps=4, num_stages=2))) for block in (64, 256))
    small(), large(), small()
    assert [block for block, _, _ in launched(kernel)] == [64, 256, 64]


def test_the_body_is_pinned_while_it_prepares_verifies_and_cleans_up():
    kernel, seen = tuned(), []

    @autotune.triton_autotuned(kernel, problems=PROBLEMS)
    def scaled(problem):
        try:
            seen.append(len(kernel.configs))
            yield lambda: kernel[(1,)](None, None, problem.n, 2.0)
            seen.append(len(kernel.configs))
        finally:
            seen.append(len(kernel.configs))

    config = scaled.space.default
    list(scaled(PROBLEMS[0], config))
    broken = scaled(PROBLEMS[0], config)
    next(broken)
    broken.close()
    assert seen == [1, 1, 1, 1, 1]
    assert len(kernel.configs) == 3


def test_what_launches_another_kernel_is_an_error_and_no_tie():
    kernel, other = tuned(), tuned()
    workload = declared(kernel, call=lambda: other[(1,)](None, None, 1024, 2.0))
    other.configs = other.configs[:1]
    with pytest.raises(WorkloadError, match="launches no scale"):
        next(workload(PROBLEMS[0], workload.space.default))()


def test_a_launch_while_preparing_is_enough_as_where_a_graph_was_captured():
    kernel = tuned()

    @autotune.triton_autotuned(kernel, problems=PROBLEMS)
    def replayed(problem):
        kernel[(1,)](None, None, problem.n, 2.0)
        yield lambda: "replayed"

    assert next(replayed(PROBLEMS[0], replayed.space.default))() == "replayed"


def test_the_pre_hook_of_a_list_is_called_for_what_it_does_not_list_too():
    seen = []
    kernel = tuned(
        [triton.Config({"BLOCK": block}, num_warps=block // 32, pre_hook=seen.append) for block in (64, 128)]
    )
    next(declared(kernel)(PROBLEMS[0], Config(BLOCK=64, num_warps=4, num_stages=3)))()
    assert [(arguments["BLOCK"], arguments["num_warps"]) for arguments in seen] == [(64, 4)]


def test_a_lambda_made_for_each_configuration_is_one_pre_hook():
    listed = [triton.Config({"BLOCK": b}, num_warps=b // 16, pre_hook=lambda nargs: None) for b in (64, 128)]
    assert declared(tuned(listed)).space.size == 4


def test_different_pre_hooks_need_only_listed_and_then_each_has_its_own():
    seen = []
    listed = [
        triton.Config({"BLOCK": 64}, pre_hook=lambda nargs: seen.append("small")),
        triton.Config({"BLOCK": 128}, num_warps=8, pre_hook=lambda nargs: seen.append("large")),
    ]
    with pytest.raises(WorkloadError, match=r"different pre_hooks.*only_listed=True"):
        declared(tuned(listed))
    workload = declared(tuned(listed), only_listed=True)
    next(workload(PROBLEMS[0], Config(BLOCK=128, num_warps=8, num_stages=3)))()
    assert seen == ["large"]


def test_restore_value_and_reset_to_zero_become_tensors_to_restore():
    kernel = tuned(restore_value=["x"], reset_to_zero=["y"])
    x, y = Tensor(5, 6), Tensor(7)
    workload = declared(kernel, call=lambda: kernel[(1,)](x, y, 1024, 2.0))
    call = next(workload(PROBLEMS[0], workload.space.default))
    assert isinstance(call, Restoring)
    assert not kernel.fn.launches  # its arguments are known without a launch
    call(), call()
    assert (x.values, y.values) == ([7, 8], [2])
    call.restore(), call()
    assert (x.values, y.values) == ([6, 7], [1])
    assert launched(kernel) == [(128, 4, 2)] * 3


def test_what_the_author_restores_is_pinned_and_counts_before_the_kernels_own():
    kernel, x = tuned(restore_value=["x"]), Tensor(1)
    given = autotune.restoring(lambda: kernel[(1,)](None, None, 1024, 2.0), x)
    workload = declared(kernel, call=given)
    next(workload(PROBLEMS[0], Config(BLOCK=256, num_warps=4, num_stages=2)))()
    assert launched(kernel) == [(256, 4, 2)]


def test_arguments_to_restore_that_are_never_launched_are_an_error():
    workload = declared(tuned(restore_value=["x"]), call=lambda: None)
    with pytest.raises(WorkloadError, match=r"yield autotune.restoring\(call, tensors…\)"):
        next(workload(PROBLEMS[0], workload.space.default))


def test_early_config_prune_is_a_constraint_with_its_reason():
    def prune(configs, named_args, **kwargs):
        """The block is larger than the vector."""
        return [config for config in configs if config.kwargs["BLOCK"] <= named_args["n"]]

    workload = declared(tuned(prune_configs_by={"early_config_prune": prune}), problems=[Problem(n=64), Problem(n=200)])
    assert {config.BLOCK for config in workload.space.bind(Problem(n=64), None)} == {64}
    assert {config.BLOCK for config in workload.space.bind(Problem(n=200), None)} == {64, 128}
    wide = Config(BLOCK=128, num_warps=4, num_stages=2)
    assert workload.space.rejection(wide, Problem(n=64), None) == "The block is larger than the vector."
    assert workload.space.bind(Problem(n=64), None).default.BLOCK == 64


def test_early_config_prune_finds_the_problem_among_keywords_too_and_more_where_it_is_given():
    def prune(configs, nargs, n, width, **kwargs):
        return [config for config in configs if config.num_warps * width <= n]

    kernel = tuned(prune_configs_by={"early_config_prune": prune})
    with pytest.raises(SpaceError, match=r"prune.*of scale raised TypeError.*'width'.*named_args=lambda problem"):
        declared(kernel).space.bind(PROBLEMS[0], None)
    workload = declared(kernel, named_args=lambda problem: {"width": 256})
    assert {config.num_warps for config in workload.space.bind(PROBLEMS[0], None)} == {2, 4}


def test_early_config_prune_sees_the_whole_space_and_may_spoil_what_it_is_given():
    sizes = []

    def prune(configs, named_args):
        sizes.append(len(configs))
        fewest = min(config.num_warps for config in configs)
        for config in configs:
            config.kwargs["BLOCK"] = min(config.kwargs["BLOCK"], 128)  # not the configuration that was asked for
        return [config for config in configs if config.num_warps == fewest]

    kernel = tuned(prune_configs_by={"early_config_prune": prune})
    valid = list(declared(kernel).space.bind(PROBLEMS[0], None))
    assert sizes == [18]
    assert {(config.num_warps, config.BLOCK) for config in valid} == {(2, 64), (2, 128)}
    assert [config.kwargs["BLOCK"] for config in kernel.configs] == [128, 256, 64]


def test_a_large_space_is_pruned_one_by_one(monkeypatch):
    monkeypatch.setattr(sys.modules["autotune.drop_in"], "MOST_PRUNED_AT_ONCE", 4)
    sizes = set()

    def prune(configs, named_args):
        sizes.add(len(configs))
        return [config for config in configs if config.num_warps > 2]

    workload = declared(tuned(prune_configs_by={"early_config_prune": prune}))
    assert workload.space.bind(PROBLEMS[0], None).size == 12
    assert sizes == {1}


@pytest.mark.parametrize("order", ["inside", "outside"])
def test_heuristics_on_either_side_are_seen_through(order):
    heuristics = triton.heuristics({"EVEN": lambda arguments: True})
    if order == "inside":
        kernel = triton.autotune(configs=LIST, key=["n"])(heuristics(scale))
    else:
        kernel = heuristics(triton.autotune(configs=LIST, key=["n"])(scale))
    assert AutotunedKernel.of(kernel).name == "scale"
    assert declared(kernel).space.size == 18


def test_what_is_no_autotuned_kernel_is_refused_by_name():
    for other in (scale, scale.fn, lambda: None, 3):
        with pytest.raises(WorkloadError, match=r"under no @triton.autotune.*@autotune.workload\(space=…\)"):
            declared(other)
    with pytest.raises(WorkloadError, match=r"under 2 @triton.autotune"):
        declared(triton.autotune(configs=LIST, key=["n"])(triton.autotune(configs=LIST, key=["n"])(scale)))


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem(N=1), r"the problem N=1 lacks 'n'; scale is tuned for each n, .*Did you mean 'n' by 'N'\?"),
        (Problem(), "the problem without values lacks 'n'"),
    ],
)
def test_a_problem_must_have_the_keys_names(problem, said):
    with pytest.raises(WorkloadError, match=said):
        declared(tuned(), problems=[PROBLEMS[0], problem])


def test_the_body_takes_the_problem_alone_and_yields():
    with pytest.raises(WorkloadError, match=r"must take exactly \(problem\); the configuration is applied"):
        autotune.triton_autotuned(tuned(), problems=PROBLEMS)(lambda problem, config: (yield))
    with pytest.raises(WorkloadError, match="does not yield"):
        autotune.triton_autotuned(tuned(), problems=PROBLEMS)(lambda problem: None)


def test_the_version_follows_the_kernel_that_another_package_holds(tmp_path, monkeypatch):
    library, own = tmp_path / "library", tmp_path / "own"
    library.mkdir(), own.mkdir()
    monkeypatch.syspath_prepend(str(library))
    kernel = textwrap.dedent("""
        import triton
        @triton.autotune(configs=[triton.Config({"BLOCK": 64})], key=["n"])
        @triton.jit
        def elsewhere(n, BLOCK):
            pass
    """)
    (library / "kernels_elsewhere.py").write_text(kernel)
    (own / "mine.py").write_text(
        textwrap.dedent("""
        import autotune
        from kernels_elsewhere import elsewhere
        @autotune.triton_autotuned(elsewhere, problems=[{"n": 1}])
        def mine(problem):
            yield lambda: elsewhere[(1,)](problem.n)
    """)
    )
    before = load(own / "mine.py")[0].version
    assert load(own / "mine.py")[0].version == before
    (library / "kernels_elsewhere.py").write_text(kernel + "# changed\n")
    assert load(own / "mine.py")[0].version != before


def test_a_seed_must_be_of_the_space():
    workload = declared(tuned())
    with pytest.raises(SpaceError, match="BLOCK=96 is not allowed"):
        replace(workload, seeds=(Config(BLOCK=96, num_warps=4, num_stages=2),))


def test_the_list_of_the_benchmark_is_long_enough_and_fits_an_h200():
    [workload] = load(ROOT / "benchmarks" / "gemm_autotuned.py")
    listed = list(workload.space.bind(workload.problems[0], None))
    assert len(listed) >= vs_triton_autotune.LEAST_CONFIGURATIONS
    assert max(c.num_stages * (c.BLOCK_M + c.BLOCK_N) * c.BLOCK_K * 2 for c in listed) < 232_448


INTERPRETED = """
    import torch, triton, triton.language as tl
    import autotune
    from autotune import Problem

    @triton.autotune(
        configs=[triton.Config({"BLOCK": b}, num_warps=w) for b, w in ((64, 2), (128, 4))], key=["n"],
        restore_value=["x"],
    )
    @triton.jit
    def double(x, n, BLOCK: tl.constexpr):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(x + place, 2 * tl.load(x + place, mask=place < n), mask=place < n)

    @autotune.triton_autotuned(double, problems=[Problem(n=200)], gpus=0)
    def doubled(problem):
        x = torch.ones(problem.n)
        yield lambda: double[lambda meta: (triton.cdiv(problem.n, meta["BLOCK"]),)](x, problem.n)
        torch.testing.assert_close(x, torch.full((problem.n,), 2.0))
"""


@pytest.mark.skipif(not INTERPRETS, reason="needs the interpreter of triton 3.9")
def test_a_study_tunes_it_from_end_to_end_the_list_first(tmp_path, home):
    (tmp_path / "doubled.py").write_text(textwrap.dedent(INTERPRETED))
    done = subprocess.run(
        [sys.executable, "-m", "autotune", "study", "doubled.py", "--quick", "--trials", "3", "--json"],
        cwd=tmp_path,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [study] = json.loads(done.stdout)["studies"]
    assert study["failures"] == {}
    assert study["trials"] == 3
    assert study["default"]["config"] == {"BLOCK": 64, "num_warps": 2, "num_stages": 3}
    with Registry.open(f"sqlite:///{home / 'autotune.db'}") as registry:
        first, second, third = registry.trials(study["study"])
    assert (first.origin, second.origin, third.origin) == ("default", "seed", "search")
    assert second.config == {"BLOCK": 128, "num_warps": 4, "num_stages": 3}
