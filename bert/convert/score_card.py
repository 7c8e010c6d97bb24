"""What a published model's card says of its scores and where it comes from."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from bert.convert.cards import provenance, table
from bert.convert.runs import Run, summaries
from bert.tasks.trials import parse_trial

_HOW = {
    "best": "the run with the highest {headline} of {n}. Its score is chosen on the data that it "
    "is measured on, so a new run is to be expected at the median, not at this value.",
    "median": "the run with the (lower) median {headline} of {n}.",
    "grid": "the run with the (lower) median {headline} of the {n} with its learning rate, the one "
    "with the best median on these data.",
}


def score_card(
    runs: Sequence[Run],
    chosen: Run,
    how: Literal["best", "median"],
    inputs: Mapping[str, str],
    commit: str | None,
) -> str:
    """The card's sections on scores, training and provenance, Markdown.

    Args:
        runs: All runs of the task from pretrained weights.
        chosen: The published one.
        how: Rule by which it was chosen.
        inputs: sha256 of what it was made from, by name.
        commit: Commit of the code.
    """
    rate = parse_trial(chosen.trial).rate
    alike = [run for run in runs if how == "best" or parse_trial(run.trial).rate == rate]
    kind = "grid" if how == "median" and rate is not None else how
    reason = _HOW[kind].format(headline=chosen.headline, n=len(alike))
    tuned = json.dumps(chosen.receipt["config"], indent=2, sort_keys=True)
    stopped = chosen.receipt["config"].get("early_stopping")
    parts = [
        "## Scores",
        "Percent, on the development data.",
        _score_table(runs, chosen),
        f"These are the weights of `{chosen.trial}`: {reason}",
        "Training stopped early by scores on the same development data." if stopped else "",
        "## Fine-tuning",
        f"```json\n{tuned}\n```",
        "## Provenance",
        provenance(inputs, commit),
    ]
    return "\n\n".join(part for part in parts if part)


def _score_table(runs: Sequence[Run], chosen: Run) -> str:
    """A row a metric; of a grid, a row a learning rate and metric."""
    head = ("runs", "metric", "n", "median", "mean", "sd", "lowest", "highest", "these weights")
    rows = []
    for group, metrics in summaries(runs).items():
        here = group == "all" or chosen.trial.startswith(f"{group}.seed-")
        for name, found in metrics.items():
            figures = [found[key] for key in ("median", "mean", "sd", "lowest", "highest")]
            cells = ["-" if value is None else f"{value:.2f}" for value in figures]
            own = f"{chosen.metrics[name]:.2f}" if here else "-"
            rows.append((group, name, str(found["n"]), *cells, own))
    return table(head, rows)
