"""GLUE's metrics of labels and values, in percent.

They equal those of scikit-learn and scipy, which GLUE's own baselines call, but are 0 in place of
NaN where a correlation does not exist because one side is constant.

Source: Wang et al. 2018, section 3; nyu-mll/GLUE-baselines.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


def accuracy(gold: Numbers, predicted: Numbers) -> dict[str, float]:
    """Share of right labels.

    Args:
        gold: Labels, [N].
        predicted: Labels, [N].
    """
    return {"accuracy": 100.0 * int((gold == predicted).sum()) / len(gold)}


def accuracy_and_f1(gold: Numbers, predicted: Numbers) -> dict[str, float]:
    """Accuracy, and F1 of label 1; F1 is 0 where no 1 is found.

    Args:
        gold: Labels 0 and 1, [N].
        predicted: Labels, [N].
    """
    found = int(((gold == 1) & (predicted == 1)).sum())
    marked = int((gold == 1).sum() + (predicted == 1).sum())
    return accuracy(gold, predicted) | {"f1": 100.0 * 2 * found / marked if marked else 0.0}


def matthews(gold: Numbers, predicted: Numbers) -> dict[str, float]:
    """Matthews correlation of labels 0 and 1; 0 where either side is constant.

    Args:
        gold: Labels 0 and 1, [N].
        predicted: Labels 0 and 1, [N].
    """
    both, neither = (int(((gold == y) & (predicted == y)).sum()) for y in (1, 0))
    in_gold, in_predicted = int((gold == 1).sum()), int((predicted == 1).sum())
    false, missed = in_predicted - both, in_gold - both
    # Integers: no product is too large for Python.
    spread = in_gold * in_predicted * (len(gold) - in_gold) * (len(gold) - in_predicted)
    value = (both * neither - false * missed) / math.sqrt(spread) if spread else 0.0
    return {"matthews": 100.0 * value}


def correlations(gold: Numbers, predicted: Numbers) -> dict[str, float]:
    """Correlations of values after Pearson and Spearman; 0 where either side is constant.

    Args:
        gold: Values, [N].
        predicted: Values, [N].
    """
    ranks = _ranks(gold), _ranks(predicted)
    return {"pearson": 100.0 * _pearson(gold, predicted), "spearman": 100.0 * _pearson(*ranks)}


def _pearson(x: Numbers, y: Numbers) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return 0.0
    x, y = _centred(x), _centred(y)
    value = math.fsum(x * y) / math.sqrt(math.fsum(x * x) * math.fsum(y * y))
    return min(1.0, max(-1.0, value))


def _centred(values: Numbers) -> Numbers:
    """Values less their mean, the largest 1, so that no product overflows.

    Sums are exactly rounded, and so the same on every processor.
    """
    values = values.astype(np.float64)
    values -= math.fsum(values) / len(values)
    values /= np.abs(values).max()
    return values


def _ranks(values: Numbers) -> Numbers:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Numbers = (last - (count - 1) / 2)[place]
    return ranks
