import shlex
import sys
import threading
import timeit
import warnings
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autotune
from autotune import best_config, lookup, snapshot
from autotune.device import Toolchain, current_sku, current_toolchain
from autotune.distance import distance, nearest
from autotune.errors import NoTunedConfig, SnapshotError, UserError
from autotune.lookup import Lookup, Match, add_snapshot_folder, refresh, search_path
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from tests.unit.portfolio.samples import portfolio

SKU = current_sku()
HERE = current_toolchain().to_json()


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(sys.modules["autotune.lookup"], "_packaged", [])  # the name is the function's
    refresh()
    yield
    refresh()


@pytest.fixture
def publish(home):
    """Write a snapshot of configs into a folder, the user's own unless told otherwise."""

    def publish(*configs, folder=home / "snapshots", rules=()):
        paths = snapshot.write(folder, configs, rules)
        refresh()
        return paths

    return publish


def tuned(block_m=64, *, problem=None, **changes):
    values = {
        "workload": "matmul",
        "version": "0123456789ab",
        "problem": Problem({"m": 16, "dtype": "bfloat16"} if problem is None else problem),
        "sku": SKU,
        "gpus": 1,
        "config": Config(block_m=block_m),
        "metric": "latency_ms",
        "direction": "minimize",
        "value": 0.1,
        "interval": (0.09, 0.11),
        "baseline": None,
        "baseline_config": Config(block_m=32),
        "speedup": None,
        "toolchain": HERE,
        "measured_at": "2026-01-01T00:00:00+00:00",
    }
    return TunedConfig(**values | changes)


# What is found


def test_the_tuned_configuration_is_found_in_any_order_of_the_problem(publish):
    publish(tuned(128))
    assert best_config("matmul", m=16, dtype="bfloat16") == Config(block_m=128)
    assert best_config("matmul", dtype="bfloat16", m=16) == Config(block_m=128)


def test_a_lookup_says_everything_that_is_known(publish):
    [path] = publish(tuned())
    found = lookup("matmul", m=16, dtype="bfloat16")
    reason = f"tuned for this problem on {SKU}, measured 2026-01-01T00:00:00+00:00"
    assert found == Lookup(kind=Match.EXACT, reason=reason, tuned=tuned(), path=path)
    assert found.config == Config(block_m=64)


def test_a_problem_without_values_is_a_problem_too(publish):
    publish(tuned(problem={}))
    assert best_config("matmul") == Config(block_m=64)


def test_equal_values_of_other_types_are_other_problems(publish):
    publish(*(tuned(block_m, problem={"flag": flag}) for block_m, flag in [(1, True), (2, 1), (3, 1.0)]))
    for _ in range(2):
        assert [best_config("matmul", flag=flag).block_m for flag in (1.0, 1, True)] == [3, 2, 1]
        assert best_config("matmul", flag=0, default=None) is None


@pytest.mark.parametrize("known", [True, 1, 1.0])
def test_an_equal_value_of_another_type_is_no_answer(publish, known):
    publish(tuned(problem={"flag": known}))
    assert best_config("matmul", flag=known) == Config(block_m=64)
    others = [flag for flag in (True, 1, 1.0) if type(flag) is not type(known)]
    assert [best_config("matmul", flag=flag, default=None) for flag in others] == [None, None]


def test_what_stands_for_a_scalar_is_looked_up_as_that(publish):
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    publish(tuned())
    kind = Enum("Kind", {"BF16": "bfloat16"}, type=str)
    assert best_config("matmul", m=numpy.int64(16), dtype=torch.bfloat16) == Config(block_m=64)
    assert best_config("matmul", m=numpy.array(16), dtype=kind.BF16) == Config(block_m=64)


def test_a_tensor_that_changes_is_looked_up_anew(publish):
    torch = pytest.importorskip("torch")
    publish(tuned(1, problem={"m": 16}), tuned(2, problem={"m": 32}))
    m = torch.tensor(16)
    assert best_config("matmul", m=m).block_m == 1
    assert best_config("matmul", m=m.mul_(2)).block_m == 2


