"""The model of benchmarks/scaling_model.py, by numbers worked out by hand."""

import runpy

import pytest

from bert.manifest import ROOT

MODEL = runpy.run_path(str(ROOT / "benchmarks" / "scaling_model.py"))
Machine, Work, predict = MODEL["Machine"], MODEL["Work"], MODEL["predict"]

# Two ranks a node; 1 GB/s between ranks, 0.5 GB/s between nodes, 1 ms a message.
NODE = Machine(2, 1e12, 10e9, 1e9, 0.5e9, 1e-3, tree=False)
# 100 million parameters, 1 TFLOP an instance, 8 instances at most at once, four buckets of 100 MB.
WORK = Work(100e6, 1e12, 64, 8, 4, 100e6, False, 50, False)


def test_compute_is_the_flops_of_a_ranks_own_instances():
    """64 instances on 2 ranks: 32 of 1 TFLOP at 1 TFLOP/s; on 200 ranks one has at most 1."""
    assert predict(WORK, NODE, 1).compute == pytest.approx(32)
    assert predict(WORK, NODE, 100).compute == pytest.approx(1)


def test_a_ring_sends_nearly_twice_the_bytes_and_each_bucket_goes_round():
    """Two ranks: 400 MB at 1 GB/s and 4 x 2 hops. Four on two nodes: 1.5 x 400 MB at 0.5 GB/s."""
    assert predict(WORK, NODE, 1).sum == pytest.approx(0.4 + 0.008)
    assert predict(WORK, NODE, 2).sum == pytest.approx(1.2 + 4 * 6e-3)


def test_trees_take_hops_as_the_logarithm_of_the_ranks():
    """16 ranks: 15/8 x 400 MB at 0.5 GB/s, and 4 buckets x 8 hops."""
    assert predict(WORK, NODE._replace(tree=True), 8).sum == pytest.approx(1.5 + 0.032)


def test_one_rank_has_nothing_to_sum():
    step = predict(WORK, NODE._replace(ranks=1), 1)

    assert (step.sum, step.exposed) == (0, 0)


def test_overlap_hides_what_fits_into_the_last_backward_pass():
    """8 of 32 instances in the last micro-batch: 8 s, of them 16/3 backward; a bucket is left."""
    step = predict(WORK._replace(overlap=True), NODE, 1)

    assert step.exposed == pytest.approx(0.1 + 0.002)
    slow = predict(WORK._replace(overlap=True), NODE._replace(local=0.01e9), 1)
    assert slow.exposed == pytest.approx(40.008 - 16 / 3)


def test_without_overlap_all_is_waited_for():
    step = predict(WORK, NODE, 1)

    assert step.exposed == step.sum
    assert step.seconds == pytest.approx(32 + 0.408 + 0.5)


def test_a_sharded_update_is_shared_and_then_sent():
    """100 M x 50 bytes at 10 GB/s is 0.5 s, halved; then 400 MB in one level, two owners a hop."""
    assert predict(WORK, NODE, 1).update == pytest.approx(0.5)
    step = predict(WORK._replace(sharded=True), NODE, 1)
    assert step.update == pytest.approx(0.25 + 0.4 + 0.002)


def test_a_table_has_a_line_for_each_number_of_nodes():
    lines = MODEL["table"](WORK, NODE, [1, 2]).splitlines()

    assert len(lines) == 4
    assert lines[2].startswith("| 1 | 2 | 32 | 32 | 0.408 |")
    assert lines[2].endswith("| 2 | 100% |")


def test_a_measurement_that_the_model_describes_is_predicted_without_an_error():
    """One process: 1.0 s, 0.2 of it the update. Two on the same cores update twice the memory."""
    message = {"bytes": 25 * 2**20, "dtype": "torch.float32", "seconds": 25 * 2**20 / 1e9}
    alone = {"step": 1.0, "optimizer": 0.2, "parameters": 50e6}
    two = {"step": 0.8 + 0.2 + 0.4, "optimizer": 0.4, "parameters": 50e6}
    found = {
        "processes": {
            "1": {"rank_flops": 2e11, "variants": {"fp32": alone}},
            "2": {"rank_flops": 1e11, "variants": {"fp32": two}, "all_reduce": [message]},
        }
    }

    assert MODEL["check"](found).splitlines()[-1] == "| 2 | fp32 | 1.400 | 1.400 | +0% |"
