"""Drawing of what the stages took."""

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bert.log import human_time
from bert.report.axes import drawing, heading, text
from bert.report.benchmarks import Cost
from bert.report.markup import tag
from bert.report.numbers import percent

_ROW = 21.0
_LEFT = 62.0
_RIGHT = 296.0


def costs_figure(costs: Mapping[str, Cost], stages: list[str]) -> Element | None:
    """Draws the time of each stage as a bar, in pipeline order; None if nothing was measured.

    Args:
        costs: Stage to cost.
        stages: Stages to draw, in order; those without a cost are left out.
    """
    rows = [(stage, costs[stage].seconds) for stage in stages if stage in costs]
    whole = sum(seconds for _, seconds in rows)
    if not whole:
        return None
    most = max(seconds for _, seconds in rows)
    parts: list[Element] = []
    for number, (stage, seconds) in enumerate(rows):
        y = 30 + _ROW * number
        width = max((_RIGHT - _LEFT) * seconds / most, 0.8)
        hint = tag("title", f"{stage}: {percent(seconds / whole)} of the time")
        colour = "bar blue" if seconds == most else "bar grey"
        parts += [
            text(stage, 0, y + 10.5),
            tag("rect", hint, x=_LEFT, y=y, width=width, height=13.0, class_=colour),
            text(human_time(seconds), _LEFT + width + 6, y + 10.5, "tick"),
        ]
    height = 30 + _ROW * len(rows)
    return drawing("Time of each stage", height, heading("Time", "all jobs of a stage"), *parts)
