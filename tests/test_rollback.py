"""What the loop does about steps that are not finite: skip, go back, stop with a report."""

import csv
import json
import math

import pytest
import torch

from bert.checkpoints.checkpoint import list_steps, load_checkpoint, step_folder
from bert.train import pretrain as loop
from bert.train.guard import NonFiniteError
from bert.train.step import train_step
from tests.conftest import KFAC
from tests.training import Stop, final_digests, lines, run

ROLLBACK = {
    "max_skipped": 1, "then": "rollback", "max_rollbacks": 3, "rollback_factor": 0.5, "spike": None
}  # fmt: skip


@pytest.fixture
def poison(monkeypatch):
    """Makes the loss of some steps infinite as long as the learning rate is above a limit."""

    def make(steps, above=0.0):
        def poisoned(setup, learner, batch, rate):
            bias = learner.network.cls.predictions.bias
            if batch.step not in steps or rate <= above:
                return train_step(setup, learner, batch, rate)
            good = bias.detach().clone()
            with torch.no_grad():
                bias[7] = math.inf
            result = train_step(setup, learner, batch, rate)
            with torch.no_grad():
                bias.copy_(good)
            return result

        monkeypatch.setattr(loop, "train_step", poisoned)

    return make


def test_bad_steps_are_skipped_and_counted_and_training_goes_on(tmp_path, make_setup, poison):
    poison({3, 7})
    setup = make_setup({"guard": {"max_skipped": 1}})

    progress, network = run(setup, tmp_path / "run")

    assert progress.totals["skipped_steps"] == 2
    assert progress.totals["steps"] == 12
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    state = load_checkpoint(step_folder(tmp_path / "run", 12)).state
    assert state["optimizer_step"] == 10  # the counter of bias correction knows real updates only
    assert [line["step"] for line in lines(tmp_path / "run", "skip")] == [3, 7]


def test_too_many_bad_steps_stop_the_run_with_a_report(tmp_path, make_setup, poison):
    poison({6, 7, 8})
    setup = make_setup({"guard": {"max_skipped": 2}})

    with pytest.raises(NonFiniteError, match=r"Step 8 .*3. such step in a row, from step 6"):
        run(setup, tmp_path / "run")

    assert list_steps(tmp_path / "run") == [4]  # nothing was saved while bad steps stood in a row
    folder = tmp_path / "run-output" / "diagnostics" / "phase1-step8"
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"] == "stop"
    assert report["gradients"]["not_finite"]
    rows = list(csv.DictReader((folder / "instances.csv").open()))
    assert len(rows) == 16


def test_going_back_lowers_the_learning_rate_from_there_on(tmp_path, make_setup, poison):
    plain = make_setup()
    run(plain, tmp_path / "plain")
    rate_at_7 = lines(tmp_path / "plain", "train")[6]["learning_rate"]
    poison({6, 7, 8}, above=0.8 * rate_at_7)
    setup = make_setup({"guard": ROLLBACK})

    progress, _ = run(setup, tmp_path / "run")

    assert progress.guard.rollbacks == 1
    train = lines(tmp_path / "run", "train")
    assert [line["step"] for line in train] == list(range(1, 13))
    for line, usual in zip(train, lines(tmp_path / "plain", "train"), strict=True):
        factor = 1.0 if line["step"] <= 4 else 0.5
        assert line["learning_rate"] == pytest.approx(factor * usual["learning_rate"], rel=1e-6)
    assert progress.totals["skipped_steps"] == 0  # the bad steps were taken back


def test_a_phase_without_a_checkpoint_goes_back_to_its_start(tmp_path, make_setup, poison):
    poison({1, 2, 3}, above=2e-4)
    setup = make_setup({"guard": ROLLBACK, "schedule": {**_constant()}})

    progress, _ = run(setup, tmp_path / "run")

    assert progress.guard.rollbacks == 3  # 1e-3, 5e-4 and 2.5e-4 are too high
    assert len(lines(tmp_path / "run", "train")) == 12


def test_after_the_last_rollback_the_run_stops(tmp_path, make_setup, poison):
    poison({6, 7, 8})
    setup = make_setup({"guard": ROLLBACK})

    with pytest.raises(NonFiniteError, match="3 rollbacks"):
        run(setup, tmp_path / "run")


@pytest.mark.parametrize("stops", [(5,), (1, 1, 1, 1, 1, 1, 1, 1), (4, 2), (6,)])
def test_interruptions_around_a_rollback_change_nothing(tmp_path, make_setup, poison, stops):
    poison({6, 7, 8}, above=6e-4)
    setup = make_setup({"guard": ROLLBACK, "schedule": {**_constant()}})
    run(setup, tmp_path / "whole")

    for after in (*stops, None):
        run(setup, tmp_path / "parts", stop=after and Stop(after))

    assert final_digests(tmp_path / "parts") == final_digests(tmp_path / "whole")
    kinds = {"train", "evaluate"}
    assert [x for x in lines(tmp_path / "parts") if x["kind"] in kinds] == [
        x for x in lines(tmp_path / "whole") if x["kind"] in kinds
    ]


def _constant():
    return {
        "name": "constant",
        "warmup_proportion": 0.0,
        "warmup_steps": None,
        "warmup_start": 0,
        "degree": None,
        "end_factor": None,
        "steps_before": 0,
        "total_steps": None,
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_inverse_of_kfac_that_overflows_is_not_skipped_for_ever(
    tmp_path, make_setup, monkeypatch, precision
):
    """With fp16, too, where overflows that lower the loss scale do not count."""

    def broken(setup, learner, batch, rate):
        for inverse in learner.kfac._inverses.values():
            for matrix in inverse.values():
                matrix.fill_(math.inf)
        return train_step(setup, learner, batch, rate)

    monkeypatch.setattr(loop, "train_step", broken)
    kfac = KFAC | {"inverse_every": 100}
    setup = make_setup(
        {"kfac": kfac, "guard": {"max_skipped": 2}}, runtime={"precision": precision}
    )

    with pytest.raises(NonFiniteError, match=r"3. such step in a row"):
        run(setup, tmp_path / "run")
