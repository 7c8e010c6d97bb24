import json
import shutil

import pytest

from bert.report.flow import differences, trace
from bert.report.run import read_run
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_receipt


@pytest.fixture
def page(tmp_path) -> Reader:
    return Reader(make_report(build_run(tmp_path), tmp_path / "report"))


def test_the_verdict_tells_the_run_in_a_sentence(page):
    assert (
        "SQuAD F1 61.0 from pretrained weights (median of 3 seeds, sd 1.5) vs 20.1 from random "
        "weights; MRPC accuracy 71.5 from pretrained weights (1 seed)." in page.text
    )


def test_the_scores_table_has_the_numbers_of_the_receipts(page):
    # 60, 61, 63: mean 61.333, standard deviation the root of 7/3 = 1.528; its interval is
    # 61.333 -+ 4.3027 * 1.5275 / the root of 3 = 3.795.
    row = page.row("SQuAD F1", "pretrained")
    numbers = ["61.00", "61.33 \u00b1 1.53", "57.54 to 65.13", "63.00", "3", "9.75"]
    assert row[2:8] == numbers
    assert row[8] == "60.00 seed 161.00 seed 263.00 seed 3"
    one = ["71.50", "71.50", "\u2013", "71.50", "1"]
    assert page.row("MRPC accuracy", "pretrained")[2:7] == one


def test_published_scores_stand_beside_only_for_tasks_of_the_run(page):
    # The median 61 is 29.68 below the published mean, whose deviation is 0.16.
    far = ["\u221229.68", "no, 185.5 sd below", "Big", "a README"]
    assert page.row("SQuAD F1", "90.68 \u00b1 0.16")[2:] == far
    unknown = ["\u221214.50", "no sd published", "Large", "example.org/mrpc"]
    assert page.row("MRPC accuracy", "86.00")[2:] == unknown
    assert "not comparable" in page.text
    assert "Absent" not in page.text


def test_a_score_within_two_deviations_of_a_published_one_is_said_to_be(tmp_path):
    big = {"task": "squad", "model": "Big", "metric": "f1", "value": 61.5, "source": "here"}
    page = Reader(
        make_report(build_run(tmp_path), tmp_path / "report", published=[big | {"sd": 0.3}])
    )
    assert page.row("SQuAD F1", "61.50 \u00b1 0.30")[2:4] == ["\u22120.50", "yes"]


def test_without_published_scores_there_is_no_word_about_them(tmp_path):
    page = Reader(make_report(build_run(tmp_path), tmp_path / "report", published=[]))
    assert "not comparable" not in page.text


def test_each_phase_shows_its_counts_and_held_out_results(page):
    measured = ["4.250", "31.2 %", "0.500", "87.5 %"]
    assert page.row("phase1", "20") == ["phase1", "20", "3,600", "40 k", *measured]
    assert page.row("phase2", "20") == ["phase2", "20", "1,200", "40 k", *measured]
    assert "phase1, phase2 on Some CPU, threads 2." in page.text


def test_the_way_of_the_data_adds_up(page):
    assert page.row("Instances", "1,200") == ["Instances", "1,200", "400"]
    assert page.row("Shards") == ["Shards", "8", "8"]
    assert page.row("Held-out instances") == ["Held-out instances", "20", "20"]
    assert page.row("Tokens per instance") == ["Tokens per instance", "96.0", "384.0"]
    assert page.row("Padding avoided") == ["Padding avoided", "25.0 %", "25.0 %"]
    assert page.row("Predicted tokens") == ["Predicted tokens", "15.0 %", "15.0 %"]
    assert page.row("Random second halves") == ["Random second halves", "50.0 %", "50.0 %"]
    assert page.row("Times seen") == ["Times seen", "3", "3"]
    assert "108 items read, 8 left out" in page.text
    assert "90 documents for training, 10 held out" in page.text
    assert "5 redirect left out" in page.text
    skipped = [attribute for attribute in page.attributes if attribute[2] == "skipped"]
    assert len(skipped) == 5  # two of extract, two of filter, one of split
    assert "95 documents kept, 5 left out" in page.text
    assert "the counts agree" in page.text


