import math

import pytest

from bert.config import ConfigError, check
from bert.optim.config import ScheduleConfig
from bert.optim.schedule import learning_rate_factor


def config(name="polynomial", warmup=0.4, degree=0.5):
    values = {"name": name, "warmup_proportion": warmup, "degree": degree}
    return check(ScheduleConfig, values, where="test")


# Ten steps, warm-up 0.4: steps 1 to 3 rise by quarters, step 4 is the first after the warm-up.
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            config(),
            {1: 0.25, 2: 0.5, 3: 0.75, 4: math.sqrt(0.7), 5: math.sqrt(0.6), 10: math.sqrt(0.1)},
        ),
        (config(degree=1.0), {1: 0.25, 3: 0.75, 4: 0.7, 9: 0.2, 10: 0.1, 11: 0.0}),
        (
            config("linear", degree=None),
            {1: 0.25, 3: 0.75, 4: 1.0, 5: 1.0, 6: 0.5 / 0.6, 10: 0.1 / 0.6, 11: 0.0},
        ),
        (config("constant", degree=None), {1: 0.25, 3: 0.75, 4: 1.0, 10: 1.0, 11: 0.0}),
        (config(warmup=0.0), {1: 1.0, 2: math.sqrt(0.9), 10: math.sqrt(0.1), 11: 0.0, 99: 0.0}),
    ],
)
def test_factor_by_hand(schedule, expected):
    got = {step: learning_rate_factor(step, 10, schedule) for step in expected}
    assert got == pytest.approx(expected)


def test_published_first_phase_has_its_published_numbers():
    # 7038 steps, warm-up 0.2843: 2000 rising steps, then a drop to sqrt(1 - 0.2843) = 0.846.
    schedule = config(warmup=0.2843)
    assert learning_rate_factor(1, 7038, schedule) == pytest.approx(1 / 2000.9034)
    assert learning_rate_factor(2000, 7038, schedule) == pytest.approx(0.99955, abs=1e-5)
    assert learning_rate_factor(2001, 7038, schedule) == pytest.approx(0.84604, abs=1e-4)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "schedule", [config(), config("linear", 0.3, None), config("constant", 0.99, None)]
)
def test_every_step_learns_and_none_exceeds_the_peak(schedule, total):
    factors = [learning_rate_factor(step, total, schedule) for step in range(1, total + 1)]
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize(("step", "total"), [(0, 10), (-1, 10), (1, 0)])
def test_step_zero_is_refused(step, total):
    with pytest.raises(ValueError, match="expected both to be at least 1"):
        learning_rate_factor(step, total, config())


@pytest.mark.parametrize(("name", "degree"), [("polynomial", None), ("linear", 0.5)])
def test_degree_and_shape_must_agree(name, degree):
    with pytest.raises(ConfigError, match="degree is"):
        config(name, 0.1, degree)
