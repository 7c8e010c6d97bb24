"""The fine-tuning runs of a task: their scores, which one is kept, and what all of them scored."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bert.manifest import read_manifest, sha256_file
from bert.tasks.trials import best_rate, parse_trial, scores_these


class RunsError(ValueError):
    """Scores and weights that do not belong together."""


class Run(NamedTuple):
    """One fine-tuning from pretrained weights.

    Attributes:
        trial: Its name: seed-<n>, or rate-<rate>.seed-<n>.
        headline: Name of the metric that it is judged by.
        metrics: Scores in percent by name.
        weights: Its file of weights.
        receipt: The receipt of the fine-tuning.
    """

    trial: str
    headline: str
    metrics: dict[str, float]
    weights: Path
    receipt: dict[str, Any]

    @property
    def score(self) -> float:
        """The headline score in percent."""
        return self.metrics[self.headline]


def read_runs(scores: Sequence[Path], weights: Sequence[Path], task: str) -> list[Run]:
    """Reads the receipts of a task's runs.

    Args:
        scores: Receipts of `score`, one a run.
        weights: Files of `finetune`, in the same order, each in the folder of its trial and beside
            its receipt.
        task: Name of the task.

    Raises:
        RunsError: Scores and weights are not of the same runs, or of another task; or a score is
            of other predictions.
    """
    if not scores or len(scores) != len(weights):
        raise RunsError(
            f"{len(scores)} scores and {len(weights)} files of weights; expected one of each a "
            "run, and at least one run. Run the workflow, which names them."
        )
    runs = []
    for score, file in zip(scores, weights, strict=True):
        scored = read_manifest(score, stage="score")
        tuned = read_manifest(file.with_name("manifest.json"), stage="finetune")
        found = {
            (scored["task"], scored["start"], scored["seed"], scored["trial"]),
            (tuned["task"], tuned["start"], tuned["seed"], file.parent.name),
        }
        if len(found) != 1 or found.pop()[:2] != (task, "pretrained"):
            raise RunsError(
                f"{score} is of {scored['task']}, {scored['start']}, {scored['trial']}, and {file} "
                f"of {tuned['task']}, {tuned['start']}, {file.parent.name}; expected the same run "
                f"of {task}, pretrained. Delete both and run again."
            )
        if not scores_these(scored, tuned):
            raise RunsError(
                f"{score} is of other predictions than {file.parent} holds; expected the score of "
                "these weights. Delete it and run the rule `score` again."
            )
        runs.append(Run(scored["trial"], scored["headline"], scored["metrics"], file, tuned))
    return runs


def check_weights(run: Run) -> str:
    """The sha256 of a run's weights, compared with its receipt.

    Raises:
        RunsError: They are not those that the receipt speaks of.
    """
    digest = sha256_file(run.weights)
    if digest != run.receipt["weights"]:
        raise RunsError(
            f"{run.weights} is not the file that the receipt beside it speaks of: its sha256 is "
            f"{digest}, expected {run.receipt['weights']}. Delete both and run again."
        )
    return digest


def check_vocabulary(run: Run, sha256: str) -> None:
    """Compares the digest of a vocabulary with that of the one a run was tuned with.

    Raises:
        RunsError: It is another one, whose tokens would be other rows of the weights.
    """
    tuned = run.receipt["inputs"].get("vocabulary")
    if tuned != sha256:
        raise RunsError(
            f"{run.weights} was tuned with the vocabulary {tuned}; given is {sha256}, expected "
            "the same. Run `finetune` again, or publish with its vocabulary."
        )


def pick(runs: Sequence[Run], how: Literal["best", "median"]) -> Run:
    """The run with the best headline score, or the (lower) median one; of equal ones the first.

    In a grid of learning rates the median is that of the rate with the best one, which stands for
    the task in the report, too: the median of all would be a run of a rate that nobody would take.
    """
    if how == "best":
        return max(runs, key=lambda run: run.score)
    rates: dict[float | None, list[Run]] = {}
    for run in runs:
        rates.setdefault(parse_trial(run.trial).rate, []).append(run)
    some = rates[best_rate({rate: [run.score for run in found] for rate, found in rates.items()})]
    return sorted(some, key=lambda run: run.score)[(len(some) - 1) // 2]


def summaries(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, float | None]]]:
    """What all runs scored.

    Returns:
        Group ("rate-<rate>" of a grid, or "all") to metric to n, median, mean, sd (with n - 1 in
        the denominator; None for one run), lowest and highest, in percent.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.trial.rpartition(".seed-")[0] or "all", []).append(run)
    return {
        group: {name: _summary([run.metrics[name] for run in some]) for name in some[0].metrics}
        for group, some in groups.items()
    }


def _summary(values: list[float]) -> dict[str, float | None]:
    return {
        "n": len(values),
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "lowest": min(values),
        "highest": max(values),
    }
