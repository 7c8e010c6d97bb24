"""Where the numbers come from: code, versions, configuration and digests of each stage."""

import json
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element

from bert.manifest import sha256_json
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, whole
from bert.report.run import Receipt, Receipts, Run
from bert.report.section_convert import convert_part
from bert.report.tables import fold, section, table

_LISTED = 40
_SHORT = 12


def provenance_section(run: Run) -> Element:
    """A line for each stage, and a fold with all its receipts say."""
    rows: list[list[Child]] = [
        [
            stage,
            whole(len(receipts)),
            _codes(_distinct(r["code"] for r in receipts.values())),
            _codes(_distinct(r["git_commit"] for r in receipts.values())),
            _codes([sha256_json([receipt["outputs"] for receipt in receipts.values()])]),
        ]
        for stage, receipts in run.receipts.items()
    ]
    columns = ["Stage", "Receipts", "Code digest", "Git commit", "Digest of all outputs"]
    folds = [_stage_fold(stage, receipts) for stage, receipts in run.receipts.items()]
    return section(
        "provenance",
        "Provenance",
        "What each stage read, ran and wrote, as its receipts say. Equal digests, equal runs.",
        table(columns, rows, words=(0, 2, 3, 4), label="Code and output digests of each stage"),
        *convert_part(run),
        tag("div", *folds, class_="folds"),
    )


def _stage_fold(stage: str, receipts: Receipts) -> Element:
    """Configurations, versions, inputs and outputs of one stage."""
    parts: list[Child] = []
    for config, jobs in _by_config(receipts).items():
        name = f"Configuration of {_jobs(jobs)}" if jobs != [""] else "Configuration"
        parts += [tag("h4", name), tag("pre", config)]
    parts.append(tag("h4", "Versions"))
    parts += [tag("p", text) for text in _distinct(map(_versions, receipts.values()))]
    inputs = [
        (f"{job} {n}".strip(), d) for job, r in receipts.items() for n, d in r["inputs"].items()
    ]
    outputs = [
        (f"{job} {name}".strip(), file["sha256"])
        for job, receipt in receipts.items()
        for name, file in receipt["outputs"].items()
    ]
    raw = [(f["path"], f["sha256"]) for r in receipts.values() for f in r.get("files", [])]
    parts += [*_digests("Inputs", inputs), *_digests("Outputs", outputs)]
    parts += _digests("Raw files", raw) if raw else []
    count = "1 receipt" if len(receipts) == 1 else f"{len(receipts)} receipts"
    return fold(tag("span", tag("strong", stage), f" {count}"), *parts)


def _by_config(receipts: Receipts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for job, receipt in receipts.items():
        text = json.dumps(receipt["config"], indent=2, ensure_ascii=False)
        found.setdefault(text, []).append(job)
    return found


def _jobs(jobs: list[str]) -> str:
    return ", ".join(jobs) if len(jobs) <= 3 else f"{jobs[0]}, {jobs[1]} and {len(jobs) - 2} more"


def _versions(receipt: Receipt) -> str:
    return ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())


def _digests(title: str, rows: list[tuple[str, str]]) -> list[Child]:
    """Names and digests; of a long list the first ones, and one digest of the whole list."""
    if not rows:
        return [tag("h4", title), tag("p", "None.")]
    cells: list[list[Child]] = [[name, tag("code", digest)] for name, digest in rows[:_LISTED]]
    if len(rows) > _LISTED:
        rest = f"and {len(rows) - _LISTED} more; digest of the list"
        cells.append([rest, tag("code", sha256_json(rows))])
    heading = tag("h4", f"{title} ({len(rows)})")
    return [heading, table(["Name", "sha256"], cells, words=(0, 1), label=title)]


def _codes(digests: Iterable[str | None]) -> Element:
    """Digests cut short, the whole ones to be seen when pointed at."""
    parts: list[Child] = []
    for digest in digests:
        parts.append(" " if parts else None)
        parts.append(tag("code", digest[:_SHORT], title=digest) if digest else NONE)
    return tag("span", *parts)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
