import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.optim.config import ScheduleConfig
from bert.optim.schedule import (
    learning_rate_factor,
    learning_rate_scaling,
    timed_learning_rate_factor,
)


def config(name="polynomial", warmup=0.4, degree=0.5, **changes):
    values = {
        "name": name,
        "warmup_proportion": warmup,
        "warmup_steps": None,
        "warmup_start": 0,
        "degree": degree,
        "end_factor": None if name == "constant" else 0.0,
        "steps_before": 0,
        "total_steps": None,
    }
    return check(ScheduleConfig, values | changes, where="test")


def steps(name, warmup_steps, degree, **changes):
    return config(name, None, degree, warmup_steps=warmup_steps, **changes)


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
        (
            config("linear", degree=None, end_factor=0.2),
            {3: 0.75, 5: 1.0, 6: 0.2 + 0.8 * 5 / 6, 10: 0.2 + 0.8 / 6, 11: 0.2, 99: 0.2},
        ),
        (
            config("cosine", degree=None),
            {
                1: 0.25,
                4: 1.0,
                5: 1.0,
                7: (1 + math.cos(math.pi / 3)) / 2,
                8: 0.5,
                10: (1 + math.cos(math.pi * 5 / 6)) / 2,
                11: 0.0,
            },
        ),
        (config("cosine", 0.4, None, end_factor=0.5), {3: 0.75, 5: 1.0, 8: 0.75, 11: 0.5}),
        (config("constant", degree=None), {1: 0.25, 3: 0.75, 4: 1.0, 10: 1.0, 11: 1.0}),
        (config(warmup=0.0), {1: 1.0, 2: math.sqrt(0.9), 10: math.sqrt(0.1), 11: 0.0, 99: 0.0}),
        (steps("polynomial", 4, 0.5), {1: 0.25, 3: 0.75, 4: math.sqrt(0.7), 11: 0.0}),
        (steps("linear", 10, None), {1: 0.1, 9: 0.9, 10: 1.0, 11: 0.0}),
        (steps("constant", 100, None), {1: 0.01, 10: 0.1}),
        # The warm-up of 8 began 3 steps early: 4/8, 5/8, ... up to step 4, then the decay.
        (
            steps("polynomial", 8, 1.0, warmup_start=-3),
            {1: 0.5, 2: 0.625, 4: 0.875, 5: 0.6, 10: 0.1, 11: 0.0},
        ),
        (
            steps("linear", 8, None, warmup_start=-3),
            {1: 0.5, 4: 0.875, 5: 1.0, 6: 1.0, 7: 0.8, 10: 0.2, 11: 0.0},
        ),
        (steps("linear", 2, None, warmup_start=-5), {1: 1.0, 2: 0.9, 10: 0.1}),
        # A schedule that ends before the phase does stays at its end.
        (steps("polynomial", 0, 1.0, total_steps=5, end_factor=0.1), {1: 1.0, 5: 0.28, 6: 0.1}),
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


def test_it_is_the_published_code_of_nvidia_one_step_earlier_in_the_decay():
    """PolyWarmUp at t is ours at t while it rises, and ours at t + 1 while it falls."""
    schedule = config(warmup=0.128)
    for t in range(1, 1563):
        published = t / 1563 / 0.128 if t / 1563 < 0.128 else (1 - t / 1563) ** 0.5
        ours = learning_rate_factor(t + (t / 1563 >= 0.128), 1563, schedule)
        assert ours == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(
    ("warmup", "start", "total", "end"),
    [(287, -76, 600, 0.0), (100, -25, 1271, 0.0), (290, -100, 470, 0.0), (0, 0, 13700, 0.045)],
)
def test_mlperf_is_the_published_code_within_the_step_it_loses(warmup, start, total, end):
    """Offset 0: equal in the warm-up, one step apart in the decay. Offset 1, no warm-up: equal."""
    schedule = steps("polynomial", warmup, 1.0, warmup_start=start, end_factor=end)
    offset = int(start == 0)
    for t in range(1, total + 1):
        if t - offset - start < warmup:
            published, ours = (t - offset - start) / (warmup + 1e-6), t
        else:
            left = 1 - min((t - offset) / total, 1)
            published, ours = (1 - end) * left + end, t + 1 - offset
        assert learning_rate_factor(ours, total, schedule) == pytest.approx(published, rel=1e-7)


