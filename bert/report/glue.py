"""The GLUE average: the mean over its tasks, each standing for the mean of its own metrics.

Wang et al. 2019, GLUE: the metrics of one task are averaged first (accuracy and F1, the two
correlations, the two halves of MNLI). WNLI's dev set is adversarial to its training set, so many
leave it out (Devlin et al. 2019, section 4.1): both averages are shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

from bert.report.labels import known_task
from bert.report.scores import Runs, Scores
from bert.report.summary import Summary

_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")


@dataclass(frozen=True)
class Average:
    """A mean over tasks from one start.

    Attributes:
        name: What it is the mean of.
        start: Start of the runs.
        tasks: Task of GLUE to its runs.
    """

    name: str
    start: str
    tasks: Mapping[str, Runs]

    def of(self, number: Callable[[Summary], float]) -> float:
        """The average of one number of the summaries, such as their median; in percent."""
        return fmean(fmean(map(number, runs.metrics.values())) for runs in self.tasks.values())


def glue_averages(scores: Scores) -> list[Average]:
    """With and without WNLI for each start that all nine tasks have; else none."""
    starts: dict[str, dict[str, Runs]] = {}
    for task, found in scores.items():
        for start, runs in found.items():
            if known_task(task) in _TASKS:
                starts.setdefault(start, {})[known_task(task)] = runs
    averages = []
    for start, tasks in starts.items():
        if set(tasks) == set(_TASKS):
            without = {name: runs for name, runs in tasks.items() if name != "wnli"}
            averages += [
                Average("GLUE average", start, tasks),
                Average("GLUE average without WNLI", start, without),
            ]
    return averages
