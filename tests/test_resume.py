"""Interrupted = uninterrupted: the same checkpoint, bit for bit, and the same lines."""

import json

import pytest
import torch

from bert.checkpoints.checkpoint import list_steps, load_checkpoint, step_folder
from bert.checkpoints.result import hand_on
from tests.conftest import ADAMW, KFAC
from tests.training import Stop, final_digests, lines, run

KINDS = {
    "lamb": {},
    "adamw": {"optimizer": ADAMW},
    "kfac": {"kfac": KFAC | {"inverse_every": 3}},
    "kfac inverse adamw": {
        "optimizer": ADAMW,
        "kfac": KFAC | {"method": "inverse", "factor_every": 2, "inverse_every": 4},
    },
}
ACCUMULATING = {"micro_batch_tokens": 60}  # some five micro-batches a step


def assert_same_run(one, other):
    assert final_digests(one) == final_digests(other)
    assert lines(one) == lines(other)
    states = [load_checkpoint(step_folder(x, list_steps(x)[-1])).state for x in (one, other)]
    for state in states:
        state.pop("elapsed_s")
    assert states[0] == states[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_a_stopped_run_ends_as_if_it_had_not_been(tmp_path, make_setup, kind, precision, stop_at):
    """With dropout and several micro-batches a step, at each precision."""
    setup = make_setup(KINDS[kind], runtime=ACCUMULATING | {"precision": precision})
    run(setup, tmp_path / "whole")

    stopped, _ = run(setup, tmp_path / "parts", stop=Stop(stop_at))
    run(setup, tmp_path / "parts")

    assert stopped is None
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["previous", "continued", "weights"])
def test_both_phases_may_be_stopped_and_the_switch_lies_between(tmp_path, make_setup, kind, start):
    first = make_setup(KINDS[kind], runtime=ACCUMULATING)
    second = make_setup(KINDS[kind] | {"start": start}, runtime=ACCUMULATING, number=2)

    for name, stops in (("whole", ()), ("parts", (3, 6))):
        for after in (*stops, None):
            run(first, tmp_path / f"{name}1", stop=after and Stop(after))
        previous = step_folder(tmp_path / f"{name}1", 12)
        for after in (*stops, None):
            run(second, tmp_path / f"{name}2", previous=previous, stop=after and Stop(after))

    for phase in ("1", "2"):
        assert_same_run(tmp_path / f"parts{phase}", tmp_path / f"whole{phase}")


def test_every_single_step_may_be_the_last_of_its_job(tmp_path, make_setup):
    setup = make_setup(KINDS["kfac"])
    run(setup, tmp_path / "whole")

    jobs = 0
    while run(setup, tmp_path / "parts", stop=Stop(1))[0] is None:
        jobs += 1

    assert jobs == 11
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_run_killed_between_checkpoints_repeats_the_lost_steps_exactly(
    tmp_path, make_setup, asynchronous
):
    setup = make_setup(runtime={"checkpoint": {"asynchronous": asynchronous}})
    run(setup, tmp_path / "whole")

    run(setup, tmp_path / "parts", stop=Stop(7))  # saves at 4 and, stopping, at 7
    killed = step_folder(tmp_path / "parts", 7)
    killed.rename(killed.with_name(".step-00000007.tmp"))  # as if killed while writing
    run(setup, tmp_path / "parts")

    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_phase_killed_after_its_last_checkpoint_does_not_train_on(tmp_path, make_setup):
    """The target is met early: the checkpoint knows that the phase is over."""
    fast = {"steps": 200, "optimizer": ADAMW, "learning_rate": 1e-2, "log_every": 50}
    target = {"every": 5, "target_mlm_accuracy": 0.02}
    setup = make_setup(fast | {"evaluation": target}, runtime={"checkpoint": {"every_steps": 100}})
    reached, _ = run(setup, tmp_path / "run")
    before = final_digests(tmp_path / "run")

    again, _ = run(setup, tmp_path / "run")

    assert reached.totals["steps"] < 200
    assert again.totals == reached.totals
    assert final_digests(tmp_path / "run") == before
    assert lines(tmp_path / "run", "evaluate")[-1]["mlm_accuracy"] >= 0.02


@pytest.mark.parametrize("weights", ["best", "average"])
def test_what_a_phase_hands_on_survives_interruptions(tmp_path, make_setup, weights):
    numbers = {"average_last": 3, "average_every": 2} if weights == "average" else {}
    setup = make_setup(
        {"result": {"weights": weights} | numbers, "evaluation": {"every": 3}},
        runtime={"checkpoint": {"every_steps": 5}},
    )
    results = []
    for name, stops in (("whole", ()), ("parts", (2, 4, 1))):
        for after in (*stops, None):
            run(setup, tmp_path / name, stop=after and Stop(after))
        hand_on(tmp_path / name, 12, tmp_path / f"{name}-result", setup.config.result)
        results.append(load_checkpoint(tmp_path / f"{name}-result"))

    for name, tensor in results[0].model.items():
        assert torch.equal(tensor, results[1].model[name]), name


def test_another_micro_batch_sees_the_same_samples_in_the_same_steps(tmp_path, make_setup):
    """Without dropout, which is drawn by micro-batch, the losses are equal up to rounding."""
    model = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    for tokens in (40, 1000):
        setup = make_setup(model=model, runtime={"micro_batch_tokens": tokens})
        run(setup, tmp_path / str(tokens))

    few, many = (lines(tmp_path / name, "train") for name in ("40", "1000"))
    assert [line["batch_checksum"] for line in few] == [line["batch_checksum"] for line in many]
    assert [line["loss"] for line in few] == pytest.approx(
        [line["loss"] for line in many], rel=1e-4
    )
    states = [load_checkpoint(step_folder(tmp_path / n, 12)).state for n in ("40", "1000")]
    assert states[0]["samples_digest"] == states[1]["samples_digest"] != ""


def test_the_sample_digest_tells_other_samples_masks_and_orders_apart(tmp_path, make_setup):
    masking = make_setup().config.masking.model_dump() | {"mask_prob": 0.3}
    phases = {
        "as it is": {},
        "seed": {"seed": 6},
        "masks": {"masking": masking},
        "batch": {"batch": 15},
    }
    digests = set()
    for name, phase in phases.items():
        progress, _ = run(make_setup(phase | {"steps": 2}), tmp_path / name)
        digests.add(progress.samples_digest)

    assert len(digests) == 4


def test_a_run_goes_on_without_its_metrics_file(tmp_path, make_setup):
    """The lines are for people; a lost file must not cost the training."""
    setup = make_setup()
    run(setup, tmp_path / "whole")
    run(setup, tmp_path / "parts", stop=Stop(5))
    (tmp_path / "parts" / "metrics.jsonl").unlink()

    run(setup, tmp_path / "parts")

    assert final_digests(tmp_path / "parts") == final_digests(tmp_path / "whole")
    assert [line["step"] for line in lines(tmp_path / "parts", "train")] == [6, 7, 8, 9, 10, 11, 12]


def test_plain_numbers_of_a_checkpoint_are_readable_without_torch(tmp_path, make_setup):
    run(make_setup(), tmp_path / "run")

    state = json.loads((step_folder(tmp_path / "run", 12) / "state.json").read_text())

    assert state["totals"]["sequences"] == 12 * 16
    assert state["guard"]["rollbacks"] == 0
    assert len(state["samples_digest"]) == 64
