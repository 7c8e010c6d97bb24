"""Which quantities of the training log are drawn, and how their numbers are written."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bert.report.numbers import fixed, percent, short, tick


@dataclass(frozen=True)
class Series:
    """One quantity of the log as it is drawn.

    Attributes:
        label: Word at the end of the line; "" for just the value.
        kind: Kind of log line, "train" or "evaluate".
        name: Name of the value in the log line.
        colour: Colour class.
    """

    label: str
    kind: str
    name: str
    colour: str


@dataclass(frozen=True)
class Chart:
    """A chart of the training log.

    Attributes:
        title: Heading.
        unit: Unit, beside the heading.
        series: What is drawn.
        show: Value to text, for the labels at the line ends.
        show_tick: Value to text, for the axis.
        floor: A value the axis must include; None leaves it to the data.
        label_peaks: Whether to label the peak of each phase and not the end of the line.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    show: Callable[[float], str]
    show_tick: Callable[[float], str] = tick
    floor: float | None = None
    label_peaks: bool = False


def _share(value: float) -> str:
    """A tick in percent, with a decimal only where it needs one."""
    return percent(value, 0 if math.isclose(100 * value, round(100 * value), abs_tol=1e-9) else 1)


CHARTS = {
    "mlm_loss": Chart(
        "MLM loss",
        "nats per predicted token",
        (
            Series("train", "train", "mlm_loss", "blue"),
            Series("held out", "evaluate", "mlm_loss", "rust"),
        ),
        fixed,
    ),
    "nsp_loss": Chart(
        "NSP loss",
        "nats per pair",
        (
            Series("train", "train", "nsp_loss", "blue"),
            Series("held out", "evaluate", "nsp_loss", "rust"),
        ),
        fixed,
    ),
    "accuracy": Chart(
        "Held-out accuracy",
        "",
        (
            Series("MLM", "evaluate", "mlm_accuracy", "rust"),
            Series("NSP", "evaluate", "nsp_accuracy", "green"),
        ),
        percent,
        _share,
        floor=0.0,
    ),
    "learning_rate": Chart(
        "Learning rate",
        "",
        (Series("", "train", "learning_rate", "blue"),),
        tick,
        floor=0.0,
        label_peaks=True,
    ),
    "gradient_norm": Chart(
        "Gradient norm",
        "before clipping",
        (Series("", "train", "gradient_norm", "blue"),),
        fixed,
        floor=0.0,
    ),
    "tokens_per_s": Chart(
        "Throughput",
        "tokens per second",
        (Series("", "train", "tokens_per_s", "blue"),),
        short,
        floor=0.0,
    ),
    "mfu": Chart(
        "Model FLOPs utilisation",
        "of the device's matrix product",
        (Series("", "train", "mfu", "blue"),),
        percent,
        _share,
        floor=0.0,
    ),
}
