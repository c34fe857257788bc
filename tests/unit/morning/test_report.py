"""The report of a made-up fortnight: what it says, in JSON, in a terminal and on a page."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autotune.event import Event, EventKind
from autotune.morning import words
from autotune.morning.markup import element, joined
from autotune.morning.page import page
from autotune.morning.report import morning_report
from autotune.morning.text import report_view
from autotune.sweep.night import Night
from autotune.verdict import Gain
from tests.unit.morning.fortnight import fortnight

HOSTILE = "<script>alert(1)</script>\"'&[bold red]</td>"
VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def nights():
    return fortnight()


@pytest.fixture(scope="module")
def report(nights):
    return morning_report(*nights)


class Tags(HTMLParser):
    """Whether every tag is closed in its turn, and which there are."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes = [], set(), set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(report):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(report_view(report))
    return console.export_text()


def test_it_says_what_got_slower_and_what_won(report):
    assert {one.target.workload for one in report.regressed} == {"attention_fwd", "moe_gate"}
    assert report.has_regression
    (winner,) = report.winners
    assert (winner.target.workload, winner.over, winner.gain.mean) == ("softmax", "incumbent", 0.112)


def test_it_says_what_needs_somebody_the_worst_first(report):
    first, second, failed, quarantined = words.needs(report)
    assert "attention_fwd" in first
    assert "moe_gate" in second
    assert "no module named pagedkv" in failed
    assert "quarantined" in quarantined


def test_it_says_what_is_missing(report):
    whys = [one.why for one in report.missing]
    assert whys == ["the night says so itself", "the budget ended; soft stale"]


def test_a_target_that_nobody_looked_at_tonight_is_missing(nights):
    tonight, before = nights
    fewer = replace(tonight, results=tonight.results[1:])
    (absent,) = [one for one in morning_report(fewer, before).missing if "the night before" in one.why]
    assert absent.what == tonight.results[0].due.target.text


def test_the_first_night_says_that_it_is_the_first(nights):
    first = morning_report(nights[0], [])
    assert words.headline(first).startswith("The first night")
    assert not first.has_regression
    assert page(first)
    assert text_of(first)


def test_later_nights_are_not_looked_at(nights):
    tonight, before = nights
    assert morning_report(before[-1], [*before, tonight]) == morning_report(before[-1], before[:-1])


def test_its_json_survives_json_and_the_nights_do_as_well(report, nights):
    document = json.loads(json.dumps(report.to_json()))
    assert document["schema"] == "autotune-morning/1"
    assert document["totals"]["trials"] == 454
    assert {one["cause"] for one in document["regressed"]} == {"toolchain", "hardware"}
    tonight, before = (Night.from_json(json.loads(json.dumps(nights[0].to_json()))), nights[1])
    assert morning_report(tonight, before).to_json() == report.to_json()


def test_a_terminal_shows_the_answers_first(report):
    head = text_of(report).splitlines()[:3]
    assert head[0].startswith("Night of 2026-11-15 01:00 UTC  24 targets: 21 rechecked, 1 tuned")
    assert head[1].startswith("2 targets got slower. 20 of 22 compared are as they were, against 14 nights before.")
    assert head[2].startswith("  ! attention_fwd")


def test_the_page_is_well_formed_and_needs_nothing_else(report):
    text = page(report)
    tags = Tags(text)
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe"}
    assert not tags.attributes & {"src", "href"}
    assert "url(" not in text
    assert text.count("<svg") == 24
    assert text.index("Did anything get worse?") < text.index("<table")


def test_names_and_messages_from_workloads_are_text_wherever_they_stand(nights):
    tonight, before = nights

    def hostile(result):
        target = replace(result.due.target, workload=HOSTILE + result.due.target.workload)
        due = replace(result.due, target=target)
        return replace(result, due=due, message=HOSTILE, failures={HOSTILE: 1}, toolchain={HOSTILE: HOSTILE})

    event = Event(kind=EventKind.LOST, at=tonight.started_at, node=HOSTILE, device=HOSTILE, message=HOSTILE)
    earlier = [replace(night, results=tuple(map(hostile, night.results))) for night in before]
    night = replace(tonight, results=tuple(map(hostile, tonight.results)), events=(event,), missing=(HOSTILE,))
    found = morning_report(night, earlier)
    assert found.regressed  # so that names, evidence and pictures are shown
    tags = Tags(page(found))
    assert tags.open == []
    assert "script" not in tags.seen
    assert HOSTILE.replace(" ", "") in "".join(
        text_of(found).split()
    )  # what looks like markup of the terminal's is shown as it is


@given(st.text(), st.text())
def test_no_text_becomes_markup(text, value):
    made = element("p", text, title=value)
    assert made.count("<") == 2
    assert joined(made) == made


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (Gain(mean=-0.051, low=-0.062, high=-0.04), "5.1 % slower (4.0 to 6.2)"),
        (Gain(mean=0.1, low=0.08, high=0.12), "10.0 % faster (8.0 to 12.0)"),
    ],
)
def test_a_size_is_said_with_its_direction(gain, text):
    assert words.size_text(gain) == text
