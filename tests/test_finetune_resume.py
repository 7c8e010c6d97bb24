"""A fine-tuning run that is interrupted ends with the same bits as one that is not."""

import pytest
import torch

from bert.checkpoints.checkpoint import list_steps
from tests.finetuning import dev_set, make_order, run_process, train, train_and_write, tuning
from tests.training import Stop

EARLY = {"early_stopping": {"every": 0.5, "patience": 4}}
SETTINGS = [
    pytest.param("span", {}, id="span"),
    pytest.param("sentence", EARLY, id="sentence-early"),
    pytest.param("value", {"layer_decay": 0.8}, id="value-decay"),
    pytest.param("token", {"runtime": {"precision": "fp16"}} | EARLY, id="token-fp16-early"),
]


def assert_equal(first, second):
    ended, network = zip(first, second, strict=True)
    assert ended[0] == ended[1]
    states = [each.state_dict() for each in network]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(("head", "changes"), SETTINGS)
def test_stopped_runs_end_with_the_same_weights_and_lines(head, changes, tmp_path):
    """Stops at a step with and without a checkpoint of its own, and right behind one."""
    setting = tuning(head, **changes)
    whole = train(setting, tmp_path / "whole")
    for steps in (3, 1, 4):
        assert train(setting, tmp_path / "parts", stop=Stop(steps))[0] is None
    parts = train(setting, tmp_path / "parts")

    assert_equal(whole, parts)
    files = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]


def test_killed_runs_end_with_the_same_files(tmp_path):
    """SIGKILL before the first checkpoint, and while one is being written or after it."""
    changes = {"epochs": 2, "early_stopping": {"every": 0.5, "patience": 9}}
    train_and_write(tmp_path / "whole", "sentence", make_order(**changes), Stop())
    for steps in (2, 6):
        order = make_order(kill_after=steps, **changes)
        assert run_process(tmp_path, ["sentence"], order) == -9
    assert run_process(tmp_path, ["sentence"], make_order(**changes)) == 0

    for name in ("model.safetensors", "predictions.json", "ended.json", "running/metrics.jsonl"):
        whole, parts = ((tmp_path / run / name).read_bytes() for run in ("whole", "sentence"))
        assert whole == parts, name


def test_a_run_shorter_than_the_first_cadence_writes_no_checkpoint(tmp_path):
    setting = tuning(runtime={"finetune_checkpoint_steps": 24})
    train(setting, tmp_path)

    assert list_steps(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_newest_checkpoint_is_the_one_that_stays(tmp_path):
    train(tuning(runtime={"finetune_checkpoint_steps": 7}), tmp_path)

    assert list_steps(tmp_path) == [21]  # of 24 steps


def test_the_best_checkpoint_stays_while_newer_ones_go(tmp_path):
    """The score at step 4 is the best; checkpoints follow every second step."""
    setting = tuning(
        runtime={"finetune_checkpoint_steps": 2}, early_stopping={"every": 0.5, "patience": 99}
    )
    train(setting, tmp_path, dev=dev_set("sentence", [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]))

    assert list_steps(tmp_path) == [4, 22]


def test_a_run_killed_behind_its_last_score_does_not_go_on(tmp_path):
    """The checkpoint of a run whose patience has ended says so."""
    early = {"early_stopping": {"every": 0.5, "patience": 1}}
    setting = tuning(runtime={"finetune_checkpoint_steps": 8}, **early)
    scores = [9.0, 8.0]
    whole = train(setting, tmp_path / "whole", dev=dev_set("sentence", scores))
    stopped = train(setting, tmp_path / "b", dev=dev_set("sentence", scores), stop=Stop(8))
    again = train(setting, tmp_path / "b", dev=dev_set("sentence", []))

    assert whole[0] == (8, (9.0, 4, 1))
    assert stopped[0] is None
    assert_equal(whole, again)
