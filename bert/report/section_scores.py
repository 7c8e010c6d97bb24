"""The scores on the page: every seed of every task, learning rates, and the runs behind them."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.report.config import Pick, ReportConfig
from bert.report.glue import Average, glue_averages
from bert.report.labels import is_detail, metric_label, task_label
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, fixed, spread
from bert.report.run import Run
from bert.report.scores import PRETRAINED, Scores, baselines
from bert.report.section_finetune import finetune_part
from bert.report.section_gate import gate_part
from bert.report.section_published import published_part
from bert.report.section_rates import rates_part
from bert.report.summary import Summary
from bert.report.tables import figure, fold, section, table
from bert.tasks.gate import Verdict

Floors = Mapping[str, Mapping[str, float]]

_PICKED: Mapping[Pick, str] = {
    "median": "The number that stands for a task is the median over its seeds.",
    "best": "The number that stands for a task is that of the best of its seeds, as systems of "
    "independent workers report it. It is optimistic, and the more so the more seeds there are: "
    "the median beside it is what one run may be expected to reach.",
}
_COLUMNS = (
    *("Task", "Start", "Median", "Mean \u00b1 sd", "95 % of the mean", "Best", "Seeds"),
    *("No learning", "Each seed"),
)


def scores_section(
    run: Run,
    scores: Scores,
    verdicts: Mapping[str, Verdict],
    config: ReportConfig,
    strips: Element | None,
) -> Element:
    """Every score of every seed, in a drawing and in a table, beside published ones."""
    pick = config.pick
    lead = (
        f"Fine-tuned on each task with several seeds. {_PICKED[pick]} Mean, standard deviation "
        "(n \u2212 1) and the 95 % confidence interval of the mean (Student's t) are over seeds; "
        "all scores are in percent, on the development data."
    )
    floors = baselines(run.receipts["score"])
    bar = "the best" if pick == "best" else "the median"
    drawing = figure(strips, f"A dot is a seed, a bar {bar}, an open circle a published model.")
    return section(
        "scores",
        "Scores",
        lead,
        tag("div", drawing, gate_part(verdicts), class_="beside"),
        *published_part(scores, config.published, pick),
        tag("h3", "Seed by seed"),
        _scores_table(scores, floors, pick),
        _details(scores, floors, pick),
        *rates_part(scores),
        *finetune_part(run),
    )


def _scores_table(scores: Scores, floors: Floors, pick: Pick) -> Element:
    rows = _rows(scores, floors, pick, details=False)
    first = len(rows)
    rows += [_average_row(average, pick) for average in glue_averages(scores)]
    label = "Scores of the run, seed by seed"
    marked = range(first, len(rows))
    return table(_COLUMNS, rows, words=(0, 1), long=(8,), label=label, marked=marked)


def _details(scores: Scores, floors: Floors, pick: Pick) -> Element | None:
    """Metrics of parts of the questions and of other thresholds, folded away."""
    rows = _rows(scores, floors, pick, details=True)
    if not rows:
        return None
    label = "Scores of parts and of other thresholds"
    return fold(label, table(_COLUMNS, rows, words=(0, 1), long=(8,), label=label))


def _rows(scores: Scores, floors: Floors, pick: Pick, *, details: bool) -> list[list[Child]]:
    """A row for each task, metric and start."""
    rows: list[list[Child]] = []
    for task, starts in scores.items():
        for metric in next(iter(starts.values())).metrics:
            for start, runs in starts.items():
                if metric in runs.metrics and is_detail(metric) == details:
                    floor = floors.get(task, {}).get(metric)
                    row = _score_row(start, runs.metrics[metric], floor, pick)
                    rows.append([f"{task_label(task)} {metric_label(metric)}", *row])
    return rows


def _score_row(start: str, summary: Summary, floor: float | None, pick: Pick) -> list[Child]:
    each = [tag("span", fixed(v), tag("small", f" seed {s}")) for s, v in summary.values.items()]
    return [
        _start(start),
        _number(summary.median, pick == "median"),
        spread(summary.mean, summary.sd, 2),
        interval(summary),
        _number(summary.best, pick == "best"),
        str(summary.n),
        fixed(floor),
        tag("span", *each, class_="seeds"),
    ]


def _average_row(average: Average, pick: Pick) -> list[Child]:
    return [
        average.name,
        _start(average.start),
        _number(average.of(lambda s: s.median), pick == "median"),
        fixed(average.of(lambda s: s.mean)),
        NONE,
        _number(average.of(lambda s: s.best), pick == "best"),
        NONE,
        NONE,
        "mean over the tasks, of the mean over each one's metrics",
    ]


def _start(start: str) -> Element:
    return tag("span", start, class_="key blue" if start == PRETRAINED else "key rust")


def _number(value: float, stands: bool) -> Child:
    return tag("strong", fixed(value)) if stands else fixed(value)


def interval(summary: Summary) -> str:
    """Both ends of the 95 % confidence interval of the mean: 59.7 to 62.9; a dash for one seed."""
    ends = summary.interval
    return NONE if ends is None else f"{fixed(ends[0])} to {fixed(ends[1])}"
