"""Charts of pretraining: loss, held-out accuracy, learning rate, gradient norm, speed.

The phases stand one after the other on one axis of optimizer steps, with a dashed border between
them; a line never crosses it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from xml.etree.ElementTree import Element

from bert.report.axes import (
    Frame,
    apart,
    below,
    drawing,
    grid,
    heading,
    text,
    ticks,
)
from bert.report.charts import Chart, Series
from bert.report.markup import tag
from bert.report.numbers import tick
from bert.report.run import Run
from bert.report.strokes import Line, dots, stroke, thinned

_HEIGHT = 216.0
_LABEL_HEIGHT = 13.0


def training_figure(run: Run, chart: Chart) -> Element | None:
    """Draws one chart of the log over all phases; None if it has no value but 0."""
    phases = run.phases()
    steps = [int(run.receipts["pretrain"][phase]["counts"]["steps"]) for phase in phases]
    starts = [0, *accumulate(steps)]
    lines: list[Line] = [
        [
            [(start + x, y) for x, y in run.logs[phase].values(series.kind, series.name)]
            for phase, start in zip(phases, starts, strict=False)
        ]
        for series in chart.series
    ]
    values = [y for line in lines for points in line for _, y in points]
    if not any(values):  # a model without next-sentence head logs 0 throughout
        return None
    low = min(values) if chart.floor is None else min(chart.floor, *values)
    levels = ticks(low, max(values), 4)
    frame = Frame(x0=0, x1=starts[-1], y0=levels[0], y1=levels[-1])
    drawn = [
        _series(frame, series, line, chart.show)
        for series, line in zip(chart.series, lines, strict=True)
    ]
    return drawing(
        f"{chart.title} over {starts[-1]} optimizer steps",
        _HEIGHT,
        heading(chart.title, chart.unit),
        grid(frame, levels, [chart.show_tick(level) for level in levels]),
        below(frame, ticks(0, starts[-1], 6), "optimizer steps"),
        _borders(frame, phases, starts),
        *drawn,
        _peak_labels(frame, lines[0]) if chart.label_peaks else _end_labels(frame, chart, lines),
    )


def _borders(frame: Frame, phases: Sequence[str], starts: Sequence[int]) -> Element:
    """Names of the phases above the plot and dashed lines between them."""
    lines = [
        tag("path", d=f"M{frame.x(s):.1f} {frame.top - 8:g}V{frame.bottom:g}", class_="border")
        for s in starts[1:-1]
    ]
    names = [
        text(name, frame.right if last else frame.x(start), frame.top - 10, f"note {side}".strip())
        for name, start, last, side in (
            (name, start, 0 < i == len(phases) - 1, "end" if 0 < i == len(phases) - 1 else "")
            for i, (name, start) in enumerate(zip(phases, starts, strict=False))
        )
    ]
    return tag("g", *lines, *names)


def _series(frame: Frame, series: Series, line: Line, show: Callable[[float], str]) -> Element:
    if series.kind == "evaluate":
        say = partial(_say, show)
        parts = [dots(frame, points, say) for points in line if points]
    else:
        parts = [stroke(frame, points) for points in line if points]
    return tag("g", *parts, class_=series.colour)


def _say(show: Callable[[float], str], step: float, value: float) -> str:
    return f"step {step:.0f}: {show(value)}"


def _peak_labels(frame: Frame, line: Line) -> Element:
    """The highest value of each phase, above its place."""
    peaks = [max(points, key=lambda point: point[1]) for points in line if points]
    labels = [
        text(tick(float(f"{y:.3g}")), frame.x(x), frame.y(y) - 5, "strong blue halo middle")
        for x, y in peaks
    ]
    return tag("g", *labels)


def _end_labels(frame: Frame, chart: Chart, lines: Sequence[Line]) -> Element:
    """The last value of each series, and its word if it has one, to the right of the plot."""
    ends = [
        (series, [points for points in line if points][-1])
        for series, line in zip(chart.series, lines, strict=True)
        if any(line)
    ]
    last = [
        thinned(frame, points).middle[-1] if series.kind == "train" else points[-1]
        for series, points in ends
    ]
    rows = max((2 if series.label else 1) for series, _ in ends)
    height = rows * _LABEL_HEIGHT
    places = apart([frame.y(y) for _, y in last], height, frame.bottom - (height - 13.0) / 2)
    labels = []
    for (series, _), (_, y), place in zip(ends, last, places, strict=True):
        words = [w for w in (series.label, chart.show(y)) if w]
        for row, word in enumerate(words):
            offset = place + 3.5 + _LABEL_HEIGHT * (row - (len(words) - 1) / 2)
            style = f"{series.colour} strong" if row == len(words) - 1 else series.colour
            labels.append(text(word, frame.right + 6, offset, style))
    return tag("g", *labels)
