"""Learning rates as a grid, and several ways to say one number."""

import json
import math

import pytest
from scipy import stats

from bert.report.glue import glue_averages
from bert.report.labels import metric_label, task_label
from bert.report.run import read_run
from bert.report.score_files import scores_document, scores_table
from bert.report.scores import ScoreError, check_runs, gather
from bert.report.student import t_quantile
from bert.report.summary import Summary
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_score

# Accuracies of three seeds; medians 80, 83, 82; the mean of 3e-5 is the lowest of all.
GRID = {2e-5: (79.0, 80.0, 90.0), 3e-5: (60.0, 83.0, 84.0), 5e-5: (82.0, 82.0, 86.0)}


@pytest.fixture
def folder(tmp_path):
    run = build_run(tmp_path)
    for rate, values in GRID.items():
        for seed, value in enumerate(values, 1):
            metrics = {"accuracy": value, "f1": value / 2}
            write_score(run, "rte", "pretrained", seed, metrics, rate=rate, grid=True)
    return run


def gather_run(folder):
    receipts = read_run(folder).receipts
    check_runs(receipts["finetune"], receipts["score"])
    return gather(receipts["score"], receipts["finetune"])


def test_the_rate_with_the_best_median_stands_for_the_task(folder):
    runs = gather_run(folder)["rte"]["pretrained"]

    assert list(runs.rates) == [2e-5, 3e-5, 5e-5]
    assert runs.rate == 3e-5
    assert runs.main.values == {1: 60.0, 2: 83.0, 3: 84.0}


def test_of_rates_with_equal_medians_the_lowest_stands(folder):
    write_score(folder, "rte", "pretrained", 1, {"accuracy": 83.0, "f1": 1.0}, rate=5e-5, grid=True)
    write_score(folder, "rte", "pretrained", 2, {"accuracy": 83.0, "f1": 1.0}, rate=5e-5, grid=True)

    assert gather_run(folder)["rte"]["pretrained"].rate == 3e-5


def test_the_page_has_the_whole_grid_and_says_what_it_was_chosen_on(folder, tmp_path):
    page = Reader(make_report(folder, tmp_path / "report"))

    assert (
        "RTE from pretrained weights: learning rate 3e\u22125, the best of 3 on the dev data"
        in (page.text)
    )
    assert "chosen on the same development data" in page.text
    assert page.row("2e\u22125", "accuracy")[2:] == ["80.00", "83.00 \u00b1 6.08", "90.00", "3"]
    assert page.row("3e\u22125", "F1")[2:4] == ["41.50", "37.83 \u00b1 6.79"]
    assert page.row("RTE accuracy", "pretrained")[2] == "83.00"


def test_the_files_for_programs_have_every_rate(folder):
    run, scores = read_run(folder), gather_run(folder)
    document = json.loads(json.dumps(scores_document(run, scores, {})))

    assert document["tasks"]["rte"]["pretrained"]["accuracy"]["learning_rate"] == 3e-5
    grid = document["grids"]["rte"]["pretrained"]
    assert {rate: values["accuracy"]["median"] for rate, values in grid.items()} == {
        "2e-05": 80.0, "3e-05": 83.0, "5e-05": 82.0
    }  # fmt: skip
    lines = scores_table(scores).splitlines()
    assert "rte,pretrained,1,accuracy,79.0,rate-2e-05.seed-1,2e-05" in lines
    assert len([line for line in lines if line.startswith("rte")]) == 18


def test_a_rate_that_is_not_that_of_its_folder_is_refused(folder):
    file = folder / "finetune/rte/pretrained/rate-2e-05.seed-1/manifest.json"
    receipt = json.loads(file.read_text())
    receipt["config"]["learning_rate"] = 1e-4
    file.write_text(json.dumps(receipt))

    with pytest.raises(ScoreError, match=r"has learning rate 0\.0001; expected that of its"):
        gather_run(folder)


def test_runs_of_a_grid_may_differ_in_nothing_but_the_rate(folder):
    metrics = {"accuracy": 80.0, "f1": 40.0}
    write_score(folder, "rte", "pretrained", 1, metrics, rate=2e-5, grid=True, batch=8)

    with pytest.raises(ScoreError, match="different configurations"):
        gather_run(folder)


def test_runs_without_a_grid_may_not_differ_in_the_rate(tmp_path):
    folder = build_run(tmp_path)
    write_score(folder, "mrpc", "pretrained", 2, {"accuracy": 80.0, "f1": 40.0}, rate=1e-5)

    with pytest.raises(ScoreError, match="different configurations"):
        gather_run(folder)


# From `scipy.stats.t.ppf((1 + level) / 2, n)`, scipy 1.17.
QUANTILES = [
    (0.95, 1, 12.706204736174694),
    (0.95, 2, 4.302652729749462),
    (0.95, 3, 3.1824463052837078),
    (0.95, 4, 2.7764451051977934),
    (0.95, 9, 2.262157162798205),
    (0.95, 99, 1.9842169515864174),
    (0.5, 7, 0.7111417780817866),
]


@pytest.mark.parametrize(("level", "freedom", "expected"), QUANTILES)
def test_quantiles_of_students_t_are_those_of_scipy(level, freedom, expected):
    assert t_quantile(level, freedom) == pytest.approx(expected, rel=1e-12)


