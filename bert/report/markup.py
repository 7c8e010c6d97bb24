"""Elements of the page and of its figures: trees, so that every text is escaped by construction.

Nothing else in this floor writes `<` or `&`. A text that XML cannot hold (control characters, or
halves of surrogate pairs as in odd file names) is shown with U+FFFD in its place.
"""

import re
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARGIN = 12.0
_INLINE = frozenset({"a", "code", "small", "span", "strong", "title", "tspan"})


def tag(name: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element with its children in order.

    Args:
        name: Name of the element.
        children: Elements, texts (escaped when written), or None (left out).
        attributes: Values; None leaves the attribute out. `class_` stands for `class`, and
            `stroke_width` for `stroke-width`.
    """
    given = {key: value for key, value in attributes.items() if value is not None}
    element = Element(name, {_attribute(key): _text(value) for key, value in given.items()})
    for child in children:
        _append(element, child)
    if name not in _INLINE:  # one line for each element: a page that can be compared
        element.tail = "\n"
    return element


def as_html(element: Element) -> str:
    """The element as HTML text, for the inside of a page."""
    return tostring(element, encoding="unicode", method="html")


def as_svg(element: Element, style: str) -> str:
    """A drawing as a file of its own, with its style and background inside.

    Args:
        element: An `svg` element with a `viewBox`.
        style: Style sheet for it.
    """
    left, top, width, height = map(float, element.attrib["viewBox"].split())
    left, top, width, height = (
        left - _MARGIN,
        top - _MARGIN,
        width + 2 * _MARGIN,
        height + 2 * _MARGIN,
    )
    background = tag("rect", class_="paper", x=left, y=top, width=width, height=height)
    file = tag("svg", tag("style", style), background, *element)
    box = f"{left:g} {top:g} {width:g} {height:g}"
    file.attrib |= {"xmlns": "http://www.w3.org/2000/svg"} | element.attrib | {"viewBox": box}
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(file, encoding="unicode")


def coordinate(value: float) -> str:
    """A length in a drawing, to a hundredth: 12.5, 3, 0."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _attribute(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _text(value: str | float) -> str:
    return _FORBIDDEN.sub("\ufffd", value) if isinstance(value, str) else coordinate(value)


def _append(element: Element, child: Child) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        element.append(child)
    elif len(element):
        element[-1].tail = (element[-1].tail or "") + _text(child)
    else:
        element.text = (element.text or "") + _text(child)
