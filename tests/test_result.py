import math
import shutil

import pytest
import torch

from bert.checkpoints.checkpoint import (
    CheckpointError,
    checkpoint_digests,
    load_checkpoint,
    step_folder,
    write_checkpoint,
)
from bert.checkpoints.config import ResultConfig
from bert.checkpoints.result import (
    averaged_steps,
    best_step,
    hand_on,
    held_out_loss,
    prune_snapshots,
    takes_snapshot,
    write_snapshot,
)

LAST = ResultConfig(weights="last", average_last=None, average_every=None)
BEST = ResultConfig(weights="best", average_last=None, average_every=None)


def average(last=3, every=10):
    return ResultConfig(weights="average", average_last=last, average_every=every)


def save(running, step, value=0.0, **state):
    parts = {
        "model": {"w": torch.full((2,), value), "b": torch.tensor(value)},
        "optimizer": {"exp_avg:w": torch.full((2,), value + 100)},
        "preconditioner": {"a:w": torch.full((2, 2), value + 200)},
    }
    write_checkpoint(step_folder(running, step), parts, {"step": step} | state)


def snapshots(running):
    return sorted(int(path.stem.partition("-")[2]) for path in (running / "average").iterdir())


def test_the_held_out_loss_is_the_sum_of_both_losses():
    assert held_out_loss({"mlm_loss": 2.25, "nsp_loss": 0.5, "mlm_accuracy": 0.4}) == 2.75
    assert held_out_loss({"mlm_loss": 2.25, "nsp_loss": None}) == 2.25
    assert held_out_loss({"mlm_loss": 2.25}) == 2.25


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_held_out_loss_that_is_not_finite_is_none(value):
    assert held_out_loss({"mlm_loss": value, "nsp_loss": 0.5}) is None


def test_the_best_is_the_lowest_loss_and_the_first_of_equal_ones(tmp_path):
    for step, loss in [(10, 3.0), (20, None), (30, 2.0), (40, 2.0), (50, 2.5)]:
        save(tmp_path, step, held_out_loss=loss)
    save(tmp_path, 60)

    assert best_step(tmp_path) == 30


def test_there_is_no_best_without_an_evaluation(tmp_path):
    save(tmp_path, 10)

    assert best_step(tmp_path) is None
    with pytest.raises(CheckpointError, match="no checkpoint with a held-out loss"):
        hand_on(tmp_path, 10, tmp_path / "output", BEST)


def test_the_best_checkpoint_is_handed_on_as_it_is(tmp_path):
    running = tmp_path / "running"
    save(running, 10, 1.0, held_out_loss=2.0)
    save(running, 20, 2.0, held_out_loss=3.0)

    assert hand_on(running, 20, tmp_path / "output", BEST) == [10]

    expected = checkpoint_digests(step_folder(running, 10))
    assert checkpoint_digests(tmp_path / "output") == expected
    assert load_checkpoint(tmp_path / "output").state["step"] == 10


def test_the_last_checkpoint_is_handed_on_as_it_is(tmp_path):
    running = tmp_path / "running"
    save(running, 10, 1.0, held_out_loss=2.0)
    save(running, 20, 2.0, held_out_loss=3.0)

    assert hand_on(running, 20, tmp_path / "output", LAST) == [20]
    assert load_checkpoint(tmp_path / "output").state["step"] == 20


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (100, [80, 90, 100]),
        (95, [80, 90, 95]),  # an end that is no multiple
        (91, [80, 90, 91]),
        (20, [10, 20]),  # step 0 has the random weights
        (7, [7]),
    ],
)
def test_the_last_step_and_the_multiples_before_it_are_averaged(last, expected):
    assert averaged_steps(last, average()) == expected


def test_snapshots_are_taken_at_multiples_and_for_an_average_alone():
    assert [step for step in range(1, 31) if takes_snapshot(step, average())] == [10, 20, 30]
    assert not any(takes_snapshot(step, BEST) for step in range(1, 31))


def test_the_average_by_hand_has_the_moments_of_the_last_step(tmp_path):
    running = tmp_path / "running"
    for step, value in [(10, 99.0), (20, 1.0), (30, 2.0)]:
        write_snapshot(running, step, {"w": torch.full((2,), value), "b": torch.tensor(value)})
    save(running, 35, 6.0, held_out_loss=1.5)

    assert hand_on(running, 35, tmp_path / "output", average()) == [20, 30, 35]

    loaded = load_checkpoint(tmp_path / "output")
    assert loaded.model["w"].tolist() == [3.0, 3.0]
    assert loaded.model["b"].item() == 3.0
    assert loaded.model["w"].dtype == torch.float32
    assert loaded.optimizer["exp_avg:w"].tolist() == [106.0, 106.0]
    assert loaded.preconditioner["a:w"].unique().tolist() == [206.0]
    assert loaded.state["averaged_steps"] == [20, 30, 35]
    assert loaded.state["step"] == 35
    assert loaded.state["held_out_loss"] is None  # that of other weights


def test_the_average_is_made_in_double_precision(tmp_path):
    """In fp32 2^24 + 1 is 2^24: the ones would be lost on the way."""
    running = tmp_path / "running"
    for step in (10, 20):
        write_snapshot(running, step, {"w": torch.ones(2), "b": torch.tensor(1.0)})
    save(running, 30, 2.0**24)

    hand_on(running, 30, tmp_path / "output", average())

    expected = torch.tensor((2**24 + 2) / 3, dtype=torch.float64).float().item()
    assert load_checkpoint(tmp_path / "output").model["b"].item() == expected


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_missing_or_damaged_weights_are_named_with_what_to_do(tmp_path, how):
    for step in (10, 20):
        write_snapshot(tmp_path, step, {"w": torch.ones(2), "b": torch.tensor(1.0)})
    save(tmp_path, 30)
    file = tmp_path / "average" / "step-00000020.safetensors"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()

    with pytest.raises(CheckpointError, match=r"needs the weights of step 20.*after step 19 and"):
        hand_on(tmp_path, 30, tmp_path / "output", average())
    assert not (tmp_path / "output").exists()


def test_weights_stay_that_a_run_from_its_newest_checkpoint_may_need(tmp_path):
    """From step 45 on the run may end at once: 30, 40, 45. What is newer stays, too."""
    for step in (10, 20, 30, 40, 50):
        write_snapshot(tmp_path, step, {"w": torch.ones(2)})
    prune_snapshots(tmp_path, average())
    assert snapshots(tmp_path) == [10, 20, 30, 40, 50]
    save(tmp_path, 45)

    prune_snapshots(tmp_path, average())
    assert snapshots(tmp_path) == [30, 40, 50]

    shutil.rmtree(step_folder(tmp_path, 45))
    save(tmp_path, 50)
    prune_snapshots(tmp_path, average())
    assert snapshots(tmp_path) == [30, 40, 50]
