"""Any number of ranks: the same samples in the same steps, and the same bits on the same number."""

import pytest
import torch

from bert.checkpoints.checkpoint import load_checkpoint, step_folder
from tests.conftest import ADAMW, KFAC
from tests.training import final_digests, lines, metrics, run_ranks

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def load(running, step=12):
    return load_checkpoint(step_folder(running, step))


def assert_near(one, other, atol=2e-5):
    for name, tensor in load(one).model.items():
        assert torch.allclose(tensor, load(other).model[name], atol=atol), name


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory, corpora):
    """The undisturbed run on one rank, without dropout."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run_ranks(1, folder, corpora, model=NO_DROPOUT)
    return folder


def test_one_two_four_and_one_ranks_in_turn_train_as_one_does(tmp_path, corpora, one_rank):
    """Jobs of 3 steps on other numbers of ranks: the same samples, equal losses and weights."""
    running = tmp_path / "run"
    for world, steps in ((1, 3), (2, 3), (4, 3), (1, None)):
        run_ranks(world, running, corpora, model=NO_DROPOUT, stop_after=steps)

    assert load(running).state["samples_digest"] == load(one_rank).state["samples_digest"]
    assert load(running).state["totals"] == load(one_rank).state["totals"]
    losses = [[x for _, x in metrics(name, "train")] for name in (running, one_rank)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_near(running, one_rank)


def test_two_ranks_accumulating_four_equal_one_accumulating_eight(tmp_path, corpora):
    """Sixteen instances a step in micro-batches of one or two, whatever the ranks."""
    for world in (1, 2):
        run_ranks(
            world, tmp_path / str(world), corpora, model=NO_DROPOUT,
            phase={"steps": 6}, runtime={"micro_batch_tokens": 40},
        )  # fmt: skip

    losses = [[x for _, x in metrics(tmp_path / w, "train")] for w in ("1", "2")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, tensor in load(tmp_path / "1", 6).model.items():
        assert torch.allclose(tensor, load(tmp_path / "2", 6).model[name], atol=2e-5), name


@pytest.mark.parametrize(
    ("phase", "runtime"),
    [
        ({"kfac": KFAC | {"distribution": "mem_opt", "inverse_every": 3}}, {}),
        ({"optimizer": ADAMW}, {"shard_optimizer": True, "precision": "bf16"}),
        ({}, {"all_reduce": {"dtype": "bf16", "bucket_mb": 0.001}}),
    ],
    ids=["kfac mem_opt", "sharded adamw bf16", "bf16 all-reduce"],
)
def test_two_ranks_stopped_end_as_if_they_had_not_been(tmp_path, corpora, phase, runtime):
    """Bit for bit, with dropout and several micro-batches."""
    runtime = {"micro_batch_tokens": 60} | runtime
    run_ranks(2, tmp_path / "whole", corpora, phase=phase, runtime=runtime)
    for after in (5, None):
        run_ranks(2, tmp_path / "parts", corpora, phase=phase, runtime=runtime, stop_after=after)

    assert final_digests(tmp_path / "parts") == final_digests(tmp_path / "whole")
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_sharded_optimizer_writes_the_checkpoint_of_one_that_is_not(tmp_path, corpora):
    for name, shard in (("plain", False), ("sharded", True)):
        run_ranks(2, tmp_path / name, corpora, runtime={"shard_optimizer": shard})

    assert final_digests(tmp_path / "sharded") == final_digests(tmp_path / "plain")


def test_fewer_instances_than_ranks_train_as_on_one_rank(tmp_path, corpora):
    for world in (1, 3):
        run_ranks(world, tmp_path / str(world), corpora, phase={"batch": 2}, model=NO_DROPOUT)

    losses = [[x for _, x in metrics(tmp_path / w, "train")] for w in ("1", "3")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_near(tmp_path / "1", tmp_path / "3")


@pytest.mark.parametrize(
    "distribution",
    [
        "mem_opt",
        pytest.param("comm_opt", marks=pytest.mark.slow),
        pytest.param("hybrid_opt", marks=pytest.mark.slow),
    ],
)
def test_kfac_on_two_ranks_trains_as_on_one(tmp_path, corpora, distribution):
    phase = {"kfac": KFAC | {"distribution": distribution}, "steps": 6}
    for world in (1, 2):
        run_ranks(world, tmp_path / str(world), corpora, phase=phase, model=NO_DROPOUT)

    losses = [[x for _, x in metrics(tmp_path / w, "train")] for w in ("1", "2")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_learning_rate_grows_with_the_ranks_only_if_asked(tmp_path, corpora):
    rates = {}
    for kind in ("none", "linear"):
        phase = {"learning_rate_scaling": kind, "steps": 3}
        run_ranks(2, tmp_path / kind, corpora, phase=phase)
        rates[kind] = lines(tmp_path / kind, "train")[1]["learning_rate"]

    assert rates["linear"] == pytest.approx(2 * rates["none"], rel=1e-6)
