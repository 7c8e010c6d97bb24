import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.train.config import EvaluationConfig
from bert.train.evaluation import due, evaluation_samples, reached
from tests.conftest import PHASE


def config(**changes):
    return check(EvaluationConfig, PHASE["evaluation"] | changes, where="a test")


MLPERF = config(every="mlperf", unit="samples")


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        # 0.05 (230.23 batch + 3,000,000) / 25,000, then times 25,000 without its fraction
        (256, 150_000),  # 152,946.9: 6.12
        (448, 150_000),  # 155,157.2: 6.21
        (3072, 175_000),  # 185,363.3: 7.41
        (8192, 225_000),  # 244,302.2: 9.77
        (2171, 150_000),  # 174,991.5: 6.9997, the last batch with a distance of 150,000
        (2172, 175_000),  # 175,003.0: 7.0001
    ],
)
def test_the_mlperf_rule_by_hand(batch, samples):
    assert evaluation_samples(MLPERF, batch) == samples


def test_distances_by_hand():
    assert evaluation_samples(config(every=7, unit="steps"), 32) == 224
    assert evaluation_samples(config(every=7, unit="samples"), 32) == 7


def steps_due(last, batch, **changes):
    return [step for step in range(1, last + 1) if due(step, batch, config(**changes))]


def test_steps_are_evaluated_at_multiples():
    assert steps_due(20, 32, every=6) == [6, 12, 18]


def test_samples_are_evaluated_where_a_multiple_is_reached_or_crossed():
    """Batches of 30 end at 30, 60, 90, 120, 150; multiples of 50 lie at 50, 100, 150."""
    assert steps_due(5, 30, every=50, unit="samples") == [2, 4, 5]


def test_a_step_that_crosses_many_multiples_is_evaluated_once():
    assert steps_due(3, 1000, every=50, unit="samples") == [1, 2, 3]


def test_nothing_is_evaluated_before_from_samples():
    assert steps_due(20, 10, every=3, from_samples=90) == [9, 12, 15, 18]
    assert steps_due(20, 10, every=3, from_samples=91) == [12, 15, 18]
    assert steps_due(9, 30, every=50, unit="samples", from_samples=120) == [4, 5, 7, 9]


def test_mlperf_at_batch_448_is_evaluated_first_at_150_080_samples():
    first = steps_due(700, 448, every="mlperf", unit="samples")

    assert first == [335, 670]  # 335 x 448 = 150,080; 670 x 448 = 300,160


@settings(max_examples=200, deadline=None, derandomize=True)
@given(batch=st.integers(1, 500), every=st.integers(1, 2000), steps=st.integers(1, 300))
def test_evaluations_are_as_many_as_distances_fit_unless_steps_are_longer(batch, every, steps):
    found = len(steps_due(steps, batch, every=every, unit="samples"))

    assert found == (steps * batch // every if batch <= every else steps)


@pytest.mark.parametrize(
    ("accuracy", "target", "expected"),
    [(0.7199, 0.72, False), (0.72, 0.72, True), (0.9, None, False), (1.0, 1.0, True)],
)
def test_the_target_is_reached_from_its_value_on(accuracy, target, expected):
    metrics = {"mlm_accuracy": accuracy, "mlm_loss": 1.0}

    assert reached(metrics, config(target_mlm_accuracy=target)) is expected


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"every": "mlperf"}, "every is mlperf with unit steps; the rule counts samples"),
        ({"every": 0}, "every is 0; expected at least 1, or mlperf"),
    ],
)
def test_a_distance_that_says_nothing_is_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        config(**changes)
