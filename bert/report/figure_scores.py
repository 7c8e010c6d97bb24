"""The scores as a strip plot: every seed a dot, a bar at what stands, published models hollow."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from bert.report.axes import Frame, drawing, heading, text
from bert.report.config import Pick, Published
from bert.report.labels import is_detail, metric_label, task_label
from bert.report.markup import tag
from bert.report.numbers import fixed, spread
from bert.report.scores import PRETRAINED, Runs, Scores
from bert.report.summary import Summary

_LANE = 19.0
_LEVELS = (0, 25, 50, 75, 100)
# Of more tasks only the headline metrics are drawn.
_MANY = 4


def scores_figure(scores: Scores, published: Sequence[Published], pick: Pick) -> Element:
    """Draws the metrics of all tasks on one scale up to 100 percent, from 0 or the lowest score."""
    frame = Frame(x0=_lowest(scores), x1=100, y0=0, y1=1, left=82, right=302)
    parts: list[Element] = []
    y = 40.0
    for task, starts in scores.items():
        for metric in _metrics(next(iter(starts.values())), len(scores)):
            found = {s: r.metrics[metric] for s, r in starts.items() if metric in r.metrics}
            lanes = _lanes(frame, y + 19, found, pick)
            others = [p for p in published if (p.task, p.metric) == (task, metric)]
            if others:
                lanes.append(_published(frame, y + 19 + _LANE * len(lanes), others))
            title = text(f"{task_label(task)} {metric_label(metric)}", 0, y, "strong")
            parts.append(tag("g", title, *lanes))
            y += 19 + _LANE * len(lanes) + 14
    bottom = y - 18
    lines = [tag("path", d=f"M{frame.x(v):.1f} 26V{bottom:g}", class_="grid") for v in _LEVELS]
    labels = [text(str(v), frame.x(v), bottom + 14, "tick middle") for v in _LEVELS]
    return drawing(
        "Scores of every seed by task, metric and start",
        bottom + 20,
        heading("Scores", "percent, a dot for each seed"),
        *lines,
        *labels,
        *parts,
    )


def _lowest(scores: Scores) -> float:
    """0, or the lowest value drawn: correlations may be negative."""
    drawn = [
        runs.metrics[metric]
        for starts in scores.values()
        for runs in starts.values()
        for metric in _metrics(runs, len(scores))
    ]
    return min(0.0, *(value for summary in drawn for value in summary.values.values()))


def _metrics(runs: Runs, tasks: int) -> list[str]:
    if tasks > _MANY:
        return [runs.headline]
    return [metric for metric in runs.metrics if not is_detail(metric)]


def _lanes(frame: Frame, y: float, starts: dict[str, Summary], pick: Pick) -> list[Element]:
    lanes = []
    for number, (start, summary) in enumerate(starts.items()):
        colour = "blue" if start == PRETRAINED else "rust"
        lanes.append(_lane(frame, y + _LANE * number, start, summary, colour, pick))
    return lanes


def _lane(frame: Frame, y: float, start: str, summary: Summary, colour: str, pick: Pick) -> Element:
    standing = summary.standing(pick)
    place = frame.x(standing)
    mean = f"mean {spread(summary.mean, summary.sd, 2)}"
    dots = [
        tag(
            "circle",
            tag("title", f"seed {s}: {fixed(v)}"),
            cx=frame.x(v),
            cy=y,
            r=3.2,
            class_="dot",
        )
        for s, v in summary.values.items()
    ]
    return tag(
        "g",
        text(start, 0, y + 3.5, "tick"),
        tag("path", d=f"M{frame.left:g} {y:g}H{frame.right:g}", class_="grid"),
        *dots,
        tag(
            "path",
            tag("title", f"{pick} {fixed(standing)}, {mean}"),
            d=f"M{place:.1f} {y - 7.5:g}v3M{place:.1f} {y + 7.5:g}v-3",
            class_="mark",
        ),
        text(fixed(standing, 1), frame.right + 12, y + 3.5, f"strong {colour}"),
        class_=colour,
    )


def _published(frame: Frame, y: float, published: Sequence[Published]) -> Element:
    marks = [
        tag(
            "circle",
            tag("title", f"{p.model}: {spread(p.value, p.sd, 2)}"),
            cx=frame.x(p.value),
            cy=y,
            r=3.2,
            class_="hollow",
        )
        for p in published
    ]
    best = max(p.value for p in published)
    return tag(
        "g",
        text("published", 0, y + 3.5, "tick"),
        tag("path", d=f"M{frame.left:g} {y:g}H{frame.right:g}", class_="grid"),
        *marks,
        text(fixed(best, 1), frame.right + 12, y + 3.5, "grey"),
        class_="grey",
    )
