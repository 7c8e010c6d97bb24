import csv
import json
import math

import numpy as np
import pytest
import torch

from bert.data.batches import Reading, read_steps
from bert.data.shards import read_instances
from bert.manifest import versions
from bert.model.heads import BertForPretraining
from bert.train.diagnostics import (
    BadStep,
    gradient_statistics,
    instance_rows,
    report_folder,
    weight_statistics,
    write_report,
)

BAD = BadStep(7, "stop", math.nan, 0.7, math.inf, 1e-3, None, 0, [])
BATCH = 37  # 90 instances: step 3 lies in two epochs


def reading_of(setup, rank, world, **changes):
    base = Reading(5, 1, BATCH, setup.config.masking, 128, rank, world)
    return base._replace(**changes)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def original_streams(micro):
    """The instances of a micro-batch with their masks taken off."""
    ids = micro.input_ids.copy()
    ids[micro.masked_lm_positions] = micro.masked_lm_ids
    return [ids[a:b].tolist() for a, b in zip(micro.cu_seqlens, micro.cu_seqlens[1:], strict=False)]


@pytest.mark.parametrize("world", [1, 3, 40])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_the_instances_named_are_those_that_the_loader_gave(make_setup, tmp_path, world, step):
    """Read back from the named row of the named shard, they equal what went through the model."""
    setup = make_setup()
    shards = {file.name: read_instances(file)[0] for file in setup.train.files}

    named = {}
    for rank, micro_batch, _, instance, shard, row, tokens in instance_rows(
        setup.train, reading_of(setup, 0, world), step
    ):
        one = shards[shard]
        ids = one.input_ids[int(one.offsets[row]) : int(one.offsets[row + 1])].tolist()
        assert tokens == len(ids)
        assert np.array_equal(setup.train.take(np.array([instance])).input_ids, ids)
        named.setdefault(rank, {}).setdefault(micro_batch, []).append(ids)

    given = {}
    for rank in range(world):
        (batch,) = read_steps(setup.train, range(step, step + 1), reading_of(setup, rank, world))
        streams = [original_streams(micro) for micro in batch.micro_batches]
        if streams:
            given[rank] = dict(enumerate(streams))
    assert named == given
    assert sum(len(ids) for micro in named.values() for ids in micro.values()) == BATCH


def test_epochs_are_those_of_the_samples(make_setup):
    """Step 3 takes the samples 74 to 110, of which the first 16 belong to epoch 0 of 90."""
    epochs = [row[2] for row in instance_rows(*_one_rank(make_setup()), 3)]

    assert epochs == [0] * 16 + [1] * 21


def _one_rank(setup):
    return setup.train, reading_of(setup, 0, 1)


def make_report(setup, tmp_path, world=2, bad=BAD):
    model = BertForPretraining(setup.model, setup.train.info.vocab_size)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.cls.predictions.bias.grad[3] = math.inf
    model.bert.pooler.dense.weight.grad[:2, 0] = math.nan
    folder = report_folder(tmp_path, 1, bad)
    for rank in range(world):
        reading = reading_of(setup, rank, world)
        (batch,) = read_steps(setup.train, range(bad.step, bad.step + 1), reading)
        micro = batch.micro_batches
        losses = [(2.0 * len(m.masked_lm_ids), 0.5 * len(m.next_sentence_labels)) for m in micro]
        write_report(
            folder, bad._replace(micro_losses=losses), micro, model, setup.train, reading,
            {"phase": setup.config.model_dump()},
        )  # fmt: skip
    return folder


def test_a_report_holds_the_step_and_stands_in_its_own_folder(make_setup, tmp_path):
    setup = make_setup()

    folder = make_report(setup, tmp_path)

    assert folder == tmp_path / "diagnostics" / "phase1-step7"
    assert sorted(path.name for path in folder.iterdir()) == [
        "instances.csv", "micro_batches-rank0.csv", "micro_batches-rank1.csv", "report.json",
    ]  # fmt: skip
    report = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    expected = {
        "phase": 1, "step": 7, "verdict": "stop", "mlm_loss": "nan", "nsp_loss": 0.7,
        "gradient_norm": "inf", "learning_rate": 1e-3, "loss_scale": None, "ranks": 2,
    }  # fmt: skip
    assert {key: report[key] for key in expected} == expected
    assert report["config"]["phase"]["batch"] == setup.config.batch
    assert report["versions"] == versions()


def test_micro_batches_of_each_rank_have_their_means_and_counts(make_setup, tmp_path):
    setup = make_setup()
    folder = make_report(setup, tmp_path)

    instances = rows_of(folder / "instances.csv")
    for rank in ("0", "1"):
        rows = rows_of(folder / f"micro_batches-rank{rank}.csv")
        assert {row["mlm_loss"] for row in rows} == {"2.0"}
        assert {row["nsp_loss"] for row in rows} == {"0.5"}
        for row in rows:
            own = [
                one for one in instances
                if one["rank"] == rank and one["micro_batch"] == row["micro_batch"]
            ]  # fmt: skip
            assert len(own) == int(row["instances"])
            assert sum(int(one["tokens"]) for one in own) == int(row["tokens"])
            assert int(row["predictions"]) >= int(row["instances"])


def test_gradients_are_named_largest_first_and_all_that_are_not_finite(make_setup, tmp_path):
    folder = make_report(make_setup(), tmp_path)

    gradients = json.loads((folder / "report.json").read_text())["gradients"]

    assert gradients["not_finite"] == {
        "bert.pooler.dense.weight": {"nan": 2, "inf": 0},
        "cls.predictions.bias": {"nan": 0, "inf": 1},
    }
    norms = list(gradients["largest"].values())
    assert len(norms) == 20
    assert norms == sorted(norms, reverse=True)
    first = next(iter(gradients["largest"]))
    assert first == "bert.embeddings.word_embeddings.weight"
    assert norms[0] == pytest.approx(math.sqrt(56 * 16)), "all ones; 50 rows padded to 56"


def test_statistics_of_weights_by_hand():
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -4.0], [math.nan, math.inf]]))
        layer.bias.fill_(math.nan)

    found = weight_statistics(layer)

    rms = pytest.approx(math.sqrt(12.5))
    assert found == {
        "weight": {"not_finite": 2, "min": -4.0, "max": 3.0, "rms": rms},
        "bias": {"not_finite": 2},
    }
    assert gradient_statistics(layer) == {"largest": {}, "not_finite": {}}


def test_a_step_that_fails_again_after_a_rollback_has_its_own_report(tmp_path):
    again = report_folder(tmp_path, 2, BAD._replace(rollbacks=1))

    assert again == tmp_path / "diagnostics" / "phase2-step7-rollback1"


def test_a_report_written_again_replaces_the_one_before(make_setup, tmp_path):
    """A run that was killed meets the same step again, and says the same."""
    setup = make_setup()
    folder = make_report(setup, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}

    make_report(setup, tmp_path)

    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert len(before) == 3
