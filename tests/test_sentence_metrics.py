"""GLUE's metrics equal those of scikit-learn and scipy, and are 0 where theirs do not exist."""

import numpy as np
import pytest
from scipy import stats

from bert.tasks.sentence_metrics import accuracy, accuracy_and_f1, correlations, matthews


# By scikit-learn 1.9.1: accuracy_score, f1_score and matthews_corrcoef of (gold, predicted).
@pytest.mark.parametrize(
    ("count", "p", "q", "expected"),
    [
        (23, 5, 9, (0.5217391304347826, 0.6451612903225806, -0.08625819491779428)),
        (101, 7, 3, (0.297029702970297, 0.3364485981308411, -0.1047183923140212)),
        (400, 2, 10, (0.37, 0.39712918660287083, -0.02261748439023818)),
    ],
)
def test_metrics_of_labels_equal_scikit_learns(
    count: int, p: int, q: int, expected: tuple[float, ...]
) -> None:
    index = np.arange(count)
    gold, predicted = (index * index % 11 < p).astype(float), (index * 7 % 13 < q).astype(float)
    found = accuracy_and_f1(gold, predicted) | matthews(gold, predicted)
    assert found == pytest.approx(
        dict(zip(("accuracy", "f1", "matthews"), np.array(expected) * 100, strict=True)), rel=1e-13
    )


def test_matthews_correlation_is_pearsons_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    for share in (0.1, 0.5, 0.9):
        gold, predicted = (rng.random((2, 500)) < share).astype(float)
        expected = 100 * stats.pearsonr(gold, predicted).statistic
        assert matthews(gold, predicted)["matthews"] == pytest.approx(expected, abs=1e-10)


def test_matthews_worked_by_hand() -> None:
    # 2 found, 1 false, 1 missed, 1 rightly left out: (2 x 1 - 1 x 1) / sqrt(3 x 3 x 2 x 2).
    gold, predicted = np.array([1, 1, 1, 0, 0]), np.array([1, 0, 1, 1, 0])
    assert matthews(gold, predicted)["matthews"] == pytest.approx(100 / 6)
    assert matthews(gold, gold) == {"matthews": 100.0}
    assert matthews(gold, 1 - gold) == {"matthews": -100.0}


@pytest.mark.parametrize("predicted", [[1, 1, 1], [0, 0, 0]])
def test_one_answer_for_everything_has_a_matthews_correlation_of_0(predicted: list[int]) -> None:
    assert matthews(np.array([1, 0, 1]), np.array(predicted)) == {"matthews": 0.0}
    assert matthews(np.array(predicted), np.array([1, 0, 1])) == {"matthews": 0.0}
    assert matthews(np.array(predicted), np.array(predicted)) == {"matthews": 0.0}


def test_matthews_of_many_labels_does_not_overflow() -> None:
    gold = np.tile([0.0, 1.0], 200_000)
    assert matthews(gold, gold) == {"matthews": 100.0}


def test_f1_is_0_where_nothing_is_found() -> None:
    assert accuracy_and_f1(np.zeros(2), np.zeros(2)) == {"accuracy": 100.0, "f1": 0.0}
    assert accuracy_and_f1(np.ones(2), np.zeros(2)) == {"accuracy": 0.0, "f1": 0.0}


def test_accuracy_counts_any_number_of_labels() -> None:
    assert accuracy(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])) == {"accuracy": 50.0}


@pytest.mark.parametrize("steps", [2, 5, 1000])
def test_correlations_equal_scipys_with_ties(steps: int) -> None:
    rng = np.random.default_rng(steps)
    for count in (2, 3, 50, 999):
        gold = np.round(rng.random(count) * steps) * 5 / steps
        predicted = np.round((gold + rng.normal(size=count)) * steps) / steps
        gold[0], predicted[0] = gold[1] + 1, predicted[1] - 1  # neither side is constant
        assert correlations(gold, predicted) == {
            "pearson": pytest.approx(100 * stats.pearsonr(gold, predicted).statistic, abs=1e-9),
            "spearman": pytest.approx(100 * stats.spearmanr(gold, predicted).statistic, abs=1e-9),
        }


def test_ties_share_the_mean_of_their_ranks() -> None:
    # Ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4: a covariance of 4.5 over sqrt(4.5 x 5).
    found = correlations(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found["spearman"] == pytest.approx(100 * 4.5 / (4.5 * 5) ** 0.5)


def test_a_constant_side_has_a_correlation_of_0() -> None:
    line, constant = np.array([0.0, 1.0, 2.0]), np.full(3, 0.1)
    for sides in [(line, constant), (constant, line), (constant, constant)]:
        assert correlations(*sides) == {"pearson": 0.0, "spearman": 0.0}
    assert correlations(np.array([1.0]), np.array([2.0])) == {"pearson": 0.0, "spearman": 0.0}


def test_a_perfect_correlation_is_100() -> None:
    values = np.random.default_rng(5).random(1000)
    assert correlations(values, values) == {"pearson": 100.0, "spearman": 100.0}
    assert correlations(values, values**3)["spearman"] == 100.0
    assert correlations(values, -values) == {"pearson": -100.0, "spearman": -100.0}


@pytest.mark.parametrize("factor", [1e-150, 1.0, 1e150])
def test_a_correlation_does_not_depend_on_the_scale(factor: float) -> None:
    line = np.array([1.0, 2.0, 4.0])
    found = correlations(line, factor * np.array([1.0, 3.0, 4.0]))
    assert found == pytest.approx(correlations(line, np.array([1.0, 3.0, 4.0])))
    assert correlations(line, -line * factor)["spearman"] == pytest.approx(-100)
