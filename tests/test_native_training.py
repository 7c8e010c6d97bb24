"""Training on the native kernels: the numbers of torch's operations, and exact interruption."""

import json

import pytest

from bert.kernels.compiled import use_kernels
from tests.conftest import ADAMW
from tests.test_golden_curve import GOLDEN
from tests.test_golden_curve import train as golden_run
from tests.test_resume import ACCUMULATING, assert_same_run
from tests.training import Stop, lines, run

pytestmark = pytest.mark.usefixtures("native", "one_thread")


def test_a_hundred_steps_follow_the_curve_that_torch_left(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    curve = golden_run(tmp_path)
    assert curve["samples_digest"] == golden["samples_digest"]
    for name in ("loss", "gradient_norm", "held_out_mlm_loss"):
        assert curve[name] == pytest.approx(golden[name], rel=1e-4), name
    assert curve["loss"] != golden["loss"]  # another order of sums: the kernels were on


@pytest.mark.parametrize("optimizer", [{}, {"optimizer": ADAMW}], ids=["lamb", "adamw"])
def test_in_bf16_the_losses_stay_beside_those_of_fp32(tmp_path, make_setup, optimizer):
    changes = optimizer | {"steps": 60, "log_every": 1}
    found = []
    for precision, kernels in (("bf16", "native"), ("fp32", "torch")):
        use_kernels(kernels)
        run(make_setup(changes, runtime={"precision": precision}), tmp_path / precision)
        found.append([line["loss"] for line in lines(tmp_path / precision, "train")])
    # The losses fall by 0.05 (LAMB) and 0.12 (AdamW) of 4.6, two hundred times this bound.
    assert found[0] == pytest.approx(found[1], abs=5e-4)
    assert found[0] != found[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop_at", [1, 5, 11])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_stopped_run_ends_as_if_it_had_not_been(
    tmp_path, make_setup, precision, stop_at, checkpointing
):
    runtime = {"precision": precision, "activation_checkpointing": checkpointing}
    setup = make_setup({"optimizer": ADAMW}, runtime=ACCUMULATING | runtime)
    run(setup, tmp_path / "whole")

    stopped, _ = run(setup, tmp_path / "parts", stop=Stop(stop_at))
    run(setup, tmp_path / "parts")

    assert stopped is None
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_recomputed_activations_train_the_same_bits(tmp_path, make_setup):
    for name, checkpointing in (("kept", False), ("again", True)):
        run(make_setup(runtime={"activation_checkpointing": checkpointing}), tmp_path / name)
    assert_same_run(tmp_path / "kept", tmp_path / "again")
