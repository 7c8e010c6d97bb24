import json

import pytest

from bert.report.run import read_run
from bert.report.score_files import scores_document, scores_table
from bert.report.scores import ScoreError, baselines, check_runs, gather
from bert.report.summary import Summary
from tests.test_report_run import build_run, write_receipt, write_score


def gather_run(folder):
    receipts = read_run(folder).receipts
    return gather(receipts["score"], receipts["finetune"])


def test_summary_of_three_values_by_hand():
    # Mean 184 / 3; squared distances 16/9 + 1/9 + 25/9 = 42/9; divided by 2, the root of 7/3.
    summary = Summary({1: 60.0, 2: 61.0, 3: 63.0})
    assert (summary.n, summary.median, summary.best) == (3, 61.0, 63.0)
    assert summary.mean == pytest.approx(184 / 3, abs=1e-12)
    assert summary.sd == pytest.approx((7 / 3) ** 0.5, abs=1e-12)


def test_the_median_of_an_even_number_of_seeds_lies_between_the_middle_two():
    assert Summary({1: 60.0, 2: 70.0, 3: 61.0, 4: 63.0}).median == 62.0


def test_one_seed_has_no_standard_deviation():
    summary = Summary({4: 71.5})
    assert (summary.n, summary.median, summary.mean, summary.sd) == (1, 71.5, 71.5, None)


def test_squad_and_the_pretrained_start_come_first_and_the_known_metric_leads(tmp_path):
    scores = gather_run(build_run(tmp_path))
    assert list(scores) == ["squad", "mrpc"]
    assert list(scores["squad"]) == ["pretrained", "random"]
    assert list(scores["squad"]["random"].metrics) == ["f1", "exact_match"]
    assert list(scores["mrpc"]["pretrained"].metrics) == ["accuracy", "f1"]


def test_the_receipts_say_the_headline_whatever_the_metrics_are_called(tmp_path):
    folder = build_run(tmp_path)
    write_score(folder, "stsb", "pretrained", 1, {"pearson": 80.0, "spearman": 79.0})
    scores = gather_run(folder)
    assert scores["stsb"]["pretrained"].headline == "spearman"
    assert list(scores["stsb"]["pretrained"].metrics) == ["spearman", "pearson"]


def test_scores_json_holds_every_number_under_stable_keys(tmp_path):
    run = read_run(build_run(tmp_path))
    document = json.loads(
        json.dumps(
            scores_document(run, gather(run.receipts["score"], run.receipts["finetune"]), {})
        )
    )
    assert list(document) == ["run", "tasks", "gate", "evaluate", "pretrain"]
    f1 = document["tasks"]["squad"]["pretrained"]["f1"]
    more = ["ci_low", "ci_high", "learning_rate"]
    assert list(f1) == ["n", "median", "mean", "sd", "best", *more, "values"]
    assert f1["learning_rate"] == 2e-5
    assert f1["values"] == {"1": 60.0, "2": 61.0, "3": 63.0}
    assert (f1["n"], f1["median"], f1["best"]) == (3, 61.0, 63.0)
    assert document["tasks"]["mrpc"]["pretrained"]["accuracy"]["sd"] is None
    assert document["evaluate"]["phase2"]["mlm_accuracy"] == 0.3125
    assert document["pretrain"]["phase1"]["tokens"] == 40_000


def test_scores_csv_has_a_row_for_each_task_start_seed_and_metric(tmp_path):
    table = scores_table(gather_run(build_run(tmp_path))).splitlines()
    assert table[0] == "task,start,seed,metric,value,trial,learning_rate"
    assert table[1:3] == [
        "squad,pretrained,1,exact_match,50.0,seed-1,2e-05",
        "squad,pretrained,1,f1,60.0,seed-1,2e-05",
    ]
    assert len(table) == 1 + 2 * 3 * 2 + 2


def test_seeds_are_ordered_as_numbers(tmp_path):
    folder = build_run(tmp_path)
    write_score(folder, "squad", "pretrained", 10, {"exact_match": 1.0, "f1": 2.0})
    scores = gather_run(folder)
    assert list(scores["squad"]["pretrained"].main.values) == [1, 2, 3, 10]


def test_the_score_without_learning_is_read_from_the_receipts(tmp_path):
    floors = baselines(read_run(build_run(tmp_path)).receipts["score"])
    assert floors["squad"] == {"exact_match": 9.75, "f1": 9.75}


def test_a_score_in_the_wrong_folder_is_refused(tmp_path):
    folder = build_run(tmp_path)
    score = folder / "score/squad/random"
    (score / "seed-3").rename(score / "seed-4")
    tuned = folder / "finetune/squad/random"
    (tuned / "seed-3").rename(tuned / "seed-4")
    with pytest.raises(ScoreError, match=r"seed-4/metrics\.json says it is squad/random/seed-3"):
        gather_run(folder)


@pytest.mark.parametrize("metrics", [{"f1": 1.0}, {}])
def test_seeds_with_different_metrics_are_refused(tmp_path, metrics):
    folder = build_run(tmp_path)
    write_score(folder, "squad", "random", 3, metrics)
    with pytest.raises(ScoreError, match="expected the same metrics in each"):
        gather_run(folder)


def test_a_task_without_its_headline_is_refused(tmp_path):
    folder = build_run(tmp_path)
    write_score(folder, "mrpc", "pretrained", 1, {"f1": 80.0})
    with pytest.raises(ScoreError, match=r"with headline accuracy; expected .* one headline among"):
        gather_run(folder)


@pytest.mark.parametrize(
    ("stage", "file"), [("score", "metrics.json"), ("finetune", "manifest.json")]
)
def test_a_run_without_its_score_or_a_score_without_its_run_is_refused(tmp_path, stage, file):
    folder = build_run(tmp_path)
    (folder / stage / "squad/random/seed-2" / file).unlink()
    receipts = read_run(folder).receipts
    with pytest.raises(ScoreError, match=f"squad/random/seed-2 has no receipt of `{stage}`"):
        check_runs(receipts["finetune"], receipts["score"])


def test_a_left_over_run_of_another_configuration_is_refused(tmp_path):
    folder = build_run(tmp_path)
    receipts = read_run(folder).receipts
    check_runs(receipts["finetune"], receipts["score"])
    counts = {"examples": 1, "features": 1, "steps": 1}
    file = folder / "finetune/squad/random/seed-3/manifest.json"
    write_receipt(file, "finetune", counts, config={"seed": 8})
    receipts = read_run(folder).receipts
    with pytest.raises(ScoreError, match=r"seed-1 and finetune/squad/random/seed-3 have different"):
        check_runs(receipts["finetune"], receipts["score"])


def test_the_score_of_predictions_that_were_made_again_is_refused(tmp_path):
    folder = build_run(tmp_path)
    file = folder / "finetune/squad/random/seed-3/manifest.json"
    receipt = json.loads(file.read_text())
    receipt["outputs"]["predictions.json"]["sha256"] = "0d" * 32
    file.write_text(json.dumps(receipt))
    receipts = read_run(folder).receipts

    with pytest.raises(ScoreError, match=r"seed-3/metrics\.json is of other predictions"):
        check_runs(receipts["finetune"], receipts["score"])
