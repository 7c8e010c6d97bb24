"""What each source of text gave, from its raw files to the parts: numbers of four stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bert.report.flow import SKIPPED
from bert.report.run import Receipt, Run


@dataclass(frozen=True)
class TextSource:
    """One source.

    Attributes:
        name: Name of the source.
        format: Format of its raw files.
        licence: As the configuration states it.
        inputs: Raw file to sha256.
        counts: Counts of its extraction.
        filtered: Counts of the filter; empty without one.
        split: Counts of the split; empty if its receipt has none by source.
        weight: Times that each training document is dealt.
    """

    name: str
    format: str
    licence: str
    inputs: Mapping[str, str]
    counts: Mapping[str, int]
    filtered: Mapping[str, int]
    split: Mapping[str, int]
    weight: float

    @property
    def left_out(self) -> dict[str, int]:
        """Documents left out after the extraction, by reason in words; zeros are not listed."""
        reasons = {**self.filtered, **self.split}
        reasons.pop(f"{SKIPPED}filtered", None)  # the filter's own counts say why
        found = {k.removeprefix(SKIPPED): n for k, n in reasons.items() if k.startswith(SKIPPED)}
        return {name.replace("_", " "): count for name, count in found.items() if count}


def text_sources(run: Run) -> list[TextSource]:
    """The sources of a run, in the order of their documents."""
    extracted = run.receipts.get("extract", {})
    split, filtered = only_receipt(run, "split"), only_receipt(run, "filter")
    order = [name for name in _by_source(split) if name in extracted]
    return [
        TextSource(
            name=name,
            format=str(receipt["config"].get("format", "")),
            licence=str(receipt.get("statistics", {}).get("licence", "")),
            inputs=receipt["inputs"],
            counts=receipt["counts"],
            filtered=_by_source(filtered).get(name, {}),
            split=_by_source(split).get(name, {}),
            weight=_weight(split, name),
        )
        for name in order or extracted
        for receipt in [extracted[name]]
    ]


def only_receipt(run: Run, stage: str) -> Receipt:
    """The receipt of a stage that has one; empty for a run without that stage."""
    return next(iter(run.receipts.get(stage, {}).values()), {})


def task_overlap(run: Run) -> Mapping[str, Mapping[str, int]]:
    """Task text in the corpus, by reference; empty if it was not looked for."""
    found: Mapping[str, Mapping[str, int]] = only_receipt(run, "filter").get("contamination", {})
    return found


def _by_source(receipt: Receipt) -> Mapping[str, Any]:
    found: Mapping[str, Any] = receipt.get("sources", {})
    return found


def _weight(split: Receipt, name: str) -> float:
    weight = split.get("config", {}).get("weights", {}).get(name)
    return 1.0 if weight is None else float(weight)
