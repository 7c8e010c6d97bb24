"""Pretraining on the page: the charts, and what each phase came to."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.devices.words import device_words
from bert.report.markup import Child, tag
from bert.report.numbers import fixed, percent, short, whole
from bert.report.run import Run
from bert.report.tables import figure, section, table
from bert.report.training_words import events, handed_on, method


def training_section(run: Run, charts: Mapping[str, Element | None]) -> Element:
    """Charts of the training log over a table of the phases.

    Args:
        run: The run.
        charts: Name to drawing; None where nothing was logged.
    """
    missing = [name.replace("_", " ") for name, drawing in charts.items() if drawing is None]
    results = tag("div", tag("h3", "After each phase"), _phase_table(run), *_how(run), class_="two")
    note = tag("p", f"Not logged in this run: {', '.join(missing)}.", class_="note")
    return section(
        "training",
        "Pretraining",
        "All phases on one axis. Lines are training means of neighbouring steps, the pale band "
        "their lowest to highest; dots were measured on instances that were never trained on.",
        tag("div", *[figure(drawing) for drawing in charts.values()], results, class_="charts"),
        note if missing else None,
    )


def _phase_table(run: Run) -> Element:
    rows: list[list[Child]] = []
    for phase, receipt in run.receipts["pretrain"].items():
        counts, held_out = receipt["counts"], run.receipts["evaluate"][phase]["metrics"]
        rows.append(
            [
                phase,
                whole(counts["steps"]),
                whole(counts["sequences"]),
                short(counts["tokens"]),
                fixed(held_out.get("mlm_loss"), 3),
                percent(held_out.get("mlm_accuracy")),
                fixed(held_out.get("nsp_loss"), 3),
                percent(held_out.get("nsp_accuracy")),
            ]
        )
    measured = ["MLM loss", "MLM accuracy", "NSP loss", "NSP accuracy"]
    columns = ["Phase", "Steps", "Sequences", "Tokens", *measured]
    return table(columns, rows, label="Held-out loss and accuracy of each phase")


def _how(run: Run) -> list[Element]:
    """What the phases were trained with, what they handed on, and what went wrong in them."""
    words: dict[str, list[str]] = {}
    for phase, receipt in run.receipts["pretrain"].items():
        config = receipt["config"].get("phase") or {}
        device = f"on {device_words(receipt['device'])}" if receipt.get("device") else ""
        weights = f"handed on {handed_on(config)}" if handed_on(config) else ""
        for found in (" ".join(filter(None, [method(config), device])), weights):
            if found:
                words.setdefault(found, []).append(phase)
    notes = [_note(", ".join(phases), found) for found, phases in words.items()]
    return notes + [_note(phase, events(log)) for phase, log in run.logs.items() if events(log)]


def _note(phases: str, words: str) -> Element:
    return tag("p", tag("strong", phases), f" {words}.", class_="note")
