"""A step and an evaluation in a line for people, the most telling part first.

Parts stand between bars: a narrow terminal shows as many of the first ones as fit.
"""

import math
from collections.abc import Mapping
from typing import Any

from bert.log import human_time


def step_line(values: Mapping[str, Any], left_s: float) -> str:
    """A "train" line of metrics.jsonl as text.

    Args:
        values: The line.
        left_s: Seconds left; not a number if unknown.
    """
    parts = [_loss(values)]
    if values["skipped_steps"]:
        parts.append(f"{values['skipped_steps']:,} skipped")
    if math.isfinite(left_s):
        parts.append(f"{human_time(left_s)} left")
    parts.append(f"lr {_scientific(values['learning_rate'])}")
    if values["tokens_per_s"]:
        parts += [f"{values['tokens_per_s']:,.0f} tok/s", f"MFU {values['mfu']:.0%}"]
    parts.append(f"{_short(values['samples'])} samples")
    if values["nsp_loss"] and values["mlm_loss"] is not None:
        parts.append(f"mlm {values['mlm_loss']:.3f} nsp {values['nsp_loss']:.3f}")
    if values["loss_scale"] is not None:
        parts.append(f"scale {_short(values['loss_scale'])}")
    return " | ".join(parts)


def evaluation_line(values: Mapping[str, Any]) -> str:
    """An "evaluate" line of metrics.jsonl as text."""
    parts = [
        f"{task} {values[f'{task}_loss']:.3f} ({values[f'{task}_accuracy']:.1%})"
        for task in ("mlm", "nsp")
        if values.get(f"{task}_loss") is not None and values.get(f"{task}_accuracy") is not None
    ]
    return ", ".join(parts)


def _loss(values: Mapping[str, Any]) -> str:
    return "loss not finite" if values["loss"] is None else f"loss {values['loss']:.3f}"


def _scientific(value: float) -> str:
    """1.50e-3: two digits of the exponent would only take room."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _short(value: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 10 * size:
            return f"{value / size:,.1f}{letter}"
    return f"{value:,.0f}"
