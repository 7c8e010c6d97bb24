"""Drawings of the data's way: a funnel from raw items to shards, and the lengths of instances."""

from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from bert.report.axes import WIDTH, drawing, heading, text, text_width
from bert.report.flow import Flow, Phase
from bert.report.markup import tag
from bert.report.numbers import percent, short, whole

_BAR = 18.0
_STEP = 62.0
_TOP = 44.0
_GAP = 24.0
_PLOT = 74.0


_Part = tuple[str, int, str]


@dataclass(frozen=True)
class _Bar:
    """A bar of the funnel, in drawing units, with its parts from left to right.

    Attributes:
        middle: Horizontal middle.
        y: Upper edge.
        width: Width of all parts together.
        parts: Name, number, and colour class of each part.
    """

    middle: float
    y: float
    width: float
    parts: tuple[_Part, ...]

    @property
    def left(self) -> float:
        """Left edge."""
        return self.middle - self.width / 2

    def part(self, index: int) -> tuple[float, float]:
        """Left and right edge of a part."""
        numbers = [number for _, number, _ in self.parts]
        scale = self.width / max(sum(numbers), 1)
        left = self.left + scale * sum(numbers[:index])
        return left, left + scale * numbers[index]


def flow_figure(flow: Flow) -> Element | None:
    """Draws the funnel: items, documents, split, then instances and shards of each phase.

    Bars of documents share one scale, bars of instances another. None for a run on given shards,
    of whose text nothing is known, and for one that only fine-tunes.
    """
    if not flow.sources or not flow.phases:
        return None
    bars, labels = _document_bars(flow)
    phases, phase_labels = _phase_bars(flow, _TOP + _STEP * len(bars))
    flows = [_join(a.part(0)[0], _kept(a), a.y, b) for a, b in pairwise(bars)]
    flows += [_split(bars[-1], phases[::2], i) for i in range(len(phases[::2]))]
    flows += [
        _join(*encoded.part(0), encoded.y, sharded)
        for encoded, sharded in zip(phases[::2], phases[1::2], strict=True)
    ]
    return drawing(
        "The way of the data from raw items to shards",
        phases[-1].y + _BAR + 20,
        heading("From raw text to shards", "number of items"),
        *flows,
        *[_bar(bar) for bar in [*bars, *phases]],
        *labels,
        *phase_labels,
    )


def lengths_figure(phases: tuple[Phase, ...]) -> Element | None:
    """Draws how long the instances are, a plot for each phase; None if no receipt tells."""
    told = [phase for phase in phases if sum(phase.histogram.values())]
    if not told:
        return None
    height = 40.0 + (_PLOT + 46) * len(told)
    plots = [_histogram(phase, 52.0 + (_PLOT + 46) * i) for i, phase in enumerate(told)]
    label = "Number of instances by length"
    return drawing(label, height, heading("Instance lengths", "tokens; share of instances"), *plots)


def _document_bars(flow: Flow) -> tuple[list[_Bar], list[Element]]:
    """Items read (if some were left out), documents, those that the filter kept, training."""
    documents, skipped = flow.documents, flow.skipped
    training = max(phase.documents for phase in flow.phases)
    held_out = max(phase.held_out_documents for phase in flow.phases)
    sources = tuple((source.name, source.documents, "green") for source in flow.sources)
    rows: list[tuple[int, str, str, tuple[_Part, ...]]] = [
        (documents, "documents", "", sources),
        (
            training,
            "documents for training",
            f", {whole(held_out)} held out" if held_out else "",
            (("training", training, "blue"), ("held out", held_out, "rust")),
        ),
    ]
    if flow.filtered:
        kept = documents - flow.filtered
        rows.insert(1, (kept, "documents kept", *_left_out(kept, flow.filtered)))
    if skipped:
        rows.insert(0, (documents + skipped, "items read", *_left_out(documents, skipped)))
    sums = [sum(count for _, count, _ in parts) for *_, parts in rows]
    scale = (WIDTH - 8) / max(*sums, 1)
    bars, labels = [], []
    for number, (shown, name, aside, parts) in enumerate(rows):
        y = _TOP + _STEP * number
        bars.append(_Bar(WIDTH / 2, y, scale * sums[number], parts))
        labels.append(_label(WIDTH / 2, y - 6, shown, name, aside))
    return bars, labels


