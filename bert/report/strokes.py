"""Lines of a chart: strokes over a band of what they average, and dots of single measurements."""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from bert.report.axes import Frame, polyline
from bert.report.curves import Stroke, thin
from bert.report.markup import tag

_GROUPS_PER_UNIT = 0.6
_DOT_ROOM = 6.5

Points = list[tuple[float, float]]
Line = list[Points]  # points of each phase


def thinned(frame: Frame, points: Points) -> Stroke:
    """As many groups as the line's width can show."""
    width = frame.x(points[-1][0]) - frame.x(points[0][0])
    return thin(points, max(2, round(_GROUPS_PER_UNIT * width)))


def stroke(frame: Frame, points: Points) -> Element:
    """A line through the means of neighbouring steps, over a band from their lowest to highest."""
    drawn = thinned(frame, points)
    places = [(frame.x(x), frame.y(y)) for x, y in drawn.middle]
    over = [(frame.x(x), frame.y(y)) for (x, _), y in zip(drawn.middle, drawn.high, strict=True)]
    under = [(frame.x(x), frame.y(y)) for (x, _), y in zip(drawn.middle, drawn.low, strict=True)]
    band = None
    if drawn.low != drawn.high:
        band = tag("path", d=polyline([*over, *reversed(under)]) + "Z", class_="area")
    return tag("g", band, tag("path", d=polyline(places), class_="line"))


def dots(frame: Frame, points: Points, say: Callable[[float, float], str]) -> Element:
    """Single measurements, joined by a light line.

    Where the dots would touch, the line stands for them and only the last is a dot.

    Args:
        frame: Where they stand.
        points: x and y, x ascending.
        say: What a dot at x and y tells when pointed at.
    """
    places = [(frame.x(x), frame.y(y)) for x, y in points]
    crowded = (places[-1][0] - places[0][0]) / len(places) < _DOT_ROOM
    circles = [
        tag("circle", tag("title", say(x, y)), cx=px, cy=py, r=2.8, class_="dot")
        for (x, y), (px, py) in zip(points, places, strict=True)
    ]
    style = "line" if crowded else "line light"
    path = tag("path", d=polyline(places), class_=style)
    return tag("g", path, *(circles[-1:] if crowded else circles))
