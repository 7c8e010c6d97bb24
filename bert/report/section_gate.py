"""The gate on the page: which tasks are above no learning and random weights."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.report.labels import metric_label, task_label, task_order
from bert.report.markup import Child, tag
from bert.report.numbers import fixed
from bert.report.run import Receipts
from bert.report.scores import PRETRAINED
from bert.report.tables import table
from bert.tasks.gate import GateConfig, Verdict, judge

_COLUMNS = ("Task", "Median", "Seeds", "No learning", "Random weights", "Gate")


def verdicts(score: Receipts, config: GateConfig) -> dict[str, Verdict]:
    """Task to verdict, by the function of the stage `gate`, which runs after the report."""
    tasks: dict[str, list[str]] = {}
    for job, receipt in score.items():
        tasks.setdefault(receipt["task"], []).append(job)
    return {
        task: judge(task, [score[job] for job in jobs], config)
        for task, jobs in tasks.items()
        if any(score[job]["start"] == PRETRAINED for job in jobs)
    }


def gate_part(found: Mapping[str, Verdict]) -> Element | None:
    """A row for each task; None if no task was fine-tuned from pretrained weights."""
    if not found:
        return None
    ordered = [found[task] for task in sorted(found, key=task_order)]
    failures = [
        tag("p", tag("strong", f"{task_label(v.task)} does not pass."), f" {v.words}",
            class_="alarm")
        for v in ordered
        if not v.passed
    ]  # fmt: skip
    label = "Scores beside those of no learning and of random weights"
    grid = table(_COLUMNS, [_row(verdict) for verdict in ordered], words=(0, 5), label=label)
    return tag("div", tag("h3", "Gate"), *failures, grid, _note(ordered[0].margin))


def _row(verdict: Verdict) -> list[Child]:
    return [
        f"{task_label(verdict.task)} {metric_label(verdict.metric)}",
        fixed(verdict.score),
        str(verdict.seeds),
        fixed(verdict.limits.get("no_learning")),
        fixed(verdict.limits.get("random")),
        "passes" if verdict.passed else tag("strong", "fails"),
    ]


def _note(margin: float) -> Element:
    above = f" by more than {margin:g} points" if margin else ""
    words = (
        f"The median over the seeds must be above the score of no learning, and above the median "
        f"from random weights where they were run{above}. A dash is not compared with."
    )
    return tag("p", words, class_="note")
