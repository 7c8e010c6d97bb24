"""The scores of a run, gathered over seeds: read from the score receipts, never computed here.

`scores.json` is {"run", "tasks": {task: {start: {metric: {n, median, mean, sd, best, values}}}},
"evaluate": {phase: {...}}, "pretrain": {phase: {...}}}: shallow and numeric, so that
`dvc metrics show` and `dvc metrics diff` can read it. `scores.csv` has a row for each task, start,
seed and metric.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bert.report.run import Receipts, Run

PRETRAINED = "pretrained"
_TASKS = {"squad": "SQuAD", "mrpc": "MRPC", "sst2": "SST-2", "cola": "CoLA"}
_METRICS = {"f1": "F1", "exact_match": "exact match"}


class ScoreError(ValueError):
    """Score receipts that contradict each other or their place."""


@dataclass(frozen=True)
class Summary:
    """One metric of one task and start, over the seeds.

    Attributes:
        values: Seed to score in percent, seeds ascending.
    """

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def median(self) -> float:
        """Median over the seeds."""
        return statistics.median(self.values.values())

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def sd(self) -> float | None:
        """Standard deviation with n - 1 in the denominator; None for a single seed."""
        return statistics.stdev(self.values.values()) if self.n > 1 else None

    @property
    def best(self) -> float:
        """Highest of the seeds."""
        return max(self.values.values())


Scores = Mapping[str, Mapping[str, Mapping[str, Summary]]]


def gather(receipts: Receipts) -> Scores:
    """Scores as task -> start -> metric -> summary, SQuAD first and the pretrained start first.

    Args:
        receipts: `<task>/<start>/seed-<n>` to the receipt of the score.

    Raises:
        ScoreError: A receipt tells another task, start or seed than its path, or seeds of one
            task and start have different metrics.
    """
    seeds: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for job, receipt in receipts.items():
        task, start, seed = receipt["task"], receipt["start"], int(receipt["seed"])
        if job != f"{task}/{start}/seed-{seed}":
            raise ScoreError(
                f"score/{job}/metrics.json says it is {task}/{start}/seed-{seed}; expected the "
                "names of its folders. Delete it and run the rule `score` again."
            )
        seeds.setdefault((task, start), {})[seed] = receipt["metrics"]
    found: dict[str, dict[str, Mapping[str, Summary]]] = {}
    for task, start in sorted(seeds, key=_order):
        found.setdefault(task, {})[start] = _summaries(f"score/{task}/{start}", seeds[task, start])
    return found


def check_runs(finetune: Receipts, score: Receipts) -> None:
    """Refuses a folder in which fine-tuning runs of another configuration are left over.

    Raises:
        ScoreError: A fine-tuning run has no score or the reverse, or runs of one task have
            different configurations; a mean over them would be a mean over nothing one chose.
    """
    alone = sorted(set(finetune) ^ set(score))
    if alone:
        stage = "finetune" if alone[0] in score else "score"
        raise ScoreError(
            f"{alone[0]} has no receipt of `{stage}`; expected one for each fine-tuning run. Run "
            f"the rule `{stage}`, or remove the folders of a run that is not configured any more."
        )
    first: dict[str, str] = {}
    for job, receipt in finetune.items():
        known = first.setdefault(job.split("/")[0], job)
        if receipt["config"] != finetune[known]["config"]:
            raise ScoreError(
                f"finetune/{known} and finetune/{job} have different configurations; expected one "
                "for all runs of a task. Remove the folders of the one that is left over."
            )


def baselines(receipts: Receipts) -> dict[str, Mapping[str, float]]:
    """Task to metric to the score that needs no learning, in percent, as the receipts state it."""
    return {r["task"]: r["baseline"] for r in receipts.values() if r.get("baseline")}


def headline(metrics: Iterable[str]) -> str:
    """The metric a task is known by: F1 of extractive answers, or accuracy, or the first."""
    names = sorted(metrics)
    if "exact_match" in names and "f1" in names:
        return "f1"
    return "accuracy" if "accuracy" in names else names[0]


def task_label(task: str) -> str:
    """The name people know a task by."""
    return _TASKS.get(task, task)


def metric_label(metric: str) -> str:
    """The name people know a metric by."""
    return _METRICS.get(metric, metric.replace("_", " "))


def scores_document(run: Run, scores: Scores) -> dict[str, Any]:
    """The content of `scores.json`, see the module's first lines."""
    pretrain = {phase: dict(r["counts"]) for phase, r in run.receipts["pretrain"].items()}
    evaluate = {phase: dict(r["metrics"]) for phase, r in run.receipts["evaluate"].items()}
    tasks = {
        task: {
            start: {metric: _plain(summary) for metric, summary in metrics.items()}
            for start, metrics in starts.items()
        }
        for task, starts in scores.items()
    }
    return {"run": run.name, "tasks": tasks, "evaluate": evaluate, "pretrain": pretrain}


def scores_table(scores: Scores) -> str:
    """The content of `scores.csv`: task,start,seed,metric,value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "start", "seed", "metric", "value"])
    for task, starts in scores.items():
        for start, metrics in starts.items():
            rows = [(seed, m, v) for m, s in metrics.items() for seed, v in s.values.items()]
            writer.writerows([task, start, *row] for row in sorted(rows))
    return text.getvalue()


def _order(place: tuple[str, str]) -> tuple[bool, str, bool, str]:
    task, start = place
    return task != "squad", task, start != PRETRAINED, start


def _summaries(where: str, seeds: Mapping[int, Mapping[str, float]]) -> dict[str, Summary]:
    names = sorted({tuple(sorted(metrics)) for metrics in seeds.values()})
    if len(names) != 1 or not names[0]:
        listed = [list(found) for found in names]
        raise ScoreError(
            f"The seeds of {where} have the metrics {listed}; expected the same metrics in each, "
            "and at least one. Run the rule `score` again for all seeds."
        )
    metrics = sorted(names[0], key=lambda metric: (metric != headline(names[0]), metric))
    return {m: Summary({seed: float(seeds[seed][m]) for seed in sorted(seeds)}) for m in metrics}


def _plain(summary: Summary) -> dict[str, Any]:
    names = ("n", "median", "mean", "sd", "best")
    values = {str(seed): value for seed, value in summary.values.items()}
    return {name: getattr(summary, name) for name in names} | {"values": values}
