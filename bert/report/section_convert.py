"""Weights that were trained elsewhere: where they come from, and what of them is used."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from bert.report.markup import Child, tag
from bert.report.numbers import short, whole
from bert.report.run import Receipt, Run
from bert.report.tables import fold, table

_LISTED = 60
# Lists of the receipt that the page shows: key to what it says and the heads of its columns.
_LISTS = {
    "skipped": ("Tensors that were left out", ("Tensor", "Reason")),
    "made": ("Tensors that no file has", ("Tensor", "How it was made")),
    "differences": ("Files and section `model` differ", ("Key", "What each says")),
}


def source_words(receipt: Receipt) -> str:
    """What kind of checkpoint it was: TensorFlow 1 checkpoint, step 28,252; "" if not stated."""
    step = receipt.get("imported_step")
    steps = None if step is None else f"step {whole(step)}"
    return ", ".join(filter(None, [receipt.get("layout"), steps]))


def convert_part(run: Run) -> list[Element]:
    """What the stage `convert` read, used and left out; nothing in a run from random weights."""
    return [
        element
        for receipt in run.receipts.get("convert", {}).values()
        for element in _converted(receipt)
    ]


def _converted(receipt: Receipt) -> list[Element]:
    kind = source_words(receipt)
    words = [f"They were trained elsewhere{f': {kind}' if kind else ''}.", _use(receipt["counts"])]
    reasons = receipt.get("skipped_by_reason", {})
    if reasons:
        listed = [f"{whole(count)} ({reason})" for reason, count in reasons.items()]
        words.append(f"Left out: {', '.join(listed)}.")
    if receipt.get("other_files"):
        words.append(f"Files that were not read: {', '.join(receipt['other_files'])}.")
    files: list[list[Child]] = [
        [name, tag("code", digest)] for name, digest in receipt["inputs"].items()
    ]
    return [
        tag("h3", "Where the weights come from"),
        table(["File", "sha256"], files[:_LISTED], words=(0, 1), label="Files of the weights"),
        tag("p", " ".join(filter(None, words)), class_="note"),
        *[_list(key, receipt[key]) for key in _LISTS if receipt.get(key)],
    ]


def _use(counts: Mapping[str, float]) -> str:
    """What of the tensors is used; "" where the receipt does not count them."""
    if "used" not in counts:
        return ""
    every = f" of {whole(counts['tensors'])}" if "tensors" in counts else ""
    more = f", {short(counts['parameters'])} parameters" if "parameters" in counts else ""
    return f"{whole(counts['used'])}{every} tensors are used{more}."


def _list(key: str, found: Mapping[str, Any]) -> Element:
    """A fold with names and what is said of them; a long list is cut."""
    title, columns = _LISTS[key]
    rows: list[list[Child]] = [[name, _said(value)] for name, value in found.items()]
    cut: list[list[Child]] = []
    if len(rows) > _LISTED:
        cut = [[f"and {whole(len(rows) - _LISTED)} more", None]]
    grid = table(columns, [*rows[:_LISTED], *cut], words=(0, 1), long=(1,), label=title)
    return fold(f"{title} ({len(rows)})", grid)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said}" for name, said in value.items())
    return str(value)
