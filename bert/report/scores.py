"""The scores of a run, gathered over trials: read from the score receipts, never computed here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bert.report.labels import task_order
from bert.report.run import Receipt, Receipts
from bert.report.summary import Summary
from bert.tasks.trials import best_rate, parse_trial, scores_these

PRETRAINED = "pretrained"
Rate = float | None


class ScoreError(ValueError):
    """Score receipts that contradict each other or their place."""


@dataclass(frozen=True)
class Runs:
    """What one task scored from one start.

    Attributes:
        headline: The metric that the task is judged by.
        rates: Peak learning rate to metric to summary over the seeds; rates ascending, the headline
            first. The rate is None where the receipt of finetune does not say it.
    """

    headline: str
    rates: Mapping[Rate, Mapping[str, Summary]]

    @property
    def rate(self) -> Rate:
        """The rate that stands for the task: the best median of the headline on the dev data."""
        return best_rate({r: m[self.headline].values.values() for r, m in self.rates.items()})

    @property
    def metrics(self) -> Mapping[str, Summary]:
        """Metric to summary, at that rate."""
        return self.rates[self.rate]

    @property
    def main(self) -> Summary:
        """The headline metric at that rate."""
        return self.metrics[self.headline]


Scores = Mapping[str, Mapping[str, Runs]]


def gather(score: Receipts, finetune: Receipts) -> Scores:
    """Scores as task -> start -> runs, SQuAD first and the pretrained start first.

    Args:
        score: `<task>/<start>/<trial>` to the receipt of the score.
        finetune: The same to the receipt of the fine-tuning, which states the learning rate.

    Raises:
        ScoreError: A receipt tells another task, start or trial than its path, trials of one
            task and start have different metrics, or a learning rate is not that of its trial.
    """
    found: dict[tuple[str, str], dict[Rate, dict[int, Receipt]]] = {}
    for job, receipt in score.items():
        _check_place(job, receipt)
        rates = found.setdefault((receipt["task"], receipt["start"]), {})
        seeds = rates.setdefault(_rate(job, finetune[job]), {})
        seeds[int(receipt["seed"])] = receipt
    scores: dict[str, dict[str, Runs]] = {}
    for task, start in sorted(found, key=_order):
        rates = found[task, start]
        scores.setdefault(task, {})[start] = _runs(f"score/{task}/{start}", rates)
    return scores


def check_runs(finetune: Receipts, score: Receipts) -> None:
    """Refuses a folder in which fine-tuning runs of another configuration are left over.

    Raises:
        ScoreError: A fine-tuning run has no score or the reverse, or runs of one task have
            different configurations (learning rates apart, in a grid); a mean over them would be
            a mean over nothing one chose. Or a score is of other predictions than its run's.
    """
    alone = sorted(set(finetune) ^ set(score))
    if alone:
        stage = "finetune" if alone[0] in score else "score"
        raise ScoreError(
            f"{alone[0]} has no receipt of `{stage}`; expected one for each fine-tuning run. Run "
            f"the rule `{stage}`, or remove the folders of a run that is not configured any more."
        )
    first: dict[str, str] = {}
    for job, receipt in finetune.items():
        task, _, trial = job.split("/")
        known = first.setdefault(task, job)
        grid = trial.startswith("rate-")
        if _settings(receipt, grid) != _settings(finetune[known], grid):
            raise ScoreError(
                f"finetune/{known} and finetune/{job} have different configurations; expected one "
                "for all runs of a task. Remove the folders of the one that is left over."
            )
        if not scores_these(score[job], receipt):
            raise ScoreError(
                f"score/{job}/metrics.json is of other predictions than finetune/{job} holds; "
                "expected the score of these. Run the rule `score` again."
            )


def baselines(receipts: Receipts) -> dict[str, Mapping[str, float]]:
    """Task to metric to the score that needs no learning, in percent, as the receipts state it."""
    return {r["task"]: r["baseline"] for r in receipts.values() if r.get("baseline")}


def _settings(receipt: Receipt, grid: bool) -> dict[str, Any]:
    left_out = {"learning_rate"} if grid else set()
    return {key: value for key, value in receipt["config"].items() if key not in left_out}


def _check_place(job: str, receipt: Receipt) -> None:
    stated = f"{receipt['task']}/{receipt['start']}/{receipt['trial']}"
    if job != stated or parse_trial(receipt["trial"]).seed != receipt["seed"]:
        raise ScoreError(
            f"score/{job}/metrics.json says it is {stated} with seed {receipt['seed']}; expected "
            "the names of its folders. Delete it and run the rule `score` again."
        )


def _rate(job: str, finetune: Receipt) -> Rate:
    """The learning rate that the run was told, which must be that of its name in a grid."""
    stated = finetune["config"].get("learning_rate")
    named = parse_trial(job.rpartition("/")[2]).rate
    if named is not None and (stated is None or f"{stated:g}" != f"{named:g}"):
        raise ScoreError(
            f"finetune/{job}/manifest.json has learning rate {stated}; expected that of its "
            "folder. Delete it and run the rule `finetune` again."
        )
    return None if stated is None else float(stated)


def _order(place: tuple[str, str]) -> tuple[tuple[int, str], bool, str]:
    task, start = place
    return task_order(task), start != PRETRAINED, start


def _runs(where: str, rates: Mapping[Rate, Mapping[int, Receipt]]) -> Runs:
    receipts = [receipt for seeds in rates.values() for receipt in seeds.values()]
    names = sorted({tuple(sorted(receipt["metrics"])) for receipt in receipts})
    headlines = sorted({str(receipt["headline"]) for receipt in receipts})
    if len(names) != 1 or len(headlines) != 1 or headlines[0] not in names[0]:
        listed = [list(found) for found in names]
        raise ScoreError(
            f"The trials of {where} have the metrics {listed} with headline "
            f"{', '.join(headlines)}; expected the same metrics in each, and one headline among "
            "them. Run the rule `score` again for all trials."
        )
    metrics = sorted(names[0], key=lambda metric: (metric != headlines[0], metric))
    ordered = sorted(rates, key=lambda rate: rate or 0.0)
    return Runs(
        headlines[0],
        {rate: {metric: _summary(rates[rate], metric) for metric in metrics} for rate in ordered},
    )


def _summary(seeds: Mapping[int, Receipt], metric: str) -> Summary:
    return Summary({seed: float(seeds[seed]["metrics"][metric]) for seed in sorted(seeds)})
