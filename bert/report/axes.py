"""The frame of a chart: scales, ticks, grid lines and labels, as SVG elements.

All charts are 360 units wide, which is about the width of a phone: drawn there or in a column of a
desktop page, their 11-unit text has the size of text. Colours are classes of `figure.css`, so that
one drawing serves light and dark.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from bert.report.markup import tag
from bert.report.numbers import tick

WIDTH = 360.0
_CHARACTER = 5.9


@dataclass(frozen=True)
class Frame:
    """The plot area of a chart and the values at its edges.

    Attributes:
        x0: Value at the left edge.
        x1: Value at the right edge.
        y0: Value at the lower edge.
        y1: Value at the upper edge.
        left: Left edge in drawing units.
        right: Right edge.
        top: Upper edge.
        bottom: Lower edge.
    """

    x0: float
    x1: float
    y0: float
    y1: float
    left: float = 40.0
    right: float = 304.0
    top: float = 40.0
    bottom: float = 178.0

    def x(self, value: float) -> float:
        """Place of a value along the horizontal axis."""
        return self.left + (value - self.x0) / (self.x1 - self.x0) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Place of a value along the vertical axis."""
        return self.bottom - (value - self.y0) / (self.y1 - self.y0) * (self.bottom - self.top)


def drawing(label: str, height: float, *children: Element | None) -> Element:
    """An empty sheet 360 units wide.

    Args:
        label: What the drawing shows, for those who cannot see it.
        height: Height in drawing units.
        children: What stands on it.
    """
    box = f"0 0 {WIDTH:.0f} {math.ceil(height)}"
    return tag("svg", *children, class_="figure", viewBox=box, role="img", aria_label=label)


def text(words: str, x: float, y: float, style: str = "", **more: str | float | None) -> Element:
    """A line of text with its baseline at `y`; `style` is a list of classes of `figure.css`."""
    return tag("text", words, x=x, y=y, class_=style or None, **more)


def text_width(words: str) -> float:
    """A cautious estimate of how wide a line of text is, in drawing units."""
    return _CHARACTER * len(words)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that enclose `low` and `high`.

    Args:
        low: Lowest value shown.
        high: Highest value shown; if it equals `low`, the range is widened around it.
        count: About how many steps to make, 1 or more.

    Returns:
        Ascending values; the first is at most `low`, the last at least `high`.
    """
    if high <= low:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999), default=power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def heading(title: str, unit: str) -> Element:
    """Title of a chart with its unit, at the top left."""
    second = tag("tspan", f"  {unit}", class_="unit") if unit else None
    return tag("text", title, second, x=0.0, y=13.0, class_="heading")


def grid(frame: Frame, values: list[float], shown: list[str]) -> Element:
    """Horizontal lines at `values`, labelled on the left with `shown`."""
    lines = [tag("path", d=f"M{frame.left:g} {_two(frame.y(v))}H{frame.right:g}") for v in values]
    labels = [
        text(words, frame.left - 6, frame.y(value) + 3.5, "tick end")
        for value, words in zip(values, shown, strict=True)
    ]
    return tag("g", tag("g", *lines, class_="grid"), *labels)


def below(frame: Frame, values: list[float], name: str) -> Element:
    """The horizontal axis: a base line, labels at `values`, and the name of the axis."""
    base = tag("path", d=f"M{frame.left:g} {frame.bottom:g}H{frame.right:g}", class_="base")
    inside = [value for value in values if frame.x0 <= value <= frame.x1]
    labels = [text(tick(v), frame.x(v), frame.bottom + 15, "tick middle") for v in inside]
    middle = (frame.left + frame.right) / 2
    return tag("g", base, *labels, text(name, middle, frame.bottom + 30, "tick middle"))


def polyline(points: list[tuple[float, float]]) -> str:
    """Path data of a line through points in drawing units."""
    return "M" + "L".join(f"{_two(x)} {_two(y)}" for x, y in points)


def apart(places: list[float], distance: float, lowest: float) -> list[float]:
    """Moves labels so that none are nearer than `distance`: down first, and up from `lowest`.

    Args:
        places: Wanted vertical places, any order.
        distance: Least distance between two labels.
        lowest: Lowest place a label may have (the largest, as drawings count from the top).

    Returns:
        The places in the order they were given.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for above, under in pairwise(order):
        moved[under] = max(moved[under], moved[above] + distance)
    limit = lowest
    for label in reversed(order):
        moved[label] = min(moved[label], limit)
        limit = moved[label] - distance
    return moved


def _two(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
