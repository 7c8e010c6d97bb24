"""The sources on the page: licence, what was left out and why, and task text in the corpus."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.report.markup import Child, tag
from bert.report.numbers import NONE, percent, short, whole
from bert.report.run import Run
from bert.report.sources import TextSource, only_receipt, task_overlap, text_sources
from bert.report.tables import table

SOURCE_COLUMNS = ("Source", "Licence", "Documents", "Left out", "Held out", "Weight", "Dealt")
TASK_COLUMNS = ("Task text", "Texts", "Looked for", "Found in part", "Found whole", "Documents")


def sources_part(run: Run) -> list[Element]:
    """A table of the sources, and one of the task text in the corpus if it was looked for."""
    sources = text_sources(run)
    if not sources:
        return []
    parts = [
        tag("h3", "Sources"),
        table(
            SOURCE_COLUMNS,
            [source_row(source) for source in sources],
            words=(0, 1, 3),
            long=(3,),
            label="Sources of the text",
        ),
    ]
    overlap = task_overlap(run)
    if overlap:
        rows = [task_row(name, counts) for name, counts in overlap.items()]
        parts += [
            tag("h3", "Task text in the corpus"),
            table(TASK_COLUMNS, rows, label="Task text in the corpus"),
        ]
    leaked = leak_sentence(run)
    return [*parts, tag("p", leaked, class_="note")] if leaked else parts


def source_row(source: TextSource) -> list[Child]:
    """The cells of `SOURCE_COLUMNS`."""
    left_out = ", ".join(f"{whole(n)} {reason}" for reason, n in source.left_out.items())
    return [
        source.name,
        source.licence or NONE,
        whole(source.counts["documents"]),
        left_out or NONE,
        _count(source, "held_out_documents"),
        short(source.weight),
        _count(source, "dealt_documents"),
    ]


def task_row(name: str, counts: Mapping[str, int]) -> list[Child]:
    """The cells of `TASK_COLUMNS`."""
    looked_for = counts["texts"] - counts["short_texts"]
    return [
        name,
        whole(counts["texts"]),
        whole(looked_for),
        _share(counts["touched_texts"], looked_for),
        _share(counts["whole_texts"], looked_for),
        whole(counts["touching_documents"]),
    ]


def leak_sentence(run: Run) -> str | None:
    """What the held-out text shares with the training text; None if it was not looked for."""
    split = only_receipt(run, "split")
    counts = split.get("counts", {})
    if "held_out_long_sentences" not in counts:
        return None
    words = split["config"]["leaks"]["sentence_words"]
    found, every = counts["held_out_sentences_in_training"], counts["held_out_long_sentences"]
    return (
        f"No held-out document stands in the training text as a whole. Of {whole(every)} held-out "
        f"sentences of {words} words or more, {whole(found)} do ({percent(_part(found, every))})."
    )


def _count(source: TextSource, name: str) -> str:
    return whole(source.split[name]) if name in source.split else NONE


def _share(found: int, every: int) -> str:
    return f"{whole(found)} ({percent(_part(found, every))})"


def _part(found: int, every: int) -> float | None:
    return found / every if every else None
