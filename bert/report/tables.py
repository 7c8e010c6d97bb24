"""Tables, figures and folds of the page, in the one form each of them has."""

from collections.abc import Container, Sequence
from xml.etree.ElementTree import Element

from bert.report.markup import Child, tag


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    words: Container[int] = (0,),
    long: Container[int] = (),
    label: str,
    marked: Container[int] = (),
) -> Element:
    """A table that scrolls inside its own box when the page is narrow.

    Args:
        columns: Head of each column.
        rows: Cells, as many as columns; None is an empty cell.
        words: Numbers of the columns that hold words; the others are set as numbers, to the right.
        long: Numbers of the columns whose words may be broken into lines.
        label: What the table shows, for those who cannot see it.
        marked: Numbers of the rows that stand out (totals).
    """
    styles = [
        "long" if i in long else None if i in words else "number" for i in range(len(columns))
    ]
    head = [tag("th", c, class_=s, scope="col") for c, s in zip(columns, styles, strict=True)]
    body = [
        tag(
            "tr",
            *[tag("td", cell, class_=s) for cell, s in zip(row, styles, strict=True)],
            class_="marked" if number in marked else None,
        )
        for number, row in enumerate(rows)
    ]
    grid = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", grid, class_="scroll", tabindex="0", role="region", aria_label=label)


def figure(
    drawing: Element | None, note: str | None = None, *, wide: bool = False
) -> Element | None:
    """A drawing with its note; None stays None, so that a missing drawing leaves no gap."""
    if drawing is None:
        return None
    caption = tag("figcaption", note) if note else None
    return tag("figure", drawing, caption, class_="wide" if wide else None)


def section(name: str, title: str, lead: Child, *children: Child) -> Element:
    """A section of the page; the contents line links to `name`."""
    opening = tag("p", lead, class_="lead") if lead is not None else None
    return tag("section", tag("h2", title), opening, *children, id=name)


def fold(summary: Child, *children: Child) -> Element:
    """A part that is closed until someone wants it."""
    return tag("details", tag("summary", summary), *children)