def test_google_has_one_schedule_over_both_phases():
    """1,000,000 steps, 900,000 of them in phase 1."""
    one = steps("polynomial", 10_000, 1.0, total_steps=1_000_000)
    two = steps("polynomial", 10_000, 1.0, steps_before=900_000)
    assert learning_rate_factor(1, 900_000, one) == 1e-4
    assert learning_rate_factor(9_999, 900_000, one) == 0.9999
    assert learning_rate_factor(10_000, 900_000, one) == pytest.approx(0.990001)
    assert learning_rate_factor(900_000, 900_000, one) == pytest.approx(0.100001)
    assert learning_rate_factor(1, 100_000, two) == pytest.approx(0.1)
    assert learning_rate_factor(100_000, 100_000, two) == pytest.approx(1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    first=st.integers(1, 40),
    second=st.integers(1, 40),
    warmup=st.integers(0, 90),
    shape=st.sampled_from([("polynomial", 0.5), ("linear", None), ("cosine", None)]),
)
def test_two_phases_of_one_schedule_are_the_schedule_cut_in_two(first, second, warmup, shape):
    name, degree = shape
    whole = steps(name, warmup, degree)
    one = steps(name, warmup, degree, total_steps=first + second)
    two = steps(name, warmup, degree, steps_before=first)
    cut = [learning_rate_factor(t, first, one) for t in range(1, first + 1)]
    cut += [learning_rate_factor(t, second, two) for t in range(1, second + 1)]
    total = first + second
    assert cut == [learning_rate_factor(t, total, whole) for t in range(1, total + 1)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    total=st.integers(1, 200),
    proportion=st.floats(0, 0.99),
    start=st.integers(-20, 0),
    end=st.floats(0, 1),
    shape=st.sampled_from([("polynomial", 0.5), ("polynomial", 3.0), ("linear", None),
                           ("cosine", None), ("constant", None)]),
)  # fmt: skip
def test_every_step_learns_and_none_exceeds_the_peak(total, proportion, start, end, shape):
    name, degree = shape
    changes = {} if name == "constant" else {"end_factor": end}
    schedule = config(name, proportion, degree, warmup_start=start, **changes)
    factors = [learning_rate_factor(step, total, schedule) for step in range(1, total + 50)]
    assert all(0 < factor <= 1 for factor in factors[:total])
    assert factors[total:] == [1.0 if name == "constant" else end] * 49


def test_a_time_budget_by_hand():
    # Izsak et al.: rises over 6 % of the budget, then linear to 0.
    schedule = config("linear", 0.06, None)
    got = {p: timed_learning_rate_factor(p, schedule) for p in (0.0, 0.03, 0.06, 0.53, 1.0, 1.5)}
    assert got == pytest.approx({0.0: 0.0, 0.03: 0.5, 0.06: 1.0, 0.53: 0.5, 1.0: 0.0, 1.5: 0.0})
    assert timed_learning_rate_factor(2.0, config("constant", 0.1, None)) == 1.0
    assert timed_learning_rate_factor(0.5, config("polynomial", 0.1, 1.0)) == 0.5


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"warmup_proportion": None, "warmup_steps": 10}, r"\(10, 0, 0, None\)"),
        ({"warmup_start": -2}, r"\(None, -2, 0, None\)"),
        ({"steps_before": 5}, r"\(None, 0, 5, None\)"),
        ({"total_steps": 50}, r"\(None, 0, 0, 50\)"),
    ],
)
def test_a_time_budget_with_a_schedule_in_steps_is_refused(changes, shown):
    with pytest.raises(ValueError, match=rf"its schedule counts steps: .* is {shown}"):
        timed_learning_rate_factor(0.5, config(**changes))


@pytest.mark.parametrize("progress", [-0.1, math.nan])
def test_progress_below_0_is_refused(progress):
    with pytest.raises(ValueError, match="expected elapsed time / budget"):
        timed_learning_rate_factor(progress, config())


@pytest.mark.parametrize(("step", "total"), [(0, 10), (-1, 10), (1, 0)])
def test_step_zero_is_refused(step, total):
    with pytest.raises(ValueError, match="expected both to be at least 1"):
        learning_rate_factor(step, total, config())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"degree": None}, "degree is None with name polynomial; write a number"),
        ({"name": "linear"}, r"degree is 0.5 with name linear; write null"),
        ({"end_factor": None}, "end_factor is None with name polynomial; write a number"),
        (
            {"name": "constant", "degree": None, "end_factor": 0.0},
            "end_factor is 0.0 with name constant; write null",
        ),
        ({"warmup_steps": 4}, "warmup_proportion is 0.4 and warmup_steps 4; write a number for"),
        ({"warmup_proportion": None}, "warmup_proportion is None and warmup_steps None"),
        ({"steps_before": 9, "total_steps": 9}, "steps_before is 9 of total_steps 9"),
        ({"warmup_start": 1}, "warmup_start is 1"),
    ],
)
def test_keys_of_a_schedule_must_agree(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    ("kind", "expected"), [("none", 1.0), ("square_root", 4.0), ("linear", 16.0)]
)
def test_the_learning_rate_scales_with_the_ranks(kind, expected):
    assert learning_rate_scaling(kind, 16) == expected
    assert learning_rate_scaling(kind, 1) == 1.0
