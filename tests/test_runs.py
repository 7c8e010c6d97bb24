import json
from pathlib import Path

import pytest

from bert.convert.runs import (
    Run,
    RunsError,
    check_vocabulary,
    check_weights,
    pick,
    read_runs,
    summaries,
)
from bert.convert.score_card import score_card
from bert.manifest import sha256_file, write_json, write_manifest

NONE = {"config": {}, "inputs": {}, "counts": {}, "outputs": []}
TUNED = {"learning_rate": 3e-5, "early_stopping": None}


def run(trial, f1, accuracy=50.0, **config):
    metrics = {"f1": f1, "accuracy": accuracy}
    return Run(trial, "f1", metrics, Path("none"), {"config": TUNED | config})


FOUR = [run("seed-1", 70.0), run("seed-2", 90.0), run("seed-3", 80.0), run("seed-4", 90.0)]


def test_best_is_the_highest_headline_and_of_equal_ones_the_first():
    assert pick(FOUR, "best").trial == "seed-2"


def test_median_is_the_lower_one_of_an_even_number():
    assert pick(FOUR, "median").trial == "seed-3"
    assert pick(FOUR[:3], "median").trial == "seed-3"
    assert pick(FOUR[:1], "median").trial == "seed-1"


def test_summary_of_all_runs_by_hand():
    found = summaries(FOUR)

    assert found.keys() == {"all"}
    assert found["all"]["f1"] == {
        "n": 4, "median": 85.0, "mean": 82.5, "lowest": 70.0, "highest": 90.0,
        "sd": pytest.approx((275 / 3) ** 0.5),  # deviations -12.5, 7.5, -2.5, 7.5
    }  # fmt: skip
    assert summaries(FOUR[:1])["all"]["f1"]["sd"] is None


def test_a_grid_is_summed_up_by_rate_and_its_median_is_that_of_the_best_rate():
    grid = [run("rate-3e-05.seed-1", 70.0), run("rate-3e-05.seed-2", 80.0)]
    grid += [run("rate-2e-05.seed-1", 75.0), run("rate-2e-05.seed-2", 76.0)]

    assert pick(grid, "best").trial == "rate-3e-05.seed-2"
    assert pick(grid, "median").trial == "rate-2e-05.seed-1"
    diverged = [run(f"rate-1e-03.seed-{seed}", 40.0 + seed) for seed in (1, 2, 3)]
    assert pick([*diverged, *grid], "median").trial == "rate-2e-05.seed-1"
    card = score_card([*diverged, *grid], grid[2], "median", {}, None)
    assert "the (lower) median f1 of the 2 with its learning rate, the one with the best" in card
    found = summaries(grid)
    assert {rate: values["f1"]["median"] for rate, values in found.items()} == {
        "rate-3e-05": 75.0,
        "rate-2e-05": 75.5,
    }
    card = score_card(grid, grid[1], "best", {}, None)
    assert "| rate-3e-05 | f1 | 2 | 75.00 | 75.00 | 7.07 | 70.00 | 80.00 | 80.00 |" in card
    assert "| rate-2e-05 | f1 | 2 | 75.50 | 75.50 | 0.71 | 75.00 | 76.00 | - |" in card


def test_the_card_tells_scores_how_the_run_was_picked_and_from_what_it_was_made():
    card = score_card(FOUR, FOUR[1], "best", {"weights": "ab" * 32}, "c0ffee")

    assert "| all | f1 | 4 | 85.00 | 82.50 | 9.57 | 70.00 | 90.00 | 90.00 |" in card
    assert "the weights of `seed-2`: the run with the highest f1 of 4" in card
    assert "a new run is to be expected at the median" in card
    assert f"| weights | `{'ab' * 32}` |" in card
    assert "Code of commit `c0ffee`" in card
    assert '"learning_rate": 3e-05' in card
    assert "stopped early" not in card


def test_the_card_tells_of_one_run_and_of_early_stopping():
    one = run("seed-1", 70.0, early_stopping={"every": 0.5, "patience": 3})
    card = score_card([one], one, "median", {}, None)

    assert "| all | f1 | 1 | 70.00 | 70.00 | - | 70.00 | 70.00 | 70.00 |" in card
    assert "the run with the (lower) median f1 of 1." in card
    assert "Training stopped early by scores on the same development data." in card


@pytest.fixture
def written(tmp_path):
    """Receipts and weights of two runs: scores, weights."""
    scores, weights = [], []
    for seed in (1, 2):
        facts = {"task": "mrpc", "start": "pretrained", "seed": seed}
        predictions = tmp_path / f"finetune/seed-{seed}/predictions.json"
        predictions.parent.mkdir(parents=True)
        predictions.write_text(f'{{"seed": {seed}}}')
        scores.append(tmp_path / f"score/seed-{seed}/metrics.json")
        more = {"trial": f"seed-{seed}", "headline": "f1", "metrics": {"f1": 80.0 + seed}}
        scored = NONE | {"inputs": {"predictions": sha256_file(predictions)}}
        write_manifest(scores[-1], stage="score", **scored, **facts, **more)
        weights.append(tmp_path / f"finetune/seed-{seed}/model.safetensors")
        weights[-1].write_bytes(b"weights")
        receipt = weights[-1].with_name("manifest.json")
        digest = sha256_file(weights[-1])
        tuned = NONE | {"outputs": [predictions]}
        write_manifest(receipt, stage="finetune", **tuned, **facts, weights=digest)
    return scores, weights


def test_runs_are_read_with_their_receipts(written):
    runs = read_runs(*written, "mrpc")

    assert [one.trial for one in runs] == ["seed-1", "seed-2"]
    assert [one.score for one in runs] == [81.0, 82.0]
    assert check_weights(runs[0]) == sha256_file(written[1][0])


def test_scores_and_weights_of_different_runs_are_refused(written):
    scores, weights = written
    with pytest.raises(RunsError, match="2 scores and 1 files of weights"):
        read_runs(scores, weights[:1], "mrpc")
    with pytest.raises(RunsError, match="0 scores"):
        read_runs([], [], "mrpc")
    with pytest.raises(RunsError, match=r"is of mrpc, pretrained, seed-1, and .* seed-2; expected"):
        read_runs(scores, weights[::-1], "mrpc")
    with pytest.raises(RunsError, match="expected the same run of squad, pretrained"):
        read_runs(scores, weights, "squad")


def test_the_score_of_an_earlier_run_of_the_same_name_is_refused(written, tmp_path):
    """The fine-tuning was done again, and the score was not."""
    receipt = tmp_path / "finetune/seed-1/manifest.json"
    again = json.loads(receipt.read_text())
    again["outputs"]["predictions.json"]["sha256"] = "0d" * 32
    write_json(receipt, again)

    with pytest.raises(RunsError, match=r"is of other predictions than .*seed-1 holds"):
        read_runs(*written, "mrpc")


def test_weights_that_are_not_those_of_the_receipt_are_refused(written):
    runs = read_runs(*written, "mrpc")
    written[1][0].write_bytes(b"other")
    with pytest.raises(RunsError, match="is not the file that the receipt beside it speaks of"):
        check_weights(runs[0])


def test_a_vocabulary_that_a_run_was_not_tuned_with_is_refused():
    one = FOUR[0]._replace(receipt={"inputs": {"vocabulary": "ab" * 32}})
    check_vocabulary(one, "ab" * 32)

    with pytest.raises(RunsError, match=r"was tuned with the vocabulary abab.*given is cdcd"):
        check_vocabulary(one, "cd" * 32)
