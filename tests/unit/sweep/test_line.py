from dataclasses import replace

from autotune.sweep.budget import Item
from autotune.sweep.due import Due, DueKind
from autotune.sweep.line import Line
from autotune.sweep.past import Past
from tests.unit.answering import DEVICE, plan
from tests.unit.sweep.samples import target


def item(n, sku, kind=DueKind.NEVER_TUNED):
    one = replace(plan(problem=target(n=n).problem), device=replace(DEVICE, sku=sku))
    return Item(
        plan=one, due=Due(target=target(n=n, sku=sku), kind=kind, reasons=()), past=Past(), cost_s=1.0, promise=0.5
    )


def test_one_sku_leads_and_the_others_follow_together():
    a, b, c = item(1, "a"), item(1, "b"), item(1, "c")
    line = Line([a, b, c])
    assert line.take() is a
    assert line.take() is None
    line.leave(a)
    assert [line.take(), line.take(), line.take()] == [b, c, None]
    line.leave(b)
    line.leave(c)
    assert len(line) == 0


def test_no_sku_idles_while_another_has_all_the_threads():
    items = [item(1, "a"), item(2, "a"), item(3, "b"), item(4, "a")]
    line = Line(items)
    assert [line.take() for _ in items] == [items[0], items[2], items[1], items[3]]


def test_what_is_only_measured_again_follows_nobody():
    checks = [item(1, sku, DueKind.CANARY) for sku in "ab"]
    line = Line(checks)
    assert [line.take(), line.take()] == checks
