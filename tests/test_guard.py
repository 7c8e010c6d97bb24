import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.train.config import GuardConfig
from bert.train.guard import Guard, NonFiniteError, Spike, Verdict, rollback_step

NAN, INF = math.nan, math.inf
OK, SKIP, ROLLBACK, STOP = Verdict.OK, Verdict.SKIP, Verdict.ROLLBACK, Verdict.STOP
BASE = {"max_skipped": 2, "then": "stop", "max_rollbacks": 0, "rollback_factor": 0.5, "spike": 2.0}
ROLLING = {"then": "rollback", "max_rollbacks": 2}


def config(**changes):
    return check(GuardConfig, BASE | changes, where="a test")


def verdicts(guard, losses, first=1):
    return [guard.judge(step, loss, 1.0, False) for step, loss in enumerate(losses, first)]


@pytest.mark.parametrize(("loss", "norm"), [(NAN, 1.0), (2.0, NAN), (2.0, INF), (-INF, INF)])
def test_a_step_is_ok_only_with_finite_loss_and_gradient(loss, norm):
    assert Guard(config()).judge(1, 2.0, 1.0, False) is OK
    assert Guard(config()).judge(1, loss, norm, False) is SKIP


def test_the_run_stops_after_as_many_skipped_steps_in_a_row_as_are_allowed():
    assert verdicts(Guard(config()), [1, NAN, NAN, NAN]) == [OK, SKIP, SKIP, STOP]
    assert verdicts(Guard(config(max_skipped=0)), [1, NAN]) == [OK, STOP]


def test_a_good_step_ends_the_row():
    guard = Guard(config())

    assert verdicts(guard, [NAN, NAN, 1, NAN, NAN, 1]) == [SKIP, SKIP, OK, SKIP, SKIP, OK]
    assert guard.skipped == 0


def test_an_overflow_that_the_loss_scale_expects_is_skipped_and_not_counted():
    guard = Guard(config(max_skipped=0))

    assert [guard.judge(n, 2.0, INF, True) for n in range(1, 30)] == [SKIP] * 29
    assert guard.skipped == 0
    assert guard.judge(30, 2.0, INF, False) is STOP


def test_an_expected_overflow_does_not_end_a_row():
    guard = Guard(config(max_skipped=1))

    found = [guard.judge(n, 2.0, INF, expected) for n, expected in enumerate([False, True, False])]

    assert found == [SKIP, SKIP, STOP]


def test_a_loss_that_is_not_finite_is_never_expected():
    """The loss is scaled after the forward pass: a lower scale cannot mend it."""
    assert Guard(config(max_skipped=0)).judge(1, NAN, NAN, True) is STOP


def test_rollbacks_are_counted_and_lower_the_learning_rate_until_none_is_left():
    guard = Guard(config(max_skipped=1, **ROLLING))
    factors = []
    for _ in range(2):
        assert verdicts(guard, [1, NAN, NAN]) == [OK, SKIP, ROLLBACK]
        guard.roll_back(None)
        factors.append(guard.learning_rate_factor)

    assert factors == [0.5, 0.25]
    assert verdicts(guard, [1, NAN, NAN]) == [OK, SKIP, STOP]


def test_reports_are_due_for_the_first_of_a_row_and_for_the_last_step_before_the_end():
    guard = Guard(config(max_skipped=3))
    due = []
    for step, loss in enumerate([1, NAN, NAN, 1, NAN, NAN, NAN, NAN], 1):
        if guard.report_due(guard.judge(step, loss, 1.0, False)):
            due.append(step)

    assert due == [2, 5, 8]


def test_no_report_is_due_for_an_expected_overflow():
    guard = Guard(config())

    assert not guard.report_due(guard.judge(1, 2.0, INF, True))


def test_the_error_says_where_it_broke_and_what_to_do():
    guard = Guard(config(max_skipped=1))
    verdicts(guard, [1.0, NAN], first=10)
    guard.judge(12, 3.5, INF, False)

    error = guard.error(12, 3.5, INF, Path("out/diagnostics/phase1-step12"))

    assert isinstance(error, NonFiniteError)
    assert str(error).startswith(
        "Step 12 has loss 3.5 and gradient norm inf; both must be finite. It is the 2. such step "
        "in a row, from step 11 on; guard.max_skipped is 1."
    )
    assert "the weights of step 10. out/diagnostics/phase1-step12 holds" in str(error)
    assert "lower learning_rate" in str(error)


def test_a_line_for_the_log_says_how_far_it_has_come():
    guard = Guard(config(max_skipped=1, **ROLLING))
    lines = []
    for step, (norm, expected) in enumerate([(INF, True), (NAN, False), (INF, False)], 5):
        verdict = guard.judge(step, 2.0, norm, expected)
        lines.append(guard.message(verdict, step, 2.0, norm))

    assert lines == [
        "step 5 has loss 2 and gradient norm inf: skipped, the loss scale is lowered",
        "step 6 has loss 2 and gradient norm nan: skipped (1 in a row, 1 may be skipped)",
        "step 7 has loss 2 and gradient norm inf: rollback 1 of 2 (2 in a row, 1 may be skipped)",
    ]


