"""What the stage `examine` found in the instances, as a table."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from bert.report.markup import tag
from bert.report.numbers import percent, whole
from bert.report.run import Run
from bert.report.tables import figure, table

_ROWS: tuple[tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]], ...] = (
    ("Instances", lambda c, s: whole(c["instances"])),
    ("Duplicates", lambda c, s: percent(s["duplicate_share"])),
    ("Unknown", lambda c, s: percent(s["unknown_share"], 2)),
    ("Predicted", lambda c, s: percent(s["target_share"])),
    ("Random B", lambda c, s: percent(s["random_next_share"])),
)


def examine_part(run: Run, drawing: Element | None) -> Element | None:
    """Drawing and table; None for a run without the stage."""
    receipts = run.receipts.get("examine", {})
    if not receipts:
        return None
    rows = [
        [name, *(show(r["counts"], r["statistics"]) for r in receipts.values())]
        for name, show in _ROWS
    ]
    note = "Every rule holds, or the run would have stopped here; samples.txt shows the text."
    return tag(
        "div",
        tag("h3", "What training sees"),
        tag(
            "div",
            figure(drawing, note),
            table(["Looked at", *receipts], rows, label="What the sample showed"),
            class_="charts",
        ),
    )
