"""Markup: HTML that is put together from elements, in which every text is escaped unless it is markup already."""

from __future__ import annotations

import html


class Markup(str):
    """Text that may stand in a page as it is: only `element`, `joined` and constants of ours are."""

    __slots__ = ()


def element(tag: str, /, *children: str | None, **attributes: object) -> Markup:
    """`<tag name="value">…</tag>`. A trailing `_` of an attribute's name falls, others become `-`; None is left out."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{named}>{joined(*children)}</{tag}>")


def joined(*children: str | None) -> Markup:
    """One after the other; None is nothing."""
    return Markup("".join(one if isinstance(one, Markup) else html.escape(one) for one in children if one is not None))
