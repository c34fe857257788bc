from autotune.device import cpu_device
from tests.two_studies import TRIALS, Span, overlaps, run_two, turns


def test_two_studies_on_one_device_never_run_at_the_same_moment_and_take_turns(tmp_path):
    spans = run_two("on_cpu", cpu_device(), tmp_path)
    assert len({span.pid for span in spans}) == 2
    assert {span.what for span in spans} == {"call", "body"}
    assert overlaps(spans) == []
    assert len(turns(spans)) >= TRIALS


def test_spans_of_two_processes_that_meet_are_found():
    long, within, after = Span("body", 1, 0.0, 9.0), Span("call", 2, 4.0, 5.0), Span("call", 2, 9.0, 10.0)
    assert overlaps([long, Span("call", 1, 1.0, 2.0), within, after]) == [(long, within)]
    assert turns([long, within, after]) == [1, 2]
