from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from autotune.sweep.budget import RECHECK_TRIALS, TRIAL_S, Item, cost_s, promise, spend
from autotune.sweep.due import Due, DueKind
from autotune.sweep.past import Past
from tests.unit.answering import plan
from tests.unit.sweep.samples import past, study, target

STALE = ("triton 3.5 became 3.6",)


def item(kind=DueKind.NEVER_TUNED, cost=10.0, waited=0, n=1, known=None):
    known = replace(known or Past(), waited=waited)
    due = Due(target=target(n=n), kind=kind, reasons=STALE)
    return Item(plan=plan(), due=due, past=known, cost_s=cost, promise=promise(due, known))


def test_a_cost_is_that_of_earlier_studies_the_nearest_first():
    far = study(trials=10, elapsed_s=1000.0, sku="a100")
    near = study(trials=10, elapsed_s=20.0)
    assert cost_s(plan(trials=5), DueKind.NEVER_TUNED, [far, near]) == 5 * 2.0
    assert cost_s(plan(trials=5), DueKind.NEVER_TUNED, [far]) == 5 * 100.0
    assert cost_s(plan(trials=5), DueKind.NEVER_TUNED, []) == 5 * TRIAL_S
    assert cost_s(plan(trials=None, seconds=7), DueKind.HARD_STALE, [far]) == 7
    assert cost_s(plan(trials=50), DueKind.HARD_STALE, [near]) == 10 * 2.0  # it has no more configurations
    assert cost_s(plan(), DueKind.CANARY, [near]) == RECHECK_TRIALS * 2.0
    assert cost_s(plan(), DueKind.FRESH, [near]) == 0


def test_promises_fall_from_the_never_tuned_to_the_fresh():
    assert [item(kind, known=past(speedup=1.0)).promise for kind in DueKind] == sorted(
        (item(kind, known=past(speedup=1.0)).promise for kind in DueKind), reverse=True
    )
    assert item(DueKind.HARD_STALE, known=past(speedup=100)).promise < item().promise
    assert (
        item(DueKind.HARD_STALE, known=past(speedup=2)).promise
        > item(DueKind.HARD_STALE, known=past(speedup=1.1)).promise
    )


def test_what_changed_in_the_workload_itself_promises_more_than_a_tool():
    own = Due(target=target(), kind=DueKind.HARD_STALE, reasons=("its source a became b",))
    tool = Due(target=target(), kind=DueKind.HARD_STALE, reasons=STALE)
    assert promise(own, past(speedup=1.5)) > promise(tool, past(speedup=1.5))


def test_what_waited_comes_first_then_the_most_gain_per_second():
    cheap, dear, waited = item(cost=1, n=1), item(cost=100, n=2), item(DueKind.CANARY, cost=50, waited=1, n=3)
    assert [one.due.target.problem.n for one in spend([dear, cheap, waited], None)] == [3, 1, 2]


items = st.builds(
    item,
    kind=st.sampled_from(list(DueKind)),
    cost=st.floats(0.1, 1000),
    waited=st.integers(0, 3),
    n=st.integers(0, 10**6),
)


@given(st.lists(items, max_size=20), st.floats(0, 2000))
def test_a_budget_is_kept_but_for_a_first_that_is_dearer_than_a_night(some, budget_s):
    decided = spend(some, budget_s)
    done = [one for one in decided if one.affordable]
    assert len(decided) == len(some)
    assert (
        sum(one.cost_s for one in done[1:]) + (done[0].cost_s if done else 0)
        <= max(budget_s, done[0].cost_s if done else 0) + 1e-6
    )
    assert not decided or decided[0].affordable


@given(st.lists(items, min_size=1, max_size=12), st.floats(1, 500))
def test_night_after_night_everybody_has_a_turn(some, budget_s):
    waiting = [replace(one, due=replace(one.due, target=target(n=n))) for n, one in enumerate(some)]
    for _ in range(len(waiting)):
        decided = spend(waiting, budget_s)
        waiting = [
            replace(one, past=replace(one.past, waited=one.past.waited + 1)) for one in decided if not one.affordable
        ]
    assert not waiting