def _left_out(kept: int, left_out: int) -> tuple[str, tuple[_Part, ...]]:
    """Words and parts of a row some of which does not go on."""
    parts = (("kept", kept, "grey"), ("left out", left_out, "grey light"))
    return f", {whole(left_out)} left out", parts


def _phase_bars(flow: Flow, top: float) -> tuple[list[_Bar], list[Element]]:
    column = WIDTH / len(flow.phases)
    most = max(phase.instances + phase.held_out for phase in flow.phases) or 1
    scale = (column - 24) / most
    bars, labels = [], []
    for number, phase in enumerate(flow.phases):
        middle, under = column * (number + 0.5), top + _STEP
        parts = (("", phase.instances, "blue"), ("", phase.held_out, "rust"))
        bars.append(_Bar(middle, top, scale * (phase.instances + phase.held_out), parts))
        sharded = (("", phase.sharded, "blue"),)
        bars.append(_Bar(middle, under, scale * phase.sharded, sharded))
        seen = phase.sequences / max(phase.sharded, 1)
        labels += [
            _label(middle, top - 6, phase.instances, f"instances, {phase.name}"),
            _label(middle, under - 6, phase.shards, "shards"),
            text(f"seen {short(seen)} times", middle, under + _BAR + 14, "note middle"),
        ]
    return bars, labels


def _label(middle: float, y: float, count: int, words: str, aside: str = "") -> Element:
    number = tag("tspan", whole(count) if count < 1e7 else short(count), class_="strong")
    second = tag("tspan", aside, class_="tick") if aside else None
    return tag("text", number, f" {words}", second, x=middle, y=y, class_="middle")


def _bar(bar: _Bar) -> Element:
    parts = []
    for index, (name, number, colour) in enumerate(bar.parts):
        left, right = bar.part(index)
        if number:
            # A hair of paper between the parts; a part too thin for that keeps a visible sliver.
            width = max(right - left - 1, 1.0)
            hint = tag("title", f"{name} {whole(number)}".strip())
            parts.append(
                tag("rect", hint, x=left, y=bar.y, width=width, height=_BAR, class_=f"bar {colour}")
            )
        if name and text_width(name) + 8 < right - left:
            parts.append(text(name, (left + right) / 2, bar.y + 12.5, "inside middle"))
    return tag("g", *parts)


def _kept(bar: _Bar) -> float:
    """Right edge of what goes on: all of the sources, but only the kept share of the items."""
    return bar.part(0)[1] if bar.parts[0][0] == "kept" else bar.left + bar.width


def _join(left: float, right: float, y: float, under: _Bar) -> Element:
    """A pale band from the lower edge of one bar to the whole width of the next."""
    low, high = y + _BAR + 2, under.y - _GAP + 4
    ends = f"L{under.left + under.width:.1f} {high:g}L{under.left:.1f} {high:g}Z"
    return tag("path", d=f"M{left:.1f} {low:g}L{right:.1f} {low:g}{ends}", class_="flow grey")


def _split(bar: _Bar, phases: list[_Bar], index: int) -> Element:
    left, right = bar.part(0)
    width = (right - left) / len(phases)
    return _join(left + width * index, left + width * (index + 1), bar.y, phases[index])


def _histogram(phase: Phase, top: float) -> Element:
    bins = list(phase.histogram.items())
    instances, most = sum(phase.histogram.values()), max(phase.histogram.values())
    step, bottom = WIDTH / len(bins), top + _PLOT
    bars = []
    for number, (bound, count) in enumerate(bins):
        height = (_PLOT - 14) * count / most
        hint = tag("title", f"up to {bound} tokens: {whole(count)}, {percent(count / instances)}")
        place = {"x": step * number + 0.5, "y": bottom - height}
        size = {"width": max(step - 1, 0.5), "height": height}
        bars.append(tag("rect", hint, **place, **size, class_="bar blue"))
    every = max(1, -(-len(bins) * 30 // int(WIDTH)))
    numbers = range(len(bins) - 1, -1, -every)
    marks = [text(str(bins[n][0]), step * (n + 1) - 1, bottom + 13, "tick end") for n in numbers]
    base = tag("path", d=f"M0 {bottom:g}H{WIDTH:g}", class_="base")
    mean = "" if phase.mean_length is None else f", {phase.mean_length:.1f} tokens on average"
    title = text(f"{phase.name}{mean}", 0, top - 6, "note")
    return tag("g", title, *bars, base, *marks)
