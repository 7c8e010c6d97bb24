"""The grid of learning rates on the page: every rate of every task, folded away."""

from xml.etree.ElementTree import Element

from bert.report.labels import metric_label, task_label
from bert.report.markup import Child, tag
from bert.report.numbers import fixed, spread, tick
from bert.report.scores import Rate, Runs, Scores
from bert.report.tables import fold, table

_CHOSEN = (
    "The rate with the best median of {metric} stands for the task. It was chosen on the same "
    "development data that the scores are given for, which favours them."
)


def rates_part(scores: Scores) -> list[Element]:
    """A fold for each task and start with several learning rates."""
    return [
        _grid(f"{task_label(task)} from {start} weights", runs)
        for task, starts in scores.items()
        for start, runs in starts.items()
        if len(runs.rates) > 1
    ]


def _grid(name: str, runs: Runs) -> Element:
    rows: list[list[Child]] = []
    marked = []
    for rate, metrics in runs.rates.items():
        for metric, summary in metrics.items():
            if rate == runs.rate:
                marked.append(len(rows))
            rows.append(
                [
                    _rate(rate),
                    metric_label(metric),
                    fixed(summary.median),
                    spread(summary.mean, summary.sd, 2),
                    fixed(summary.best),
                    str(summary.n),
                ]
            )
    columns = ["Learning rate", "Metric", "Median", "Mean \u00b1 sd", "Best", "Seeds"]
    chosen = f"learning rate {_rate(runs.rate)}, the best of {len(runs.rates)} on the dev data"
    return fold(
        tag("span", tag("strong", name), f": {chosen}"),
        tag("p", _CHOSEN.format(metric=metric_label(runs.headline)), class_="note"),
        table(columns, rows, words=(0, 1), label=f"Learning rates, {name}", marked=marked),
    )


def _rate(rate: Rate) -> str:
    return "not stated" if rate is None else tick(rate)
