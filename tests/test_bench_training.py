"""Cases, batches and workers of benchmarks/training."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from bert.data.batches import MicroBatch, Reading, StepBatch, read_steps
from bert.data.corpus import Corpus
from tests.bench import (
    FOLDER,
    KNOWN,
    TINY,
    after_backward,
    cases,
    instances,
    page,
    peer,
    rounds,
    variants,
)


@pytest.mark.parametrize(
    ("name", "share"),
    [("large-128", 0.05), ("large-512", 0.47), ("large24-512", 0.47), ("base-512-full", 0)],
)
def test_cases_have_the_padding_that_they_are_named_for(name, share):
    (found,) = cases.choose_cases([name], full=False, cuda=False)

    assert cases.padding_share(found.lengths, found.length) == pytest.approx(share, abs=0.005)
    assert found.sequences == len(found.lengths)


def test_padding_is_the_share_of_positions_without_a_token():
    assert cases.padding_share((4, 3, 1), 4) == pytest.approx(4 / 12)


def test_an_unknown_case_is_refused_with_those_that_are_there():
    with pytest.raises(ValueError, match="no case huge; choose from large-128, "):
        cases.choose_cases(["huge"], full=False, cuda=False)


def test_all_layers_are_measured_on_request_only():
    usual = cases.choose_cases(None, full=False, cuda=False)
    more = cases.choose_cases(None, full=True, cuda=False)

    assert {one.layers for one in usual} == {6, 12}
    assert {one.layers for one in more} == {6, 12, 24}


def test_a_trial_has_heads_of_64_and_a_feed_forward_of_four_widths():
    small = cases.shrink(cases.CPU_CASES[0], 128, 2)

    assert (small.hidden, small.heads, small.intermediate, small.layers) == (128, 2, 512, 2)


def test_without_tcmalloc_its_variant_is_left_out_and_refused_by_name():
    names = [one.name for one in variants.choose_variants(None, cuda=False, tcmalloc=False)]

    assert names == [name for name in KNOWN if name != "eager-tc"]
    with pytest.raises(ValueError, match="eager-tc needs libtcmalloc_minimal"):
        variants.choose_variants(["eager-tc"], cuda=False, tcmalloc=False)


def test_a_gpu_has_no_native_kernels():
    found = variants.choose_variants(None, cuda=True, tcmalloc=True)

    assert [one.name for one in found] == [
        "sdpa", "eager", "torch", "torch-lamb", "graph", "graph-lamb", "torch-padded",
    ]  # fmt: skip


def test_filling_up_appends_pad_and_moves_no_target():
    made = instances.made_instances((8, 5, 3), seed=3)
    filled = instances.fill_up(made, 8)

    assert filled.offsets.tolist() == [0, 8, 16, 24]
    rows = filled.input_ids.reshape(3, 8)
    for row, length, start in zip(rows, (8, 5, 3), (0, 8, 13), strict=True):
        assert row[:length].tolist() == made.input_ids[start : start + length].tolist()
        assert row[length:].tolist() == [instances.PAD] * (8 - length)


def test_padded_and_plain_batches_predict_the_same_tokens_at_the_same_places(tmp_path):
    made = instances.made_instances(TINY.lengths, seed=3)
    instances.write_case(tmp_path / "tiny", made, instances.made_info(8), 20)
    reading = Reading(1, 1, 3, None, 24, 0, 1)

    def targets(name):
        (batch,) = read_steps(Corpus([tmp_path / "tiny" / name]), range(1, 2), reading)
        (stream,) = batch.micro_batches
        instance = np.searchsorted(stream.cu_seqlens, stream.masked_lm_positions, "right") - 1
        place = stream.position_ids[stream.masked_lm_positions]
        lengths = np.diff(stream.cu_seqlens).tolist()
        return lengths, [*zip(instance, place, stream.masked_lm_ids, strict=True)]

    plain, padded = targets("plain.h5"), targets("padded.h5")
    assert sorted(plain[0]) == [3, 5, 8]
    assert padded[0] == [8, 8, 8]
    assert plain[1] == padded[1]
    assert len(plain[1]) == 3  # 15 % of 8, 5 and 3 tokens: one each


def test_transformers_gets_rows_with_a_mask_and_labels_where_tokens_are_predicted():
    stream = MicroBatch(
        np.array([101, 7, 103, 102, 101, 102], np.uint16),
        np.array([0, 0, 1, 1, 0, 0], np.uint8),
        np.array([0, 1, 2, 3, 0, 1], np.uint16),
        np.array([0, 4, 6], np.int32),
        np.array([2], np.int32),
        np.array([9], np.uint16),
        np.array([1, 0], np.uint8),
    )

    found = peer.pad_batch(StepBatch(1, [stream]))

    assert found["input_ids"].tolist() == [[101, 7, 103, 102], [101, 102, 0, 0]]
    assert found["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert found["labels"].tolist() == [[-100, -100, 9, -100], [-100] * 4]
    assert found["next_sentence_label"].tolist() == [1, 0]


def test_the_time_after_the_backward_pass_is_that_of_the_last_one(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "backward", torch.Tensor.backward)  # put back at the end
    end = after_backward.watch_backward(torch.device("cpu"))
    assert end() is None

    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()
    (weight * 3).sum().backward()
    found = end()

    assert weight.grad.tolist() == [5.0, 5.0, 5.0]
    assert found is not None
    assert found >= 0
    assert end() is None


def test_a_worker_that_ends_is_reported_with_its_last_words(tmp_path):
    settings = rounds.Settings("cpu", "fp32", 1, 1, 0, None)
    worker = rounds.Process(TINY, KNOWN["torch"], tmp_path / "nowhere", 100, settings)

    with pytest.raises(
        rounds.WorkerError, match=r"(?s)variant torch ended with 1:.*plain.h5 is missing"
    ):
        worker.ask("describe")
    worker.end()


@pytest.mark.slow
def test_one_command_measures_ours_beside_transformers(tmp_path):
    file = tmp_path / "speed.md"
    file.write_text(f"{page.BEGIN}\n{page.END}\n")
    command = [sys.executable, str(FOLDER / "run.py"), "--device", "cpu", "--hidden", "64",
               "--layers", "1", "--rounds", "2", "--warm-up", "1", "--threads", "1",
               "--precision", "fp32", "--cases", "large-128", "large-128-real",
               "--variants", "eager", "torch", "torch-padded",
               "--json", str(tmp_path / "found.json"), "--page", str(file)]  # fmt: skip

    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)

    found = json.loads((tmp_path / "found.json").read_text())
    made, real = found["cases"]
    assert made["padding_share"] == pytest.approx(0.05, abs=0.005)
    assert 0 < real["padding_share"] < 0.5
    for one in (made, real):
        assert one["rows"]["torch"]["ratios"].keys() == {"eager", "torch-padded"}
        seen = [
            [(step["tokens"], step["predicted"]) for step in run["steps"]]
            for run in one["runs"][0].values()
        ]
        assert seen[0] == seen[1] == seen[2]
    assert "| torch, padded |" in file.read_text()
