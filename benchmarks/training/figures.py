"""From what workers measured to the figures of a table: medians, ratios within rounds, shares."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

Steps = Sequence[Mapping[str, Any]]
Groups = Sequence[Mapping[str, Mapping[str, Any]]]  # results of `rounds.run_group`


def mfu(step: Mapping[str, Any]) -> float:
    """Useful FLOP/s of a step over the mean of the probes right before and after it."""
    return float(step["flops"] / step["seconds"] / mean(step["probes"]))


def round_ratios(steps: Steps, peer: Steps) -> list[float]:
    """How many times faster than a peer, round by round, on the same batch."""
    return [theirs["seconds"] / own["seconds"] for own, theirs in zip(steps, peer, strict=True)]


def ratios(name: str, groups: Groups) -> dict[str, dict[str, float]]:
    """By other variant: median, least and most of the ratios of all rounds that both were in.

    Args:
        name: The variant whose speed is told.
        groups: All of a case.
    """
    found: dict[str, list[float]] = {}
    for group in (group for group in groups if name in group):
        for other in group.keys() - {name}:
            both = round_ratios(group[name]["steps"], group[other]["steps"])
            found.setdefault(other, []).extend(both)
    return {
        other: {"median": median(all_), "least": min(all_), "most": max(all_)}
        for other, all_ in sorted(found.items())
    }


def row(name: str, groups: Groups, peak_flops: float | None = None) -> dict[str, Any]:
    """The figures of a variant, over all groups that it was in.

    Args:
        name: The variant.
        groups: All of a case.
        peak_flops: FLOP/s of the device's data sheet.
    """
    runs = [group[name] for group in groups if name in group]
    steps: list[Mapping[str, Any]] = [step for run in runs for step in run["steps"]]
    seconds = [step["seconds"] for step in steps]
    optimizer = [s["optimizer_s"] / s["seconds"] for s in steps if s["optimizer_s"] is not None]
    around = next((run["around"] for run in runs if run["around"]), {})
    return {
        "step_s": median(seconds),
        "best_step_s": min(seconds),
        "tokens_per_s": median(step["tokens"] / step["seconds"] for step in steps),
        "sequences_per_s": median(step["sequences"] / step["seconds"] for step in steps),
        "mfu": median(map(mfu, steps)),
        "mfu_of_peak": peak_flops and median(s["flops"] / s["seconds"] / peak_flops for s in steps),
        "probe_flops": median(mean(step["probes"]) for step in steps),
        "peak_mb": max(step["peak_mb"] for step in steps),
        "above_import_mb": max(step["peak_mb"] - step["imported_mb"] for step in steps),
        "optimizer_share": median(optimizer) if optimizer else None,
        "loading_share": around["loading_s"] / median(seconds) if around else None,
        "logging_share": around["logging_s"] / median(seconds) if around else None,
        "first_loss": runs[0]["first_loss"],
        "ratios": ratios(name, groups),
    }


def check_losses(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses figures of variants that did not train the same thing.

    Before the first update the loss of a fresh model on the same batch is that of guessing for all
    of them, but for the draws of weights and dropout.

    Raises:
        ValueError: The first losses differ by more than a twentieth.
    """
    losses = {name: found["first_loss"] for name, found in rows.items()}
    least = min(losses.values())
    if not all(loss <= 1.05 * least for loss in losses.values()):
        raise ValueError(
            f"the first losses are {losses}; expected to differ by 5 % at most, since all variants "
            "start anew on the same masked tokens. One of them trains something else."
        )
