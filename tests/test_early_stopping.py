"""When dev scores are due, which weights stay, and when training ends."""

import pytest
import torch

from bert.config import check
from bert.train.early_stopping import Standing, due, is_over, judge
from bert.train.finetune_config import EarlyStopping
from tests.finetuning import dev_set, lines, make_features, outputs_of, train, tuning
from tests.training import Stop


def stopping(every=1.0, patience=2):
    return check(EarlyStopping, {"every": every, "patience": patience}, where="a test")


@pytest.mark.parametrize(
    ("every", "batch", "steps"),
    [
        (1.0, 8, [3, 5, 8, 10]),  # of 20 features each: 24, 40, 64 and 80 are seen
        (0.5, 8, [2, 3, 4, 5, 7, 8, 9, 10]),
        (2.0, 20, [2, 4]),
        (0.1, 4, list(range(1, 21))),  # a step crosses two multiples: one score
    ],
)
def test_scores_are_due_when_a_multiple_is_reached_or_crossed(every, batch, steps):
    last = 80 // batch
    found = [
        step
        for step in range(1, last + 1)
        if due((step - 1) * batch, step * batch, 20, stopping(every))
    ]

    assert found == steps


def test_ten_tenths_of_an_epoch_are_an_epoch():
    """In floating point 3 * 0.1 is above 0.3, and 300 of 1,000 features would be too few."""
    found = [step for step in range(1, 101) if due(10 * step - 10, 10 * step, 1000, stopping(0.1))]

    assert found == list(range(10, 101, 10))


def test_the_first_of_equal_scores_is_the_best():
    standing = Standing()
    found = []
    for step, score in enumerate([50.0, 60.0, 60.0, 55.0, 61.0], start=1):
        standing = judge(standing, step, score)
        found.append((standing, is_over(standing, stopping(patience=2))))

    assert found == [
        ((50.0, 1, 0), False),
        ((60.0, 2, 0), False),
        ((60.0, 2, 1), False),
        ((60.0, 2, 2), True),
        ((61.0, 5, 0), False),
    ]
    assert not is_over(Standing(60.0, 2, 9), None)


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="dev score after step 7 is nan"):
        judge(Standing(), 7, float("nan"))


def test_training_ends_by_hand_made_scores_with_the_best_weights(tmp_path):
    """64 features, 8 a step: a score every 8 steps; the second of five is the best."""
    setting = tuning(epochs=9, early_stopping={"every": 1, "patience": 3})
    scores = [50.0, 70.0, 70.0, 60.0, 65.0]
    ended, network = train(setting, tmp_path / "a", dev=dev_set("sentence", scores))

    assert ended == (40, (70.0, 16, 3))
    found = [
        (line["step"], line["accuracy"], line["best"]) for line in lines(tmp_path / "a", "evaluate")
    ]
    assert found == [
        (8, 50.0, True),
        (16, 70.0, True),
        (24, 70.0, False),
        (32, 60.0, False),
        (40, 65.0, False),
    ]
    # The same schedule, left at the step that was best: the same weights.
    _, at_16 = train(tuning(epochs=9), tmp_path / "b", stop=Stop(16))
    assert all(
        torch.equal(value, at_16.state_dict()[name]) for name, value in network.state_dict().items()
    )


def test_the_last_step_is_scored_and_may_be_the_best(tmp_path):
    setting = tuning(epochs=1.5, early_stopping={"every": 1, "patience": 1})
    ended, _ = train(setting, tmp_path, dev=dev_set("sentence", [50.0, 51.0]))

    assert ended == (12, (51.0, 12, 0))
    assert [line["step"] for line in lines(tmp_path, "evaluate")] == [8, 12]
    assert len(lines(tmp_path)) == 12


def test_a_score_changes_no_later_step(tmp_path):
    """Prediction between two steps leaves dropout and order as they were."""
    plain, scored = tuning(), tuning(early_stopping={"every": 0.25, "patience": 99})
    train(plain, tmp_path / "plain")
    train(scored, tmp_path / "scored")

    assert lines(tmp_path / "plain") == lines(tmp_path / "scored")


def test_the_best_score_is_that_of_the_weights_at_the_end(tmp_path):
    setting = tuning(epochs=8, learning_rate=2e-2, early_stopping={"every": 0.5, "patience": 4})
    ended, network = train(setting, tmp_path)

    best = max(line["accuracy"] for line in lines(tmp_path, "evaluate"))
    assert ended.standing.score == dev_set("sentence").scores(network, setting)["accuracy"]
    assert ended.standing.score == pytest.approx(best, rel=1e-6)
    assert len(outputs_of(network, make_features(3, "sentence"), setting)) == 3
