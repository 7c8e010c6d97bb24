"""Drawing of what training sees: what predicted tokens show, and where they stand."""

from collections.abc import Mapping
from itertools import accumulate
from xml.etree.ElementTree import Element

from bert.report.axes import WIDTH, drawing, heading, text, text_width
from bert.report.markup import tag
from bert.report.numbers import percent
from bert.report.run import Receipt

_SHOWN = (
    ("shown_mask_share", "[MASK]", "blue"),
    ("shown_random_share", "another", "rust"),
    ("shown_same_share", "itself", "green"),
)
_LEFT, _BAR, _PLOT = 52.0, 18.0, 40.0
_ROW = _BAR + _PLOT + 42


def examine_figure(receipts: Mapping[str, Receipt]) -> Element | None:
    """Draws for each phase the shares of what is shown, and the predicted share by place.

    Args:
        receipts: Phase to the receipt of the stage `examine`.
    """
    if not receipts:
        return None
    parts: list[Element] = []
    for number, (phase, receipt) in enumerate(receipts.items()):
        top = 34 + _ROW * number
        parts += _shown(phase, receipt["statistics"], top)
        parts += _places(receipt["statistics"]["target_share_by_place"], top + _BAR + 10)
    height = 34 + _ROW * len(receipts)
    title = heading("Predicted tokens", "what stands in their place; where they stand")
    return drawing("What predicted tokens show and where they stand", height, title, *parts)


def _shown(phase: str, statistics: Mapping[str, float | None], top: float) -> list[Element]:
    """A stacked bar of the three kinds."""
    shares = [statistics[key] or 0.0 for key, _, _ in _SHOWN]
    room = WIDTH - _LEFT - 4
    lefts = [_LEFT + room * share for share in accumulate(shares, initial=0.0)]
    parts = [text(phase, 0, top + 12.5)]
    for (_, name, colour), share, left in zip(_SHOWN, shares, lefts, strict=False):
        width = max(room * share - 1, 0.8)
        hint = tag("title", f"{name}: {percent(share)}")
        parts.append(
            tag("rect", hint, x=left, y=top, width=width, height=_BAR, class_=f"bar {colour}")
        )
        words = f"{name} {percent(share)}"
        inside = next((w for w in (words, name) if text_width(w) + 6 < width), None)
        if inside:
            parts.append(text(inside, left + width / 2, top + 12.5, "inside middle"))
    return parts


def _places(shares: list[float], top: float) -> list[Element]:
    """Columns of the predicted share in each tenth of an instance."""
    most, bottom = max(*shares, 1e-9), top + _PLOT
    step = (WIDTH - _LEFT - 4) / len(shares)
    columns = []
    for number, share in enumerate(shares):
        height = max(_PLOT * share / most, 0.8)
        hint = tag("title", f"tenth {number + 1}: {percent(share)} predicted")
        place = {"x": _LEFT + step * number, "y": bottom - height}
        columns.append(tag("rect", hint, **place, width=step - 1, height=height, class_="bar grey"))
    return [
        *columns,
        text(percent(most, 0), 0, top + 9, "tick"),
        text("start", _LEFT, bottom + 12, "tick"),
        text("end of an instance", WIDTH - 4, bottom + 12, "tick end"),
    ]
