"""What is said of one metric over several seeds."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bert.report.config import Pick
from bert.report.student import t_quantile

_LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """One metric of one task, start and learning rate, over the seeds.

    Attributes:
        values: Seed to score in percent, seeds ascending.
    """

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def median(self) -> float:
        """Median over the seeds."""
        return statistics.median(self.values.values())

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def sd(self) -> float | None:
        """Standard deviation with n - 1 in the denominator; None for a single seed."""
        return statistics.stdev(self.values.values()) if self.n > 1 else None

    @property
    def best(self) -> float:
        """Highest of the seeds."""
        return max(self.values.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the mean (Student's t); None for a single seed."""
        if self.sd is None:
            return None
        half = t_quantile(_LEVEL, self.n - 1) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def standing(self, pick: Pick) -> float:
        """The number that stands for the task: the median or the best of the seeds."""
        return self.best if pick == "best" else self.median