def test_lost_documents_are_told(tmp_path):
    folder = build_run(tmp_path)
    write_receipt(folder / "filter/manifest.json", "filter", {"documents": 99, "kept": 99})
    counts = {"documents": 98, "dealt_documents": 88}
    write_receipt(folder / "split/manifest.json", "split", counts)
    run = read_run(folder)
    assert differences(run, trace(run)) == [
        "100 documents were extracted, but split saw 98",
        "100 documents were extracted, but filter saw 99",
        "phase1: 88 documents were dealt out, but 90 encoded",
        "phase2: 88 documents were dealt out, but 90 encoded",
    ]


def test_lost_instances_are_told(tmp_path):
    folder = build_run(tmp_path)
    counts = {"shards": 4, "instances": 599, "tokens": 1, "phase_instances": 1100}
    write_receipt(folder / "shard/phase1/1.json", "shard", counts)
    run = read_run(folder)
    assert differences(run, trace(run)) == [
        "phase1: 1200 instances were encoded, but 1199 are in shards",
        "phase1: 1200 instances were encoded, but jobs of shard saw 1100, 1200",
    ]
    assert "The counts do not agree." in Reader(make_report(folder, tmp_path / "report")).text


def test_costs_are_those_of_the_benchmarks_and_receipts(page):
    assert page.row("extract", "2")[2:] == ["12 s", "10 s", "315 MB", "4 kB"]
    assert page.row("pretrain", "1")[2:] == ["2.0 h", "3.9 h", "2.1 GB", "4 kB"]
    assert page.row("vocab", "1", "\u2013")[3:] == ["\u2013", "\u2013", "2 kB"]
    assert "Without a benchmark file: generate, filter, split, vocab" in page.text


def test_a_run_without_benchmarks_has_a_page_too(tmp_path):
    folder = build_run(tmp_path)
    shutil.rmtree(folder / "benchmarks")
    page = Reader(make_report(folder, tmp_path / "report"))
    assert page.row("All")[2:5] == ["\u2013"] * 3
    assert not (tmp_path / "report/figures/costs.svg").exists()


def test_provenance_shows_code_commit_versions_configuration_and_digests(page):
    assert page.row("split", "1", "c0dec0dec0de")[3] == "91f091f091f0"
    for words in ("python 3.11.9, torch 2.13.0", '"max_seq_length": 512', "0b" * 32, "1a" * 32):
        assert words in page.text


def test_a_long_list_of_outputs_is_cut_and_the_rest_is_told(tmp_path):
    folder = build_run(tmp_path)
    outputs = {f"part-{i:03d}": {"sha256": f"{i:064x}", "bytes": 1} for i in range(100)}
    write_receipt(folder / "split/manifest.json", "split", {}, outputs=outputs)
    page = Reader(make_report(folder, tmp_path / "report"))
    assert "Outputs (100)" in page.text
    assert "and 60 more; digest of the list" in page.text
    assert "part-039" in page.text
    assert "part-040" not in page.text


def test_a_model_without_next_sentence_task_has_no_empty_chart(tmp_path):
    folder = build_run(tmp_path)
    for phase in ("phase1", "phase2"):
        log = folder / f"pretrain/{phase}/metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        for line in lines:
            loss = 0.0 if line["kind"] == "train" else None
            line.update(nsp_loss=loss, nsp_accuracy=None, mfu=None)
        log.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        metrics = {"mlm_loss": 4.25, "mlm_accuracy": 0.3125, "nsp_loss": None, "nsp_accuracy": None}
        file = folder / f"evaluate/{phase}/manifest.json"
        write_receipt(file, "evaluate", {"instances": 20}, metrics=metrics)
    page = Reader(make_report(folder, tmp_path / "report"))
    assert "Not logged in this run: nsp loss, mfu." in page.text
    assert "NSP accuracy" not in page.text.partition("Pretraining")[0]
    names = {file.stem for file in (tmp_path / "report/figures").iterdir()}
    assert {"mlm_loss", "accuracy"} <= names
    assert not {"nsp_loss", "mfu"} & names


def test_curves_end_at_the_last_logged_values(page):
    # 8 - 20 / 5 and 0.7 - 20 / 50 for training; the held-out values of the builder.
    for words in ("train 4.00 held out 4.25", "train 0.30 held out 0.50", "5 k", "40.0 %"):
        assert words in page.text
