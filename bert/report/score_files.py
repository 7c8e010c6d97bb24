"""`scores.json` and `scores.csv`: the scores for programs.

`scores.json` is {"run", "tasks": {task: {start: {metric: {n, median, mean, sd, best, ci_low,
ci_high, learning_rate, values}}}}, "gate": {task: {passed, metric, score, limits}}, "evaluate":
{phase: {...}}, "pretrain": {phase: {...}}}: shallow and numeric, so that `dvc metrics show` and
`dvc metrics diff` can read it. Of a grid of learning rates "tasks" has the rate that stands for the
task; "grids", {task: {start: {rate: {metric: {...}}}}}, has all of them, and is there only with a
grid. `scores.csv` has a row for each task, start, trial and metric.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

from bert.report.run import Run
from bert.report.scores import Rate, Runs, Scores
from bert.report.summary import Summary
from bert.tasks.gate import Verdict

_COLUMNS = ("task", "start", "seed", "metric", "value", "trial", "learning_rate")


def scores_document(run: Run, scores: Scores, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """The content of `scores.json`, see the module's first lines."""
    receipts = run.receipts
    document = {
        "run": run.name,
        "tasks": {
            task: {start: _metrics(runs.rate, runs.metrics) for start, runs in starts.items()}
            for task, starts in scores.items()
        },
        "gate": {
            task: {"passed": v.passed, "metric": v.metric, "score": v.score}
            | {"limits": dict(v.limits)}
            for task, v in verdicts.items()
        },
        "evaluate": {p: dict(r["metrics"]) for p, r in receipts.get("evaluate", {}).items()},
        "pretrain": {p: dict(r["counts"]) for p, r in receipts.get("pretrain", {}).items()},
    }
    grids = {
        task: {start: _grid(runs) for start, runs in starts.items() if len(runs.rates) > 1}
        for task, starts in scores.items()
    }
    return document | ({"grids": grids} if any(grids.values()) else {})


def scores_table(scores: Scores) -> str:
    """The content of `scores.csv`, all learning rates of a grid included."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for task, starts in scores.items():
        for start, runs in starts.items():
            for rate, metrics in runs.rates.items():
                prefix = f"rate-{rate:g}." if rate is not None and len(runs.rates) > 1 else ""
                shown = "" if rate is None else f"{rate:.10g}"
                rows = [(seed, m, v) for m, s in metrics.items() for seed, v in s.values.items()]
                writer.writerows(
                    [task, start, seed, metric, value, f"{prefix}seed-{seed}", shown]
                    for seed, metric, value in sorted(rows)
                )
    return text.getvalue()


def _grid(runs: Runs) -> dict[str, Any]:
    return {f"{rate:g}": _metrics(rate, metrics) for rate, metrics in runs.rates.items()}


def _metrics(rate: Rate, metrics: Mapping[str, Summary]) -> dict[str, Any]:
    return {metric: _plain(summary, rate) for metric, summary in metrics.items()}


def _plain(summary: Summary, rate: Rate) -> dict[str, Any]:
    names = ("n", "median", "mean", "sd", "best")
    low, high = summary.interval or (None, None)
    more = {"ci_low": low, "ci_high": high, "learning_rate": rate}
    values = {str(seed): value for seed, value in summary.values.items()}
    return {name: getattr(summary, name) for name in names} | more | {"values": values}
