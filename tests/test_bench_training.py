"""Arithmetic, batches and tables of benchmarks/training, whose modules are no package."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from bert.data.batches import MicroBatch, Reading, StepBatch, read_steps
from bert.data.corpus import Corpus
from bert.manifest import ROOT

FOLDER = ROOT / "benchmarks" / "training"
sys.path.append(str(FOLDER))
cases, variants, instances, groups, figures, page, peer, rounds, after_backward = (
    importlib.import_module(name)
    for name in (
        "cases", "variants", "instances", "groups", "figures", "page", "peer", "rounds",
        "after_backward",
    )
)  # fmt: skip

TINY = cases.case("tiny", "base", 1, (8, 5, 3), 8)._replace(hidden=64, heads=1, intermediate=64)
KNOWN = {one.name: one for one in [*variants.PEERS, *variants.OWN]}


def steps(*seconds, **values):
    usual = {"flops": 1e9, "probes": [1e9, 1e9], "tokens": 10, "sequences": 2, "optimizer_s": 0.1,
             "peak_mb": 500.0, "imported_mb": 200.0}  # fmt: skip
    return [usual | values | {"seconds": one} for one in seconds]


def run(*seconds, around=None, **values):
    return {"steps": steps(*seconds, **values), "first_loss": 11.0, "around": around}


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


def test_all_variants_run_together_where_memory_allows():
    all_ = list(KNOWN.values())

    assert groups.make_groups(TINY, all_, 1e12) == [all_]


@pytest.mark.parametrize("gigabytes", [20, 24, 28])
def test_where_memory_is_short_each_way_of_ours_still_meets_every_peer(gigabytes):
    case, all_ = cases.choose_cases(["large-512"], full=False, cuda=False)[0], list(KNOWN.values())
    found = groups.make_groups(case, all_, gigabytes * 1e9)
    met = {(a.name, b.name) for group in found for a in group for b in group}

    assert len(found) > 1
    assert {(own.name, one.name) for own in variants.OWN for one in variants.PEERS} <= met
    assert all(groups.needed_bytes(case, group, cuda=False) <= gigabytes * 1e9 for group in found)


def test_a_way_of_ours_that_fits_beside_no_peer_is_left_out():
    case, all_ = cases.FULL_CASES[0], list(KNOWN.values())
    peer_and = {
        one.name: groups.needed_bytes(case, [variants.PEERS[2], one], cuda=False)
        for one in variants.OWN
    }

    found = groups.make_groups(case, all_, (peer_and["native-lamb"] + peer_and["torch"]) / 2)

    assert {one.name for group in found for one in group if one.own} >= {"native", "native-lamb"}
    assert not any(one.name.startswith("torch") for group in found for one in group)


def test_a_case_for_which_no_pair_fits_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"large24-128 needs some \d+ GB .* and 1 GB are free"):
        groups.make_groups(cases.FULL_CASES[0], list(KNOWN.values()), 1e9)


def test_mfu_is_useful_flops_a_second_over_the_mean_of_the_probes_around_the_step():
    (step,) = steps(2.0, flops=3e12, probes=[4e12, 2e12])

    assert figures.mfu(step) == 0.5


def test_a_ratio_is_the_median_of_the_rounds_not_a_ratio_of_medians():
    group = {"own": run(1.0, 2.0, 4.0), "peer": run(3.0, 2.0, 8.0)}

    assert figures.ratios("own", [group]) == {"peer": {"median": 2.0, "least": 1.0, "most": 3.0}}


def test_ratios_are_taken_within_groups_only():
    found = [{"a": run(1.0), "b": run(2.0)}, {"a": run(100.0), "c": run(300.0)}]

    assert {name: one["median"] for name, one in figures.ratios("a", found).items()} == {
        "b": 2.0,
        "c": 3.0,
    }
    assert figures.ratios("b", found).keys() == {"a"}


def test_a_row_counts_real_tokens_and_takes_medians_over_all_groups():
    around = {"loading_s": 0.02, "logging_s": 0.01}
    found = [
        {"own": run(1.0, 2.0, around=around, flops=2e9, optimizer_s=0.2)},
        {"own": run(4.0, flops=2e9, optimizer_s=0.2, peak_mb=700.0)},
    ]

    row = figures.row("own", found, peak_flops=1e10)

    assert (row["step_s"], row["best_step_s"]) == (2.0, 1.0)
    assert (row["tokens_per_s"], row["sequences_per_s"]) == (5.0, 1.0)
    assert (row["mfu"], row["mfu_of_peak"]) == (1.0, 0.1)
    assert (row["optimizer_share"], row["loading_share"]) == (0.1, 0.01)
    assert row["logging_share"] == 0.005
    assert (row["peak_mb"], row["above_import_mb"]) == (700.0, 500.0)


@pytest.mark.parametrize("other", [12.0, float("nan")])
def test_variants_that_start_from_another_loss_are_refused(other):
    figures.check_losses({"a": {"first_loss": 11.0}, "b": {"first_loss": 11.2}})

    with pytest.raises(ValueError, match="One of them trains something else"):
        figures.check_losses({"a": {"first_loss": 11.0}, "b": {"first_loss": other}})


def result():
    found = [{"eager": run(4.0, 6.0), "native": run(2.0, 2.0, around={"loading_s": 0.01,
              "logging_s": 0.002})}]  # fmt: skip
    rows = {
        name: {"label": KNOWN[name].label} | figures.row(name, found)
        for name in ("eager", "native")
    }
    return {
        "date": "2026-11-01",
        "machine": {
            "device": {"name": "A CPU", "device": "cpu"},
            "transformers": "5.0", "tcmalloc": None,
        },
        "settings": {"rounds": 2, "warm_up": 1},
        "cases": [
            cases.CPU_CASES[1]._asdict()
            | {"padding_share": 0.4717, "rows": rows, "groups": [["eager", "native"]],
               "left_out": ["native, padded"]}
        ],
    }  # fmt: skip


def test_the_page_gets_its_figures_between_the_marks_and_keeps_its_prose(tmp_path):
    file = tmp_path / "speed.md"
    file.write_text(f"# Speed\n\nBefore.\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n")

    page.write_page(file, [result()])
    once = file.read_text()
    page.write_page(file, [result()])

    assert file.read_text() == once
    assert once.startswith(f"# Speed\n\nBefore.\n\n{page.BEGIN}\n")
    assert once.endswith(f"{page.END}\n\nAfter.\n")
    assert "old" not in once
    assert "47.2% padding" in once
    assert "Memory is too short for: native, padded." in once
    assert "libtcmalloc_minimal is not installed here" in once
    assert (
        "| native, unpadded | 5 | 1 | 2 (2) | 50% | 5.0% | 500 (300) | **2.50** (2.00 to 3.00) |"
        in once
    )
    assert "loading takes at most 0.50%, logging 0.10%" in once


def test_a_page_without_marks_is_refused(tmp_path):
    file = tmp_path / "speed.md"
    file.write_text(page.BEGIN)

    with pytest.raises(ValueError, match="must hold the lines"):
        page.write_page(file, [result()])


def test_the_page_of_the_project_has_its_marks():
    text = (ROOT / "docs" / "speed.md").read_text()

    assert (text.count(page.BEGIN), text.count(page.END)) == (1, 1)


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
