"""Page: the report as one HTML file that needs nothing else; its look is `page.css`, in a terminal it is `text`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from autotune.morning import words
from autotune.morning.change import Change, ChangeKind
from autotune.morning.course import Course
from autotune.morning.markup import Markup, element, joined
from autotune.morning.plot import plot
from autotune.morning.report import MorningReport

Cell = str
_STYLE = Path(__file__).with_name("page.css")
_VIEWPORT = Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">')
_POLICY = Markup(
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
"""Nothing is loaded and nothing runs, whatever a name contains."""


def page(report: MorningReport) -> str:
    """All of it, for a browser."""
    head = element(
        "head",
        _VIEWPORT,
        _POLICY,
        element("title", f"{words.headline(report)} Night of {report.night.started_at[:10]}"),
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", _header(report), element("main", *_sections(report)), _footer(report))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(report: MorningReport) -> Markup:
    worse = bool(report.regressed or report.slower_devices)
    return element(
        "header",
        element("p", f"autotune, night of {words.night_text(report.night.started_at)} UTC"),
        element("h1", words.headline(report), class_="bad" if worse else None),
        element("p", words.totals_text(report)),
        element("dl", *_answers(report), class_="answers"),
    )


def _answers(report: MorningReport) -> Iterator[Markup]:
    """The three questions of a morning."""
    worse = [one.target.text for one in report.regressed] + [one.device for one in report.slower_devices]
    compared = f"{words.unchanged(report)} of {len(report.changes)} compared are as they were"
    answer = f"Yes: {len(worse)}" if worse else "No" if report.compared_with else "Not known yet"
    yield _answer("Did anything get worse?", answer, _some(worse) or compared, "bad" if worse else "good")
    better = [one.target.text for one in report.winners] + [one.target.text for one in report.faster]
    yield _answer("What got better?", words.gains(report), _some(better), "good" if better else "plain")
    needs, missing = len(words.needs(report)), len(report.missing)
    absent = f"{words.count(missing, 'thing')} missing" if missing else "nothing is missing"
    answer = words.count(needs, "thing") if needs else "No"
    yield _answer("Does anything need me?", answer, absent, "warn" if needs or missing else "plain")


def _answer(question: str, answer: str, details: str, mood: str) -> Markup:
    small = element("small", details) if details else None
    return element("div", element("dt", question), element("dd", answer, small), class_=f"{mood}-card")


def _some(names: Sequence[str], most: int = 2) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def _sections(report: MorningReport) -> Iterator[Markup | None]:
    needs = [element("li", line) for line in words.needs(report)]
    if needs:
        yield _section("Needs you", element("ul", *needs, class_="needs"))
    changes = ("target", "change", "suspected cause")
    yield _table("Slower", changes, [_row(one, "bad") for one in report.regressed])
    winners = [
        (
            one.target.text,
            element("span", f"{words.size_text(one.gain)} than the {one.over}", class_="good") if one.gain else "-",
            joined(element("code", one.config), Markup("<br>"), element("span", one.reason, class_="soft")),
        )
        for one in report.winners
    ]
    yield _table("New winners", ("target", "gain", "configuration"), winners)
    yield _table("Faster by itself", changes, [_row(one, "good") for one in report.faster])
    shifts = [
        (
            f"{one.device} on {one.node}",
            element("span", words.size_text(one.size), class_="bad" if one.is_slower else "good"),
            words.cause_text(one),
        )
        for one in report.shifts
    ]
    yield _table("Devices on which everything moved", ("device", "change", "suspected cause"), shifts)
    unclear = [_row(one, "soft") for one in report.unclear]
    yield _table("Not certain, or not the target's own", ("target", "change", "why"), unclear)
    failed = [(one.due.target.text, "not done", one.message) for one in report.failed]
    trials = [(one.target.text, words.count(one.trials, "trial"), one.what) for one in report.failures]
    yield _table("Failed", ("target", "how much", "what, and where"), [*failed, *trials])
    yield _table("Missing", ("what", "why"), [(one.what, one.why) for one in report.missing])
    events = [
        (f"{words.night_text(one.at)}, {one.node} {one.device}", one.kind.value, one.message)
        for one in report.night.events
    ]
    yield _table("What happened to the machines", ("when, and where", "what", "message"), events)
    yield _history(report)


def _section(title: str, *content: Markup | None) -> Markup:
    return element("section", element("h2", title), *content)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup | None:
    """Nothing where there are no rows."""
    if not rows:
        return None
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    body = [element("tr", *(_cell(cell, columns[at]) for at, cell in enumerate(row))) for row in rows]
    return _section(title, element("div", element("table", head, element("tbody", *body)), class_="wide"))


def _cell(text: Cell, column: str) -> Markup:
    """Numbers are not broken over lines."""
    return element("td", text, class_="number" if column in {"change", "gain", "how much"} else None)


def _row(change: Change, mood: str) -> tuple[Cell, Cell, Cell]:
    size = element("span", words.size_text(change.size), class_=mood)
    return change.target.text, size, words.cause_text(change)


def _history(report: MorningReport) -> Markup | None:
    """A picture per target: those that changed first, then by name."""
    kinds = {one.target: one for one in report.changes}
    order = {ChangeKind.REGRESSED: 0, ChangeKind.FASTER: 1, ChangeKind.SAME: 2}

    def place(course: Course) -> tuple[int, str]:
        change = kinds.get(course.target)
        return order[change.kind] if change else 3, course.target.text

    figures = [
        _figure(course, kinds.get(course.target))
        for course in sorted(report.courses, key=place)
        if course.tonight or course.before
    ]
    if not figures:
        return None
    legend = element(
        "p",
        "A dot is a night's value, its bar the range of its undisturbed rounds. ",
        element("span", "Dashed", class_="mark"),
        ": the toolchain changed. ",
        element("span", "Dotted", class_="good"),
        ": another configuration is in place. The height is a tenth of the value or more.",
        class_="legend",
    )
    updates = [element("li", f"{night[:10]}: {text}") for night, text in report.updates]
    listed = element("ul", *updates, class_="legend") if updates else None
    return _section("Every target, night by night", legend, listed, element("div", *figures, class_="plots"))


def _figure(course: Course, change: Change | None) -> Markup:
    mood = {ChangeKind.REGRESSED: "worse", ChangeKind.FASTER: "better"}.get(change.kind, "now") if change else "now"
    value = f"{course.tonight.value:.4g} {course.metric}" if course.tonight else "not measured tonight"
    said = f", {words.size_text(change.size)}" if change and change.kind is not ChangeKind.SAME else ""
    colour = {"worse": "bad", "better": "good"}.get(mood)
    caption = element("figcaption", element("h3", course.target.text), element("p", f"{value}{said}", class_=colour))
    return element("figure", caption, plot(course, mood))


def _footer(report: MorningReport) -> Markup:
    nights = words.count(len(report.compared_with), "earlier night")
    generation = report.night.generation
    published = (
        "no winners were published" if generation is None else f"winners were published as generation {generation}"
    )
    return element("footer", element("p", f"Compared with {nights}; {published}. Times are UTC."))
