"""How well the vocabulary fits the text of each source, as a table."""

from xml.etree.ElementTree import Element

from bert.report.markup import tag
from bert.report.numbers import fixed, percent, size
from bert.report.run import Run
from bert.report.tables import table

_COLUMNS = (
    *("Source", "Sample", "Unknown tokens", "Tokens per word", "Continuing tokens"),
    "Tokens per byte",
)


def vocabulary_table(run: Run) -> Element | None:
    """The coverage that the stage `vocab` measured; None when its receipt holds none."""
    found = run.one("vocab").get("statistics", {}).get("coverage", {})
    if not found:
        return None
    rows = [
        [
            source,
            size(values["bytes"]),
            percent(values["unknown_share"], 3),
            fixed(values["tokens_per_word"]),
            percent(values["continuation_share"]),
            fixed(values["tokens_per_byte"], 3),
        ]
        for source, values in found.items()
    ]
    return tag(
        "div",
        tag("h3", "Vocabulary"),
        table(list(_COLUMNS), rows, label="Coverage of the vocabulary by source"),
    )