def test_every_quantile_up_to_a_hundred_seeds_is_that_of_scipy():
    for freedom in range(1, 100):
        expected = stats.t.ppf(0.975, freedom)
        assert t_quantile(0.95, freedom) == pytest.approx(expected, rel=1e-11)


def test_the_interval_of_three_values_by_hand():
    # Mean 184 / 3, sd the root of 7/3, t of two degrees of freedom 4.30265.
    low, high = Summary({1: 60.0, 2: 61.0, 3: 63.0}).interval
    half = 4.302652729749462 * math.sqrt(7 / 3) / math.sqrt(3)
    assert (low, high) == pytest.approx((184 / 3 - half, 184 / 3 + half))


def test_one_seed_has_no_interval():
    assert Summary({1: 60.0}).interval is None


def test_the_best_of_independent_workers_is_called_optimistic_beside_the_score(folder, tmp_path):
    page = Reader(make_report(folder, tmp_path / "report", pick="best"))

    assert "SQuAD F1 63.0 from pretrained weights (best of 3 seeds, optimistic; median 61.0, " in (
        page.text
    )
    assert "that of the best of its seeds" in page.text
    assert page.row("SQuAD F1", "90.68 \u00b1 0.16")[2] == "\u221227.68"


GLUE = {
    "cola": {"matthews": 50.0},
    "sst2": {"accuracy": 90.0},
    "mrpc": {"accuracy": 80.0, "f1": 90.0},
    "stsb": {"pearson": 88.0, "spearman": 86.0},
    "qqp": {"accuracy": 90.0, "f1": 86.0},
    "mnli": {"accuracy_matched": 84.0, "accuracy_mismatched": 82.0},
    "qnli": {"accuracy": 91.0},
    "rte": {"accuracy": 66.0},
    "wnli": {"accuracy": 56.0},
}


def test_the_average_of_glue_counts_each_of_its_nine_tasks_once(tmp_path):
    folder = build_run(tmp_path)
    for task, metrics in GLUE.items():
        write_score(folder, task, "pretrained", 1, metrics)
    scores = gather_run(folder)

    # 50 + 90 + 85 + 87 + 88 + 83 + 91 + 66 = 640 of eight tasks, and 56.
    found = {a.name: a.of(lambda s: s.median) for a in glue_averages(scores)}
    assert found == {
        "GLUE average": pytest.approx(696 / 9),
        "GLUE average without WNLI": pytest.approx(80.0),
    }
    page = Reader(make_report(folder, tmp_path / "report"))
    assert page.row("GLUE average without WNLI", "pretrained")[2] == "80.00"


def test_without_one_of_the_tasks_there_is_no_average(tmp_path):
    folder = build_run(tmp_path)
    for task in GLUE.keys() - {"rte"}:
        write_score(folder, task, "pretrained", 1, GLUE[task])

    assert glue_averages(gather_run(folder)) == []


@pytest.mark.parametrize(
    ("task", "label"),
    [
        *[("squad", "SQuAD"), ("squad_v2", "SQuAD 2.0"), ("squad2", "SQuAD 2.0")],
        *[("glue_sst2", "SST-2"), ("sts-b", "STS-B"), ("conll2003", "CoNLL-2003")],
        ("my_task", "my_task"),
    ],
)
def test_the_name_people_know_a_task_by(task, label):
    assert task_label(task) == label


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        *[("exact", "exact match"), ("HasAns_f1", "F1 with an answer"), ("precision", "precision")],
        *[("best_f1", "F1 at the best threshold"), ("best_f1_thresh", "best threshold for F1")],
        *[("accuracy_matched", "accuracy matched"), ("matthews", "Matthews correlation")],
    ],
)
def test_the_name_people_know_a_metric_by(metric, label):
    assert metric_label(metric) == label


def test_thresholds_are_no_scores_that_are_drawn(tmp_path):
    folder = build_run(tmp_path)
    metrics = {"f1": 71.0, "exact": 70.0, "NoAns_f1": 65.0, "best_f1_thresh": -512.25}
    write_score(folder, "squad2", "pretrained", 1, metrics)
    page = Reader(make_report(folder, tmp_path / "report"))

    assert "Scores of parts and of other thresholds" in page.text
    assert page.row("SQuAD 2.0 best threshold for F1", "pretrained")[2] == "\u2212512.25"
    drawing = (tmp_path / "report/figures/scores.svg").read_text("utf-8")
    assert "SQuAD 2.0 exact match" in drawing
    assert "threshold" not in drawing


def test_a_task_with_early_stopping_says_that_its_scores_were_chosen(folder, tmp_path):
    stopping = {"early_stopping": {"every": 0.5, "patience": 3}}
    write_score(folder, "wnli", "pretrained", 1, {"accuracy": 56.0}, **stopping)
    page = Reader(make_report(folder, tmp_path / "report"))

    assert (
        "WNLI was trained with early stopping: scored on the development data every 0.5 epochs"
        in page.text
    )
    assert "RTE was trained with early stopping" not in page.text
    assert page.row("WNLI", "pretrained", "2e\u22125", "1")[6] == "40"


def test_the_step_whose_weights_were_kept_stands_beside_the_steps(folder, tmp_path):
    file = folder / "finetune/mrpc/pretrained/seed-1/manifest.json"
    best = {"step": 24, "metric": "accuracy", "score": 71.5}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"best": best}))
    page = Reader(make_report(folder, tmp_path / "report"))

    assert page.row("MRPC", "pretrained", "2e\u22125", "1")[6] == "40, kept 24"
