from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.sweep import decision
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.decision import Tonight, decide
from autotune.sweep.dependencies import ALL, ALWAYS
from autotune.sweep.due import Due, DueKind
from autotune.sweep.past import Past
from autotune.verdict import VerdictKind
from tests.unit.answering import plan
from tests.unit.sweep.samples import STARTED_AT, TOOLS, key, past, target, verdict

QUIET = SweepConfiguration(canary_share=0.0, full_every_nights=0)
TRITON = ALWAYS | {"torch", "triton"}


@pytest.fixture(autouse=True)
def toolchain(monkeypatch):
    """The toolchain of tonight is TOOLS; what is changed is that of the past."""
    monkeypatch.setattr("autotune.plan.Plan.key", property(lambda _: key()))


def due(known, parts=ALL, configuration=QUIET, started_at=STARTED_AT):
    return decide(plan(), known, parts, Tonight(started_at=started_at), configuration)


def then(**versions):
    return past(toolchain=TOOLS | versions)


@pytest.mark.parametrize(
    ("known", "kind", "reasons"),
    [
        (Past(), DueKind.NEVER_TUNED, ("never tuned",)),
        (Past(elsewhere=("a100",)), DueKind.NEVER_TUNED, ("tuned on a100 only",)),
        (Past(moved_from="h200-old"), DueKind.HARD_STALE, ("SKU h200-old became h200-sxm-141gb",)),
        (past(), DueKind.FRESH, ()),
        (past(version="v0"), DueKind.HARD_STALE, ("its source v0 became v1",)),
        (then(triton="3.5.1"), DueKind.HARD_STALE, ("triton 3.5.1 became 3.6.0",)),
        (then(nccl="2.26.0", torch="2.10.0"), DueKind.HARD_STALE,
         ("nccl 2.26.0 became 2.27.3", "torch 2.10.0 became 2.11.0+cu130")),
        (then(driver="565.10"), DueKind.HARD_STALE, ("driver 565.10 became 570.86.10",)),
        (then(driver="570.10"), DueKind.SOFT_STALE, ("driver 570.10 became 570.86.10",)),
        (then(triton="3.6.1"), DueKind.SOFT_STALE, ("triton 3.6.1 became 3.6.0",)),
        (then(python="3.10"), DueKind.SOFT_STALE, ("python 3.10 became 3.11",)),
        (past(days=15), DueKind.SOFT_STALE, ("last measured 15 days ago",)),
        (past(days=15, judged=verdict(VerdictKind.NOTHING, None)), DueKind.HARD_STALE,
         ("no configuration ran", "last measured 15 days ago")),
    ],
)  # fmt: skip
def test_the_table(known, kind, reasons):
    assert (due(known).kind, due(known).reasons) == (kind, reasons)


def test_another_space_names_both():
    one = due(past(space_fingerprint="0123456789abcdef"))
    assert one.kind is DueKind.HARD_STALE
    assert one.reasons[0].startswith("its space 01234567 became ")


@given(st.sampled_from(["cuda", "torch", "triton", "nccl"]), st.sets(st.sampled_from(sorted(ALL))))
def test_a_tool_that_changed_makes_exactly_those_due_that_use_it(tool, parts):
    one = due(then(**{tool: "1.0"}), parts=frozenset(parts))
    assert one.kind is (DueKind.HARD_STALE if tool in parts else DueKind.FRESH)


@given(st.dictionaries(st.sampled_from(sorted(TOOLS)), st.sampled_from(["1.0", "2.11.7", "3.6.9", "570.1"])))
def test_reasons_are_there_exactly_where_something_is_due(changed):
    one = due(then(**changed))
    assert bool(one.reasons) == (one.kind is not DueKind.FRESH)
    for name in (tool for tool in changed if changed[tool] != TOOLS[tool]):
        assert one.kind is DueKind.HARD_STALE or f"{name} {changed[name]} became {TOOLS[name]}" in one.reasons


def test_a_recheck_answers_for_small_changes_and_for_age_but_not_for_large_ones():
    small = replace(then(triton="3.6.1"), toolchain=TOOLS)
    assert due(small).kind is DueKind.FRESH
    large = replace(then(triton="3.5.0"), toolchain=TOOLS)
    assert due(large).kind is DueKind.HARD_STALE


def test_what_changed_order_and_was_not_reached_is_still_to_be_tuned_the_next_night():
    left_over = Due(target=target(), kind=DueKind.HARD_STALE, reasons=("x=2 beats the incumbent",))
    assert due(replace(past(), left_over=left_over)).reasons == ("x=2 beats the incumbent",)


@given(st.integers(1, 30), st.integers(0, 400))
def test_each_of_the_fresh_has_its_turn_in_so_many_nights(nights, first):
    configuration = SweepConfiguration(canary_share=0.0, full_every_nights=nights, soft_after_days=1e6)
    moments = [datetime.fromisoformat(STARTED_AT) + timedelta(days=first + n) for n in range(nights)]
    kinds = [due(past(), configuration=configuration, started_at=one.isoformat()).kind for one in moments]
    assert DueKind.CANARY in kinds


def test_canaries_are_the_same_all_night_and_about_as_many_as_the_share(monkeypatch):
    configuration = replace(QUIET, canary_share=0.2)
    night = Tonight(started_at=STARTED_AT)
    drawn = [bool(decision._canary(f"t{n}", past(), night, configuration)) for n in range(1000)]
    assert drawn == [bool(decision._canary(f"t{n}", past(), night, configuration)) for n in range(1000)]
    assert 150 < sum(drawn) < 250


def test_what_was_looked_at_this_night_is_no_canary():
    everything = replace(QUIET, canary_share=1.0)
    assert due(past(days=0.1), configuration=everything).kind is DueKind.FRESH
    assert due(past(days=1), configuration=everything).kind is DueKind.CANARY