def test_what_cannot_be_a_problem_is_refused():
    with pytest.raises(UserError, match="shape is a list; a problem and a config hold only"):
        best_config("matmul", shape=[16, 16])
    with pytest.raises(UserError, match="shape is a tuple"):
        best_config("matmul", shape=(16, 16), default=None)


def test_the_number_of_gpus_is_one_or_the_processor_unless_told(publish):
    publish(tuned(1, gpus=1), tuned(4, gpus=4), tuned(9, gpus=0, problem={"m": 1}))
    assert best_config("matmul", m=16, dtype="bfloat16").block_m == 1
    assert best_config("matmul", m=16, dtype="bfloat16", gpus=4).block_m == 4
    assert best_config("matmul", m=1).block_m == 9
    with pytest.raises(NoTunedConfig, match=r"\(It is tuned for gpus=1 and 4.\)"):
        best_config("matmul", m=16, dtype="bfloat16", gpus=2)


# What is not


def test_a_miss_is_the_command_that_would_tune_it():
    with pytest.raises(NoTunedConfig) as raised:
        best_config("matmul", m=16, dtype="odd name")
    assert isinstance(raised.value, LookupError)
    what, command = str(raised.value).split(". Tune it there: ")
    assert what == f"matmul is not tuned for dtype=odd name,m=16 on {SKU}"
    assert shlex.split(command) == [
        "autotune",
        "study",
        "FILE",
        "--workload",
        "matmul",
        "--problem",
        "dtype=odd name,m=16",
    ]


def test_a_default_is_given_back_instead_of_a_miss():
    assert best_config("matmul", m=16, default={"block_m": 8}) == Config(block_m=8)
    assert best_config("matmul", m=16, default={"block_m": 8}).block_m == 8
    own = Config(block_m=8)
    assert best_config("matmul", m=16, default=own) is own
    assert best_config("matmul", m=16, default=None) is None


def test_no_sku_is_given_anothers_configuration(publish):
    publish(tuned(sku="other gpu"), tuned(sku="third"), tuned(sku="unlike", problem={"m": 1}))
    problem = {"m": 16, "dtype": "bfloat16"}
    with pytest.raises(
        NoTunedConfig, match=r"\(It is tuned on other gpu, third; a configuration is never taken from another"
    ):
        best_config("matmul", **problem, nearest=True)
    assert lookup("matmul", **problem).kind is Match.NONE
    assert lookup("matmul", **problem).config is None
    assert best_config("matmul", **problem, sku="other gpu") == Config(block_m=64)
    assert best_config("matmul", **problem, default=None) is None


def test_a_miss_says_what_is_near(publish):
    publish(*(tuned(problem={"m": m}) for m in (16, 64)))
    reason = lookup("matmul", m=20).reason
    assert reason.endswith("(On this SKU 2 other problems are tuned, such as m=16: nearest=True would take that.)")
    assert lookup("matmul", m=1000).reason.endswith("(On this SKU 2 other problems are tuned.)")


# The nearest


def test_the_nearest_is_given_where_it_is_asked_for(publish):
    publish(*(tuned(m, problem={"m": m, "dtype": "bfloat16"}) for m in (16, 128, 1024)))
    found = lookup("matmul", m=100, dtype="bfloat16", nearest=True)
    assert (found.kind, found.config) == (Match.NEAREST, Config(block_m=128))
    assert found.reason.startswith("the nearest tuned problem is dtype=bfloat16,m=128, measured 2026")
    assert best_config("matmul", m=100, dtype="bfloat16", nearest=True).block_m == 128
    assert lookup("matmul", m=128, dtype="bfloat16", nearest=True).kind is Match.EXACT
    assert best_config("matmul", m=100, dtype="bfloat16", default=None) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"m": 8, "fast": True}, 16),  # half the smallest
        ({"m": 7, "fast": True}, None),
        ({"m": 8192, "fast": True}, 4096),  # twice the largest
        ({"m": 8193, "fast": True}, None),
        ({"m": 250, "fast": True}, 256),
        ({"m": 255.5, "fast": True}, 256),
        ({"m": 256, "fast": 1}, None),
        ({"m": 256, "fast": False}, None),
        ({"m": 0, "fast": True}, None),
        ({"m": -16, "fast": True}, None),
        ({"m": "256", "fast": True}, None),
        ({"m": 256}, None),
        ({"m": 256, "fast": True, "n": 1}, None),
    ],
)
def test_the_nearest_is_within_reach_and_like_in_all_that_is_no_size(wanted, expected):
    known = [Problem(m=m, fast=True) for m in (16, 256, 4096)] + [Problem(m=100_000, fast=False)]
    found = nearest(Problem(wanted), known)
    assert (found and found.m) == expected


