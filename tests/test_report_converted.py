"""Runs that start from weights that somebody else trained: fine-tuning alone, or phase 2 alone."""

import json
import shutil

import pytest

from bert.report.data_card import data_card
from bert.report.flow import differences, trace
from bert.report.run import RunError, read_run
from tests.test_report_page import Reader, make_report
from tests.test_report_run import build_run, write_receipt

TRAINING = ("extract", "filter", "split", "encode", "shard", "examine", "pretrain", "evaluate")
CONVERTED = {
    "layout": "TensorFlow 1 checkpoint",
    "imported_step": 28252,
    "skipped_by_reason": {"optimizer slot": 3, "counter, kept as imported_step": 1},
    "used": {"bert/pooler/dense/kernel": "bert.pooler.dense.weight"},
    "skipped": {"bert/pooler/dense/kernel/adam_m": "optimizer slot"},
    "made": {"cls.seq_relationship.bias": "zeros"},
    "differences": {"hidden_size": {"files": 384, "section": 1024, "taken": 384}},
    "other_files": ["README.md"],
    "inputs": {"raw/model.ckpt.index": "5e" * 32, "vocabulary": "7a" * 32},
}


def write_convert(run, **changes):
    counts = {"tensors": 206, "used": 202, "skipped": 4, "parameters": 33_400_000}
    write_receipt(run / "convert/manifest.json", "convert", counts, **CONVERTED | changes)
    for task in ("squad", "mrpc"):
        counts = {"train_examples": 3668, "train_features": 3668, "dev_examples": 408}
        write_receipt(run / f"features/{task}/manifest.json", "features", counts)


@pytest.fixture
def finetuned(tmp_path):
    """A run that only fine-tunes."""
    run = build_run(tmp_path)
    for stage in (*TRAINING, "generate", "export"):
        shutil.rmtree(run / stage)
    shutil.rmtree(run / "benchmarks")
    write_convert(run)
    return run


@pytest.fixture
def second_phase(tmp_path):
    """A run that trains phase 2 from weights of somebody else's phase 1."""
    run = build_run(tmp_path)
    for stage in ("encode", "shard", "examine", "pretrain", "evaluate"):
        shutil.rmtree(run / stage / "phase1")
    write_convert(run)
    return run


def test_a_run_that_only_fine_tunes_has_a_whole_page(finetuned, tmp_path):
    page = Reader(make_report(finetuned, tmp_path / "report"))

    assert "SQuAD F1 61.0 from pretrained weights" in page.text
    sections = {v for name, key, v in page.attributes if (name, key) == ("section", "id")}
    assert sections == {"scores", "data", "cost", "provenance"}
    links = {
        v[1:] for name, key, v in page.attributes if (name, key) == ("a", "href") and v[0] == "#"
    }
    assert links == sections
    assert "the weights were trained elsewhere" in page.text
    assert "features mrpc 3,668 train examples" in page.text
    assert "the counts agree" not in page.text
    names = {file.stem for file in (tmp_path / "report/figures").iterdir()}
    assert names == {"scores"}
    assert (tmp_path / "report/curves_train.csv").read_text() == "phase,step\n"
    document = json.loads((tmp_path / "report/scores.json").read_text())
    assert (document["pretrain"], document["evaluate"]) == ({}, {})


def test_the_page_says_where_the_weights_come_from(finetuned, tmp_path):
    page = Reader(make_report(finetuned, tmp_path / "report"))

    assert "They were trained elsewhere: TensorFlow 1 checkpoint, step 28,252." in page.text
    assert "202 of 206 tensors are used, 33.4 M parameters." in page.text
    assert "Left out: 3 (optimizer slot), 1 (counter, kept as imported_step)." in page.text
    assert "Files that were not read: README.md." in page.text
    assert page.row("raw/model.ckpt.index")[1] == "5e" * 32
    assert page.row("bert/pooler/dense/kernel/adam_m")[1] == "optimizer slot"
    assert page.row("cls.seq_relationship.bias")[1] == "zeros"
    assert page.row("hidden_size")[1] == "files 384, section 1024, taken 384"
    assert page.row("convert")[1] == "1"


def test_a_receipt_of_convert_that_says_little_is_shown_as_far_as_it_goes(finetuned, tmp_path):
    write_receipt(finetuned / "convert/manifest.json", "convert", {})
    page = Reader(make_report(finetuned, tmp_path / "report"))

    assert "They were trained elsewhere. vocab 1 receipt" in page.text


def test_a_long_list_of_tensors_is_cut_and_the_rest_is_told(finetuned, tmp_path):
    write_convert(finetuned, skipped={f"slot_{n:03d}": "optimizer slot" for n in range(100)})
    page = Reader(make_report(finetuned, tmp_path / "report"))

    assert "Tensors that were left out (100)" in page.text
    assert "and 40 more" in page.text
    assert "slot_060" not in page.text


def test_the_data_card_of_fine_tuning_alone_knows_no_text(finetuned):
    card = data_card(read_run(finetuned))

    assert "The weights were trained elsewhere (TensorFlow 1 checkpoint, step 28,252)" in card
    assert "It trained them on none." in card
    assert f"- `raw/model.ckpt.index` sha256 `{'5e' * 32}`" in card
    assert "## Sources" not in card
    assert "## Shards" not in card
    assert "## Vocabulary" in card


def test_left_over_text_of_another_configuration_is_not_the_text_of_the_weights(finetuned):
    write_receipt(finetuned / "extract/books/manifest.json", "extract", {"documents": 30})

    assert "## Sources" not in data_card(read_run(finetuned))


def test_a_run_of_phase_2_alone_has_its_text_and_its_charts(second_phase, tmp_path):
    run = read_run(second_phase)
    flow = trace(run)
    page = Reader(make_report(second_phase, tmp_path / "report"))
    card = (tmp_path / "report/data_card.md").read_text("utf-8")

    assert run.phases() == ["phase2"]
    assert [phase.instances for phase in flow.phases] == [400]
    assert differences(run, flow) == []
    assert page.row("phase2", "20")[2] == "1,200"
    assert "held out, after phase2" in page.text
    assert (tmp_path / "report/figures/data.svg").exists()
    assert "What this run trained them on follows." in card
    assert "## Sources" in card


def test_without_converted_weights_pretraining_is_missed(finetuned):
    shutil.rmtree(finetuned / "convert")

    with pytest.raises(FileNotFoundError, match="the rule `extract` writes it"):
        read_run(finetuned)


def test_a_phase_of_converted_weights_still_needs_its_shards(second_phase):
    shutil.rmtree(second_phase / "shard")
    shutil.rmtree(second_phase / "encode")

    with pytest.raises(FileNotFoundError, match="phase2 was pretrained; the rule `shard`"):
        read_run(second_phase)


def test_files_that_are_being_written_are_not_read(finetuned):
    running = finetuned / "finetune/squad/pretrained/.seed-9.tmp"
    shutil.copytree(finetuned / "finetune/squad/pretrained/seed-1", running)

    assert "squad/pretrained/.seed-9.tmp" not in read_run(finetuned).receipts["finetune"]


def test_a_score_without_headline_is_refused_with_the_rule_that_writes_it(finetuned):
    file = finetuned / "score/mrpc/pretrained/seed-1/metrics.json"
    receipt = json.loads(file.read_text())
    receipt.pop("headline")
    file.write_text(json.dumps(receipt))

    with pytest.raises(RunError, match=r"no headline; .* Run the rule `score` again"):
        read_run(finetuned)
