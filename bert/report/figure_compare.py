"""Charts with a line for each run: a loss over steps, samples, or training time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree.ElementTree import Element

from bert.report.axes import (
    WIDTH,
    Frame,
    apart,
    below,
    drawing,
    grid,
    heading,
    text,
    text_width,
    ticks,
)
from bert.report.comparison import final
from bert.report.markup import tag
from bert.report.numbers import fixed, short, tick
from bert.report.strokes import Line, Points, dots, stroke
from bert.report.training_run import Training

COLOURS = ("blue", "rust", "green", "violet", "ochre", "grey")
_PLOT_HEIGHT = 150.0
_ROW = 15.0
_KEY = 18.0
_LABEL_HEIGHT = 13.0
_GAP = 28.0
_START = 0.03  # of the axis: the fall from guessing before it would flatten all that follows


@dataclass(frozen=True)
class Comparison:
    """A chart that compares runs.

    Attributes:
        title: Heading.
        kind: Kind of log line.
        name: Name of the logged value.
        axis: Key of `bert.report.training_run.AXES`.
    """

    title: str
    kind: str
    name: str
    axis: str


COMPARISONS = {
    f"{key}_over_{axis}": Comparison(title, kind, "mlm_loss", axis)
    for key, title, kind in (
        ("held_out", "Held-out MLM loss", "evaluate"),
        ("training", "Training MLM loss", "train"),
    )
    for axis in ("steps", "samples", "time")
}


def comparison_figure(trainings: Sequence[Training], chart: Comparison) -> Element | None:
    """Draws one chart; None if no run logged what it shows.

    Args:
        trainings: At most as many as there are colours.
        chart: What to draw. Losses above those of the first steps are left out.
    """
    curves = [training.curve(chart.kind, chart.name, chart.axis) for training in trainings]
    unit, size = _unit(chart.axis, curves)
    scaled = [[[(x / size, y) for x, y in points] for points in line] for line in curves]
    runs = [
        (training.name, colour, line)
        for training, colour, line in zip(trainings, COLOURS, scaled, strict=False)
        if any(line)
    ]
    if not runs:
        return None
    keys, rows = _keys([(name, colour) for name, colour, _ in runs])
    frame, levels = _frame([line for *_, line in runs], top=27.0 + _ROW * rows)
    lines = [line for *_, line in runs]
    colours = [colour for _, colour, _ in runs]
    shown = [[_from(points, levels[-1]) for points in line if points] for line in lines]
    names = ", ".join(name for name, *_ in runs)
    return drawing(
        f"{chart.title} of {names} over {unit}",
        frame.bottom + 38,
        heading(chart.title, "nats per predicted token"),
        keys,
        grid(frame, levels, [tick(level) for level in levels]),
        below(frame, ticks(0, frame.x1, 5), unit),
        *[
            _run(frame, chart, colour, unit, line)
            for colour, line in zip(colours, shown, strict=True)
        ],
        _ends(frame, colours, [_last(line, chart.kind) for line in lines]),
    )


def _unit(axis: str, curves: Sequence[Line]) -> tuple[str, float]:
    """Name of the axis, and how many of the logged units make one of its own."""
    if axis != "time":
        return {"steps": "optimizer steps", "samples": "samples"}[axis], 1.0
    seconds = max((x for line in curves for points in line for x, _ in points), default=0.0)
    found = next(
        ((n, s) for n, s in (("hours", 3600.0), ("minutes", 60.0)) if seconds > 2 * s), None
    )
    name, size = found or ("seconds", 1.0)
    return f"{name} of training", size


def _frame(lines: Sequence[Line], top: float) -> tuple[Frame, list[float]]:
    """Axes that hold all runs from a little behind their start on."""
    joined = [[point for points in line for point in points] for line in lines]
    end = max(line[-1][0] for line in joined)
    early = [next((y for x, y in line if x >= _START * end), line[-1][1]) for line in joined]
    low = min(y for line in joined for _, y in line)
    levels = ticks(low, max(early), 5)
    frame = Frame(
        x0=0, x1=end or 1.0, y0=levels[0], y1=levels[-1], top=top, bottom=top + _PLOT_HEIGHT
    )
    return frame, levels


def _from(points: Points, highest: float) -> Points:
    """The points behind the first one that is low enough, later ones held down to it."""
    first = next((i for i, (_, y) in enumerate(points) if y <= highest), len(points) - 1)
    return [(x, min(y, highest)) for x, y in points[first:]]


def _keys(names: Sequence[tuple[str, str]]) -> tuple[Element, int]:
    """A stroke and the name of each run, in rows under the heading; and how many rows."""
    parts: list[Element] = []
    x, row = 0.0, 0
    for name, colour in names:
        width = _KEY + text_width(name) + 14
        if x and x + width > WIDTH:
            x, row = 0.0, row + 1
        y = 30.0 + _ROW * row
        line = tag("path", d=f"M{x:g} {y - 4:g}h12", class_="line")
        parts.append(tag("g", line, text(name, x + _KEY, y), class_=colour))
        x += width
    return tag("g", *parts), row + 1


def _run(frame: Frame, chart: Comparison, colour: str, unit: str, line: Line) -> Element:
    if chart.kind == "train":
        return tag("g", *[stroke(frame, points) for points in line], class_=colour)
    say = partial(_say, unit)
    return tag("g", *[dots(frame, points, say) for points in line], class_=colour)


def _say(unit: str, place: float, value: float) -> str:
    return f"{short(place)} {unit}: {fixed(value, 3)}"


def _last(line: Line, kind: str) -> float:
    """The value that a run ended at."""
    return final([y for _, y in [points for points in line if points][-1]], kind)


def _ends(frame: Frame, colours: Sequence[str], last: Sequence[float]) -> Element:
    """The values that the runs ended at, to the right of the plot."""
    places = apart([frame.y(y) for y in last], _LABEL_HEIGHT, frame.bottom)
    labels = [
        text(fixed(y, 3), frame.right + 6, place + 3.5, f"{colour} strong")
        for colour, y, place in zip(colours, last, places, strict=True)
    ]
    return tag("g", *labels)


def side_by_side(drawings: Iterable[Element | None]) -> Element:
    """All drawings on one sheet, three in a row."""
    there = [drawing for drawing in drawings if drawing is not None]
    sizes = [float(drawing.attrib["viewBox"].split()[3]) for drawing in there]
    height = max(sizes, default=0.0) + _GAP
    parts = [
        tag("g", *drawing, transform=f"translate({n % 3 * (WIDTH + _GAP):g} {n // 3 * height:g})")
        for n, drawing in enumerate(there)
    ]
    width = min(3, len(there)) * (WIDTH + _GAP) - _GAP
    box = f"0 0 {width:g} {-(-len(there) // 3) * height - _GAP:g}"
    label = "; ".join(drawing.attrib["aria-label"] for drawing in there)
    return tag("svg", *parts, class_="figure", viewBox=box, role="img", aria_label=label)