def test_each_size_has_a_reach_of_its_own():
    known = [Problem(m=16, n=4096), Problem(m=4096, n=4096)]
    assert nearest(Problem(m=500, n=4096), known) == known[1]
    assert nearest(Problem(m=500, n=10_000), known) is None
    assert nearest(Problem(m=1, n=1), []) is None


SIZES = st.fixed_dictionaries({"m": st.integers(1, 10**9), "n": st.floats(1e-9, 1e9)}).map(Problem)


@given(one=SIZES, two=SIZES, three=SIZES)
def test_distance_is_a_metric_and_knows_only_ratios(one, two, three):
    assert distance(one, one) == 0
    assert distance(one, two) == distance(two, one)
    assert distance(one, three) <= distance(one, two) + distance(two, three) + 1e-9
    doubled = [Problem(m=p.m * 2, n=p.n * 2) for p in (one, two)]
    assert distance(*doubled) == pytest.approx(distance(one, two), abs=1e-9)


# The rule of a matrix study


def test_what_was_not_tuned_is_picked_by_the_rule_and_never_silently(publish):
    rule = portfolio(sku=SKU, toolchain=HERE)
    [path] = publish(tuned(7, problem={"m": 64}), rules=[rule])
    assert [best_config("matmul", m=m).block_m for m in (16, 64, 65, 91, 8192)] == [0, 7, 0, 1, 1]
    found = lookup("matmul", m=1000)
    reason = (
        "picked by the rule of a matrix study over 4 problems; at most 2.1 % slower than the best on them, "
        "measured 2026-01-01T00:00:00+00:00"
    )
    expected = Lookup(kind=Match.RULE, reason=reason, path=path, portfolio=rule, picked=Config(block_m=1))
    assert (found, found.config, found.tuned) == (expected, Config(block_m=1), None)
    assert lookup("matmul", m=64).kind is Match.EXACT


def test_beyond_its_domain_a_rule_gives_nothing(publish):
    publish(rules=[portfolio(sku=SKU)])
    for problem in ({"m": 7}, {"m": 8193}, {"m": 16, "n": 1}, {"m": "16"}, {}):
        assert best_config("matmul", **problem, default=None) is None
        assert lookup("matmul", **problem).kind is Match.NONE
    assert best_config("matmul", m=16, gpus=2, default=None) is None
    assert best_config("matmul", m=16, sku="other", default=None) is None
    assert best_config("softmax", m=16, default=None) is None


def test_the_rule_goes_before_the_nearest_and_the_newest_rule_before_the_others(publish):
    later = portfolio(sku=SKU, metric="energy_j", measured_at="2026-02-01T00:00:00+00:00")
    publish(tuned(7, problem={"m": 64}), rules=[later, portfolio(sku=SKU)])
    found = lookup("matmul", m=65, nearest=True)
    assert (found.kind, found.portfolio.metric) == (Match.RULE, "energy_j")
    assert "at most 2.1 % worse than the best on them" in found.reason
    assert lookup("matmul", m=8, nearest=True).kind is Match.RULE


def test_an_exact_entry_in_a_later_folder_goes_before_a_rule(publish, tmp_path):
    publish(rules=[portfolio(sku=SKU)])
    publish(tuned(7, problem={"m": 65}), folder=tmp_path / "library")
    add_snapshot_folder(tmp_path / "library")
    assert best_config("matmul", m=65).block_m == 7


