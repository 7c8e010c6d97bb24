import pytest

from bert.checkpoints.checkpoint import list_steps, step_folder
from bert.checkpoints.config import CheckpointConfig
from bert.checkpoints.keep import clear, delete_leftovers, due, kept, prune
from bert.config import check
from tests.conftest import RUNTIME


def config(**changes):
    values = {"every_steps": None, "keep_last": 1, "keep_every": None} | changes
    return check(CheckpointConfig, RUNTIME["checkpoint"] | values, where="a test")


def due_steps(batch, steps, **changes):
    chosen = config(**changes)
    return [
        step for step in range(1, steps + 1) if due(step, (step - 1) * batch, step * batch, chosen)
    ]


def test_a_checkpoint_is_due_at_every_multiple_of_the_steps():
    assert due_steps(16, 13, every_steps=4) == [4, 8, 12]


def test_a_checkpoint_is_due_when_a_multiple_of_the_samples_is_reached_or_crossed():
    # 30, 60, 90, 120, 150, 180: 100 is crossed at 120; 150 is a multiple of 50 and reached.
    assert due_steps(30, 6, every_samples=100) == [4]
    assert due_steps(30, 6, every_samples=50) == [2, 4, 5]


def test_a_step_that_crosses_several_multiples_has_one_checkpoint():
    assert due_steps(100, 3, every_samples=30) == [1, 2, 3]


def test_none_is_due_before_so_many_samples_were_seen():
    assert due_steps(16, 13, every_steps=4, from_samples=128) == [8, 12]
    assert due_steps(16, 13, every_steps=4, from_samples=129) == [12]
    assert due_steps(30, 6, every_samples=50, from_samples=100) == [4, 5]


def test_either_rule_makes_one_due_and_none_without_a_rule():
    assert due_steps(10, 6, every_steps=4, every_samples=30) == [3, 4, 6]
    assert due_steps(10, 6) == []


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "expected"),
    [(1, None, {60}), (2, None, {50, 60}), (1, 20, {20, 40, 60}), (9, 7, {10, 20, 30, 40, 50, 60})],
)
def test_the_newest_and_the_kept_multiples_stay(keep_last, keep_every, expected):
    steps = [10, 20, 30, 40, 50, 60]

    assert kept(steps, config(keep_last=keep_last, keep_every=keep_every)) == expected


def test_what_the_result_needs_stays_too(tmp_path):
    for step in (1, 2, 3, 4):
        step_folder(tmp_path, step).mkdir()
        (step_folder(tmp_path, step) / "state.json").touch()

    prune(tmp_path, config(), needed=[2])

    assert list_steps(tmp_path) == [2, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000004"]


def test_leftovers_of_a_killed_run_are_deleted_and_whole_checkpoints_are_not(tmp_path):
    for name in (".step-00000003.tmp", ".step-00000001.old", "step-00000002"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()

    delete_leftovers(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


@pytest.mark.parametrize(("keep_every", "left"), [(None, None), (4, [4, 8])])
def test_a_finished_phase_leaves_the_kept_multiples_only(tmp_path, keep_every, left):
    for step in (4, 8, 10):
        step_folder(tmp_path / "running", step).mkdir(parents=True)
    (tmp_path / "running" / "average").mkdir()

    clear(tmp_path / "running", config(keep_every=keep_every))

    if left is None:
        assert not (tmp_path / "running").exists()
    else:
        assert list_steps(tmp_path / "running") == left
        assert not (tmp_path / "running" / "average").exists()
