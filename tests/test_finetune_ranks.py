"""A fine-tuning run on two ranks is that of one, up to the order of sums; how ranks are started."""

import json

import pytest

from bert.config import check
from bert.ranks.config import LaunchConfig
from bert.ranks.launch import on_this_machine
from tests.finetuning import HEADS, lines, make_order, run_process, train_and_write
from tests.rank_processes import LAUNCH
from tests.training import Stop

# Batches of 3 features: rank 0 has two of them, and rank 1 nothing of the last batch, which is one.
CHANGES = {
    "batch": 3,
    "epochs": 2,
    "learning_rate": 1e-4,
    "runtime": {"micro_batch_tokens": 40},
    "early_stopping": {"every": 1, "patience": 9},
}


def launch(**changes):
    return check(LaunchConfig, LAUNCH | changes, where="a test")


def test_two_ranks_train_and_predict_as_one(tmp_path):
    """A single dev feature is one micro-batch, so that rank 1 predicts nothing."""
    order = make_order(no_dropout=True, count=11, dev={"span": 1, "token": 7}, **CHANGES)
    run_process(tmp_path / "two", HEADS, order, world=2)
    for head in HEADS:
        train_and_write(tmp_path / "one" / head, head, order, Stop())
        one, two = (tmp_path / world / head for world in ("one", "two"))

        assert len(lines(one / "running")) == len(lines(two / "running")) == 8
        for own, shared in zip(lines(one / "running"), lines(two / "running"), strict=True):
            assert own["step"] == shared["step"]
            assert own["loss"] == pytest.approx(shared["loss"], rel=1e-4)
            assert own["gradient_norm"] == pytest.approx(shared["gradient_norm"], rel=1e-3)
        assert lines(one / "running", "evaluate") == lines(two / "running", "evaluate")
        predictions = [json.loads((run / "predictions.json").read_text()) for run in (one, two)]
        assert predictions[0] == predictions[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"launcher": "ssh", "hosts": "hosts", "options": "--rdzv-conf timeout=9"},
        {"launcher": "srun", "options": "--exclusive"},
        {"launcher": "torchrun", "processes": "numa"},
    ],
    ids=["ssh", "srun", "numa"],
)
def test_ranks_here_are_torchruns_on_one_machine(changes):
    here = on_this_machine(launch(**changes), 3)

    assert (here.launcher, here.processes, here.hosts, here.options) == ("torchrun", 3, None, "")
    assert launch(**here.model_dump()) == here


@pytest.mark.parametrize("number", [None, 0, "two"])
def test_what_is_no_number_of_ranks_is_refused(number):
    with pytest.raises(ValueError, match=f"the key of --here is {number}"):
        on_this_machine(launch(), number)