def test_a_rule_of_another_toolchain_says_so(publish, monkeypatch):
    publish(rules=[portfolio(sku=SKU, toolchain={"torch": "2.11.0"})])
    monkeypatch.setitem(best_config.__globals__, "current_toolchain", lambda: Toolchain(torch="2.12.0"))
    found = lookup("matmul", m=20)
    assert (found.kind, found.reason.partition("; since then: ")[2]) == (Match.RULE, "torch 2.11.0 became 2.12.0")


def test_a_damaged_rule_is_told_where_it_is_needed(publish):
    [path] = publish(tuned(7, problem={"m": 64}), rules=[portfolio(sku=SKU)])
    path.write_text(path.read_text().replace('"at_most":90', '"at_most":91'))
    assert best_config("matmul", m=64).block_m == 7
    with pytest.raises(SnapshotError, match="does not match its checksum"):
        best_config("matmul", m=65)
    with pytest.warns(UserWarning, match="defaults are used"):
        assert best_config("matmul", m=66, default=None) is None


# The toolchain


@pytest.mark.parametrize(
    ("tool", "then", "now", "kind"),
    [
        ("torch", "2.11.0", "2.11.1+cu128", Match.EXACT),
        ("torch", "2.11.0", "2.12.0", Match.OTHER_TOOLCHAIN),
        ("triton", "3.6.0", "3.6.1", Match.EXACT),
        ("triton", "3.1.0", "3.2.0", Match.OTHER_TOOLCHAIN),
        ("cuda", "12.8", "12.9", Match.OTHER_TOOLCHAIN),
        ("nccl", "2.27.3", "2.27.5", Match.EXACT),
        ("nccl", "2.27.3", "2.28.3", Match.OTHER_TOOLCHAIN),
        ("driver", "570.86.15", "570.124.06", Match.EXACT),
        ("driver", "570.86.15", "580.65.06", Match.OTHER_TOOLCHAIN),
        ("python", "3.11.1", "3.12.1", Match.EXACT),
        ("autotune", "0.1.0", "0.2.0", Match.EXACT),
        ("torch", "2.11.0", None, Match.EXACT),
        ("torch", None, "2.11.0", Match.EXACT),
    ],
)
def test_another_toolchain_is_said_where_it_counts(publish, monkeypatch, tool, then, now, kind):
    publish(tuned(toolchain={tool: then} if then else {}))
    monkeypatch.setitem(best_config.__globals__, "current_toolchain", lambda: Toolchain(**{tool: now}))
    found = lookup("matmul", m=16, dtype="bfloat16")
    assert (found.kind, found.config) == (kind, Config(block_m=64))
    assert (f"since then: {tool} {then} became {now}" in found.reason) == (kind is Match.OTHER_TOOLCHAIN)


# Where it is looked for


def test_the_first_folder_that_has_the_entry_wins(publish, home, tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("caller", "other caller", "site", "library", "second library")}
    monkeypatch.setenv("AUTOTUNE_SNAPSHOT_PATH", f"{folders['caller']}:{folders['other caller']}")
    monkeypatch.setattr(sys, "prefix", str(folders["site"]))
    add_snapshot_folder(folders["library"])
    add_snapshot_folder(str(folders["second library"]))
    add_snapshot_folder(folders["library"])
    expected = [
        folders["caller"],
        folders["other caller"],
        home / "snapshots",
        folders["site"] / "share/autotune/snapshots",
    ]
    assert search_path() == [*expected, folders["library"], folders["second library"]]
    for place, folder in reversed(list(enumerate(search_path()))):
        publish(tuned(place), folder=folder)
        publish(tuned(99, problem={"m": 1}), folder=folder)
        assert best_config("matmul", m=16, dtype="bfloat16").block_m == place


def test_an_exact_entry_in_a_later_folder_goes_before_a_near_one(publish, tmp_path):
    publish(tuned(1, problem={"m": 15}))
    publish(tuned(2, problem={"m": 16}), tuned(3, problem={"m": 15}), folder=tmp_path / "library")
    add_snapshot_folder(tmp_path / "library")
    assert best_config("matmul", m=16, nearest=True).block_m == 2
    assert best_config("matmul", m=14, nearest=True).block_m == 1


