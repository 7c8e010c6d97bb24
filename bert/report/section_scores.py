"""The top of the page: verdict, cards, and the scores beside published ones."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from bert.log import human_time
from bert.report.config import Published
from bert.report.markup import Child, tag
from bert.report.numbers import NONE, fixed, percent, short, spread, whole
from bert.report.run import Run
from bert.report.scores import (
    PRETRAINED,
    Scores,
    Summary,
    baselines,
    headline,
    metric_label,
    task_label,
)
from bert.report.tables import figure, fold, section, table

NOTE = (
    "Published scores belong to full-size models trained on the full corpus, each with its own "
    "set-up. A small demo model is not comparable with them; they mark where the road leads."
)


def verdict(scores: Scores) -> Element:
    """The run in a sentence: each task's headline score from its starts."""
    words: list[Child] = []
    for task, starts in scores.items():
        metric = headline(next(iter(starts.values())))
        words.append(f"{'; ' if words else ''}{task_label(task)} {metric_label(metric)} ")
        for number, (start, metrics) in enumerate(starts.items()):
            score = spread(metrics[metric].mean, metrics[metric].sd)
            words += [" vs " if number else None, tag("strong", score), f" from {_weights(start)}"]
    return tag("p", *words, ".", class_="verdict")


def cards(run: Run, scores: Scores) -> Element:
    """The numbers one looks for first."""
    found = [_task_card(task, starts) for task, starts in scores.items()]
    phase = run.phases()[-1]
    held_out = run.receipts["evaluate"][phase]["metrics"]
    for name, words in (("mlm_accuracy", "MLM accuracy"), ("nsp_accuracy", "NSP accuracy")):
        if held_out.get(name) is not None:
            found.append(_card(words, percent(held_out[name]), None, f"held out, after {phase}"))
    counts = [receipt["counts"] for receipt in run.receipts["pretrain"].values()]
    tokens, steps = sum(c["tokens"] for c in counts), sum(c["steps"] for c in counts)
    parameters = f"{short(counts[-1]['parameters'])} parameters, {whole(steps)} steps"
    found.append(_card("Tokens seen", short(tokens), None, parameters))
    if run.costs:
        seconds = sum(cost.seconds for cost in run.costs.values())
        found.append(_card("Time", human_time(seconds), None, "all jobs of all stages together"))
    return tag("dl", *found, class_="cards")


def scores_section(
    run: Run, scores: Scores, published: Sequence[Published], strips: Element | None
) -> Element:
    """Every score of every seed, in a drawing and in a table, beside published ones."""
    shown = [p for p in published if p.task in scores]
    lead = (
        "Fine-tuned on each task from the pretrained weights and, as a control, from random ones. "
        "Mean and standard deviation (n \u2212 1) are over seeds; all scores are in percent."
    )
    reference = _published(scores, shown) if shown else None
    drawing = figure(strips, "A dot is a seed, a bar the mean, an open circle a published model.")
    return section(
        "scores",
        "Scores",
        lead,
        tag("div", drawing, reference, class_="beside"),
        tag("h3", "Seed by seed"),
        _scores_table(scores, baselines(run.receipts["score"])),
        _finetune_fold(run),
    )


def _weights(start: str) -> str:
    return f"{start} weights"


def _card(label: str, value: str, small: str | None, note: str) -> Element:
    number = tag("dd", value, tag("small", f" {small}") if small else None, class_="value")
    return tag("div", tag("dt", label), number, tag("dd", note), class_="card")


def _task_card(task: str, starts: Mapping[str, Mapping[str, Summary]]) -> Element:
    start, metrics = next(iter(starts.items()))
    metric = headline(metrics)
    first = metrics[metric]
    small = None if first.sd is None else spread(0, first.sd).split(" ", 1)[1]
    others = [f"{name} {fixed(found[metric].mean, 1)}" for name, found in starts.items()]
    seeds = "1 seed" if first.n == 1 else f"{first.n} seeds"
    note = ", ".join([*others[1:], seeds]) if start == PRETRAINED else f"{start}, {seeds}"
    return _card(f"{task_label(task)} {metric_label(metric)}", fixed(first.mean, 1), small, note)


def _scores_table(scores: Scores, floors: Mapping[str, Mapping[str, float]]) -> Element:
    rows: list[list[Child]] = []
    for task, starts in scores.items():
        for metric in dict.fromkeys(name for found in starts.values() for name in found):
            for start in [start for start in starts if metric in starts[start]]:
                row = _score_row(start, starts[start][metric], floors.get(task, {}).get(metric))
                rows.append([f"{task_label(task)} {metric_label(metric)}", *row])
    columns = ["Task", "Start", "Mean \u00b1 sd", "Median", "Best", "Seeds", "No learning"]
    columns.append("Each seed")
    return table(columns, rows, words=(0, 1), long=(7,), label="Scores of the run, seed by seed")


def _score_row(start: str, summary: Summary, floor: float | None) -> list[Child]:
    each = [tag("span", fixed(v), tag("small", f" seed {s}")) for s, v in summary.values.items()]
    return [
        tag("span", start, class_="key blue" if start == PRETRAINED else "key rust"),
        tag("strong", spread(summary.mean, summary.sd, 2)),
        fixed(summary.median),
        fixed(summary.best),
        str(summary.n),
        fixed(floor),
        tag("span", *each, class_="seeds"),
    ]


def _published(scores: Scores, published: Sequence[Published]) -> Element:
    order = sorted(published, key=lambda p: list(scores).index(p.task))
    rows: list[list[Child]] = [
        [f"{task_label(p.task)} {metric_label(p.metric)}", _score(p), p.model, _source(p.source)]
        for p in order
    ]
    columns = ["Task", "Score", "Model", "Source"]
    grid = table(columns, rows, words=(0,), long=(2, 3), label="Published scores")
    return tag("div", tag("h3", "Published"), grid, tag("p", NOTE, class_="note"))


def _score(published: Published) -> str:
    return spread(published.value, published.sd, 2)


def _source(source: str) -> Child:
    if source.startswith(("https://", "http://")):
        return tag("a", source.partition("://")[2], href=source, class_="source", rel="noreferrer")
    return source


def _finetune_fold(run: Run) -> Element:
    rows: list[list[Child]] = []
    for job, receipt in run.receipts["finetune"].items():
        task, start, seed = job.split("/")
        counts = receipt["counts"]
        numbers = [whole(counts[name]) for name in ("examples", "features", "steps")]
        seconds = receipt.get("seconds")
        time = NONE if seconds is None else human_time(seconds)
        rows.append([task_label(task), start, seed.removeprefix("seed-"), *numbers, time])
    columns = ["Task", "Start", "Seed", "Examples", "Features", "Steps", "Time"]
    grid = table(columns, rows, words=(0, 1), label="Fine-tuning runs")
    return fold(f"The {len(rows)} fine-tuning runs behind these scores", grid)