def test_a_spike_is_told_once_with_the_mean_that_it_left():
    guard = Guard(config())
    losses = [3.0] * 20 + [6.0, 6.1, 9.0, 3.0, 20.0]

    found = [guard.spike(loss) for loss in losses]

    assert found[:21] == [None] * 21, "6.0 is twice the mean, not more"
    mean = (20 * 3.0 + 6.0) / 21
    assert found[21] is None, "6.1 is less than twice 3.14"
    mean = (mean * 21 + 6.1) / 22
    assert found[22] == Spike(9.0, pytest.approx(mean))
    assert found[23] is None
    assert found[24] is not None
    assert found[22].message(23) == (
        "loss spike at step 23: 9 is 2.7 times the running mean of 3.277. If it does not come "
        "down again, lower learning_rate."
    )


def test_a_high_stretch_is_one_spike():
    guard = Guard(config())

    found = [guard.spike(loss) for loss in [1.0] * 50 + [5.0] * 5 + [1.0] + [5.0]]

    assert [n for n, spike in enumerate(found) if spike] == [50, 56]


def test_nothing_is_a_spike_in_the_first_twenty_steps_or_when_switched_off():
    assert not any(Guard(config()).spike(loss) for loss in [1.0] * 19 + [50.0])
    assert not any(Guard(config(spike=None)).spike(loss) for loss in [1.0] * 40 + [50.0])


def test_the_running_mean_forgets_with_decay_099():
    guard = Guard(config(spike=None))
    for loss in [4.0] * 100 + [2.0] * 50:
        guard.spike(loss)

    assert guard.state()["mean"] == pytest.approx(2.0 + 2.0 * 0.99**50)


def test_the_state_is_plain_json_and_goes_on_as_if_never_saved():
    losses = [2.0] * 30 + [NAN, 9.0, NAN, NAN, NAN]
    whole, cut = Guard(config(**ROLLING)), Guard(config(**ROLLING))
    expected, found = [], []
    for step, loss in enumerate(losses, 1):
        expected.append(
            (whole.judge(step, loss, 1.0, False), math.isnan(loss) or whole.spike(loss))
        )
        resumed = Guard(config(**ROLLING))
        resumed.load(json.loads(json.dumps(cut.state(), allow_nan=False)))
        cut = resumed
        found.append((cut.judge(step, loss, 1.0, False), math.isnan(loss) or cut.spike(loss)))

    assert found == expected
    assert cut.state() == whole.state()


def test_a_checkpoint_saved_because_a_job_ended_is_not_gone_back_to():
    scheduled = [100, 200, 300].__contains__

    assert rollback_step([100, 200, 230], scheduled) == 200
    assert rollback_step([37], scheduled) is None
    assert rollback_step([], scheduled) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"then": "rollback"}, "max_rollbacks is 0 with then: rollback; write at least 1"),
        ({"max_rollbacks": 2}, "max_rollbacks is 2 with then: stop; write 0"),
        ({"rollback_factor": 1.0}, "rollback_factor is 1.0; it must be less than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        config(**changes)


# A training run in miniature: the weights are the list of updates that went into them, and a step
# fails as a function of the weights and the learning rate, as real steps do.

STEPS, EVERY = 40, 5
WILD = config(max_skipped=2, then="rollback", max_rollbacks=3)


class KilledError(Exception):
    """The end of a job at any moment."""


def toy_loss(step, weights, factor, bad):
    """A step of `bad` fails until the learning rate is low enough for it."""
    return NAN if factor > bad.get(step, 1.0) else 1.0 + hash((step, len(weights))) % 7


def toy_run(disk, bad, moments):
    """Trains to the end from what is on `disk`; raises at the next of the `moments`.

    A moment is a number of steps of this job, and whether it was asked to stop (and saves) or was
    killed.
    """
    guard = Guard(WILD)
    start = max(disk, default=0)
    weights = list(disk[start][0]) if start else []
    if start:
        guard.load(disk[start][1])
    ends_at, saves = moments.pop(0) if moments else (None, False)
    step, worked = start + 1, 0
    while step <= STEPS:
        loss = toy_loss(step, weights, guard.learning_rate_factor, bad)
        verdict = guard.judge(step, loss, 1.0, False)
        if verdict is STOP:
            return ("stopped", step, tuple(weights), guard.state())
        if verdict is ROLLBACK:
            target = rollback_step(disk, lambda s: s % EVERY == 0)
            for newer in [s for s in disk if s > (target or 0)]:
                del disk[newer]
            weights = list(disk[target][0]) if target else []
            guard.roll_back(disk[target][1] if target else None)
            step = target or 0
        elif verdict is OK:
            weights.append((step, guard.learning_rate_factor))
            guard.spike(loss)
        worked += 1
        ending = worked == ends_at
        save = verdict is not ROLLBACK and not guard.skipped
        if save and (step % EVERY == 0 or (ending and saves)):
            disk[step] = (tuple(weights), guard.state())
        if ending:
            raise KilledError
        step += 1
    return ("done", STEPS, tuple(weights), guard.state())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    bad=st.dictionaries(st.integers(1, STEPS), st.sampled_from([0.0, 0.2, 0.3, 0.6]), max_size=12),
    moments=st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=6),
)
def test_a_run_with_rollbacks_ends_the_same_wherever_it_was_killed_or_stopped(bad, moments):
    expected = toy_run({}, bad, [])
    disk, left = {}, list(moments)
    while True:
        try:
            found = toy_run(disk, bad, left)
            break
        except KilledError:
            continue

    assert found == expected