def test_a_library_may_add_its_folder_after_a_miss(publish, tmp_path):
    publish(tuned(), folder=tmp_path / "library")
    assert best_config("matmul", m=16, dtype="bfloat16", default=None) is None
    add_snapshot_folder(tmp_path / "library")
    assert best_config("matmul", m=16, dtype="bfloat16") == Config(block_m=64)


# Damage


def test_a_damaged_snapshot_is_an_error_that_names_it(publish):
    [path] = publish(tuned())
    path.write_text("torn")
    for use in (best_config, lookup):
        with pytest.raises(SnapshotError, match=rf"{path} is torn or was edited by hand"):
            use("matmul", m=16, dtype="bfloat16")


def test_with_a_default_a_damaged_snapshot_is_warned_of_once(publish):
    [path] = publish(tuned())
    path.write_text("torn")
    with pytest.warns(UserWarning, match="defaults are used instead of tuned configurations") as caught:
        assert best_config("matmul", m=16, dtype="bfloat16", default=None) is None
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        for m in range(10):
            assert best_config("matmul", m=m, default={"block_m": 8}) == Config(block_m=8)
    assert best_config("softmax", m=16, default=None) is None


def test_an_entry_that_only_the_nearest_meets_is_warned_of_as_well(publish):
    [path] = publish(tuned(problem={"m": 16}))
    path.write_text(path.read_text().replace('"block_m":64', '"block_m":65'))
    with pytest.warns(UserWarning, match="does not match its checksum"):
        assert best_config("matmul", m=17, nearest=True, default=None) is None
    with pytest.raises(SnapshotError, match="does not match its checksum"):
        best_config("matmul", m=17, nearest=True)


def test_a_damaged_snapshot_is_read_again_after_a_refresh(publish):
    [path] = publish(tuned())
    whole = path.read_bytes()
    path.write_text("torn")
    with pytest.raises(SnapshotError):
        best_config("matmul", m=16, dtype="bfloat16")
    path.write_bytes(whole)
    refresh()
    assert best_config("matmul", m=16, dtype="bfloat16") == Config(block_m=64)


def test_damage_elsewhere_does_not_spoil_a_miss(publish):
    [path] = publish(tuned(sku="other"))
    path.write_text("torn")
    with pytest.raises(NoTunedConfig, match="Tune it there"):
        best_config("matmul", m=16)


# What is remembered


def test_an_answer_is_kept_until_a_refresh(publish):
    [path] = publish(tuned(1))
    assert best_config("matmul", m=16, dtype="bfloat16").block_m == 1
    assert best_config("matmul", m=17, default=None) is None
    snapshot.write(path.parents[1], [tuned(2), tuned(3, problem={"m": 17})])
    assert best_config("matmul", m=16, dtype="bfloat16").block_m == 1
    assert lookup("matmul", m=16, dtype="bfloat16").config.block_m == 1
    assert best_config("matmul", m=17, default=None) is None
    refresh()
    assert best_config("matmul", m=16, dtype="bfloat16").block_m == 2
    assert best_config("matmul", m=17).block_m == 3


def test_the_winner_cannot_be_changed_by_who_gets_it(publish):
    publish(tuned())
    with pytest.raises(TypeError, match="never changes"):
        best_config("matmul", m=16, dtype="bfloat16").update(block_m=1)


def test_threads_get_the_same_answer(publish):
    publish(*(tuned(m, problem={"m": m}) for m in range(1, 200)))
    wrong = []

    def ask():
        for m in range(1, 200):
            if best_config("matmul", m=m).block_m != m:
                wrong.append(m)
            if m % 50 == 0:
                refresh()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_repeated_question_takes_at_most_a_microsecond(publish):
    publish(tuned(problem={"m": 16, "n": 4096, "k": 4096, "dtype": "bfloat16"}))
    ask = "best_config('matmul', m=16, n=4096, k=4096, dtype='bfloat16')"
    spent_s = timeit.repeat(ask, globals={"best_config": autotune.best_config}, number=20_000, repeat=7)
    assert min(spent_s) / 20_000 <= 1e-6
