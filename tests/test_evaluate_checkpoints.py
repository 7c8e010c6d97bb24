import json
import logging
import shutil

import pytest
import torch

from bert.checkpoints.checkpoint import CheckpointError, step_folder, write_checkpoint
from bert.config import check
from bert.data.shards import read_info
from bert.kernels.compiled import use_kernels
from bert.manifest import write_manifest
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.train.config import EvaluateConfig, RuntimeConfig
from bert.train.evaluate_checkpoints import (
    choose_checkpoints,
    evaluate_checkpoint,
    evaluate_chosen,
    list_checkpoints,
    table,
)
from tests.conftest import MODEL, PHASE, RUNTIME, VOCAB
from tests.stages import Job, run_here
from tests.test_finetune import Operations

CPU = torch.device("cpu")
EVALUATE = {"seed": 1, "instances": None, "masking": PHASE["masking"]}


def save(folder, step, token=None, vocabulary="ab" * 32, **changes):
    """A checkpoint of a model that always guesses `token`."""
    values = MODEL | changes
    model = BertForPretraining(check(ModelConfig, values, where="a test"), VOCAB)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        if token is not None:
            model.cls.predictions.bias[token] = 1.0
    state = {"model": values, "totals": {"steps": step}, "vocabulary_sha256": vocabulary}
    moments = {"exp_avg:bias": torch.zeros(1)}
    write_checkpoint(folder, {"model": model.state_dict(), "optimizer": moments}, state)
    return folder


@pytest.fixture
def phase(tmp_path):
    """A phase that still trains: checkpoints of the steps 4, 8, 12."""
    running = tmp_path / "pretrain" / "phase1" / "running" / "0123abcd"
    for step in (4, 8, 12):
        save(step_folder(running, step), step, token=5 + step)
    return tmp_path / "pretrain" / "phase1"


def evaluated(chosen, corpus):
    config = check(EvaluateConfig, EVALUATE, where="a test")
    return evaluate_chosen(chosen, corpus, config, check(RuntimeConfig, RUNTIME, where="a"), CPU)


@pytest.mark.usefixtures("native")
def test_a_checkpoint_is_evaluated_on_the_native_kernels(make_setup, tmp_path):
    """Which have no softmax of torch in their attention; the metrics are those of torch's path."""
    corpus, runtime = make_setup().held_out, check(RuntimeConfig, RUNTIME, where="a test")
    config = check(EvaluateConfig, EVALUATE, where="a test")
    folder = save(tmp_path / "checkpoint", 1, token=9)
    found = []
    for kernels in ("native", "torch"):
        use_kernels(kernels)
        with Operations() as operations:
            found.append(evaluate_checkpoint(folder, corpus, config, runtime, CPU))
        assert ("aten._softmax.default" in operations.names) == (kernels == "torch")

    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_newest_all_and_a_named_step_are_found(phase):
    running = phase / "running" / "0123abcd"
    folders = {step: step_folder(running, step) for step in (4, 8, 12)}

    assert choose_checkpoints(phase, "all") == folders
    assert choose_checkpoints(phase, "newest") == {12: folders[12]}
    assert choose_checkpoints(phase, "8") == {8: folders[8]}
    assert choose_checkpoints(running, "4") == {4: folders[4]}


def test_the_final_checkpoint_counts_by_its_step(phase):
    final = save(phase / "checkpoint", 20)

    assert list(list_checkpoints(phase)) == [4, 8, 12, 20]
    assert choose_checkpoints(phase, "newest") == {20: final}


def test_half_a_checkpoint_is_none(phase):
    newest = step_folder(phase / "running" / "0123abcd", 12)
    newest.rename(newest.with_name(f".{newest.name}.tmp"))

    assert list(list_checkpoints(phase)) == [4, 8]


@pytest.mark.parametrize("which", ["5", "oldest", "-4"])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(phase, which):
    with pytest.raises(ValueError, match=f"no checkpoint {which}; .* steps 4, 8, 12"):
        choose_checkpoints(phase, which)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint, neither in"):
        list_checkpoints(tmp_path)


def test_running_checkpoints_of_two_recipes_are_not_mixed(phase):
    save(step_folder(phase / "running" / "ffff", 6), 6)

    with pytest.raises(ValueError, match=r"2 different runs .*0123abcd.*ffff"):
        list_checkpoints(phase)
    assert list(list_checkpoints(phase / "running" / "ffff")) == [6]


def test_each_checkpoint_is_evaluated_with_its_own_weights(phase, corpora):
    """Each model guesses one token, and the accuracies are the shares of three tokens."""
    rows = evaluated(list_checkpoints(phase), corpora[1])

    assert [row["step"] for row in rows] == [4, 8, 12]
    assert len({row["metrics"]["mlm_accuracy"] for row in rows}) > 1
    assert all(0 <= row["metrics"]["mlm_accuracy"] < 0.2 for row in rows)
    assert len({row["digests"]["model.safetensors"] for row in rows}) == 3
    single = evaluated(choose_checkpoints(phase, "8"), corpora[1])
    assert single == [rows[1]]


def test_a_checkpoint_that_the_run_deletes_meanwhile_is_left_out(phase, corpora, caplog):
    chosen = list_checkpoints(phase)
    shutil.rmtree(chosen[4])

    with caplog.at_level(logging.WARNING):
        rows = evaluated(chosen, corpora[1])

    assert [row["step"] for row in rows] == [8, 12]
    assert "step-00000004 was deleted by the run" in caplog.text
    with pytest.raises(CheckpointError, match="deleted all 1 checkpoints"):
        evaluated({4: chosen[4]}, corpora[1])


def test_a_damaged_checkpoint_is_an_error_and_not_left_out(phase, corpora):
    chosen = list_checkpoints(phase)
    (chosen[8] / "state.json").write_text("{")

    with pytest.raises(CheckpointError, match=r"step-00000008.* is damaged"):
        evaluated(chosen, corpora[1])


def test_another_vocabulary_and_longer_instances_are_refused(tmp_path, corpora):
    config = check(EvaluateConfig, EVALUATE, where="a test")
    runtime = check(RuntimeConfig, RUNTIME, where="a test")

    with pytest.raises(CheckpointError, match="vocabulary_sha256 is cdcd"):
        evaluate_checkpoint(
            save(tmp_path / "a", 1, vocabulary="cd" * 32), corpora[1], config, runtime, CPU
        )
    short = save(tmp_path / "b", 1, max_position_embeddings=24)
    with pytest.raises(ValueError, match=r"up to 32 tokens, .* has 24 positions"):
        evaluate_checkpoint(short, corpora[1], config, runtime, CPU)


def test_the_table_by_hand():
    known = {"mlm_loss": 1.23456, "mlm_accuracy": 0.72, "nsp_loss": 0.1, "nsp_accuracy": 1.0}
    none = {"mlm_loss": 10.0, "mlm_accuracy": 0.0, "nsp_loss": None, "nsp_accuracy": None}

    text = table([{"step": 100, "metrics": known}, {"step": 7038, "metrics": none}])

    assert [line.split() for line in text.splitlines()] == [
        ["step", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"],
        ["100", "1.2346", "72.00%", "0.1000", "100.00%"],
        ["7038", "10.0000", "0.00%", "-", "-"],
    ]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_script_prints_the_table_and_writes_a_receipt(phase, corpora, tmp_path, capsys):
    held_out = tmp_path / "encode" / "phase1" / "held_out.json"
    source = corpora[1].files[0]
    held_out.with_suffix("").mkdir(parents=True)
    shutil.copyfile(source, held_out.with_suffix("") / source.name)
    write_manifest(
        held_out, stage="encode", config={}, inputs={}, outputs=held_out.with_suffix("").iterdir(),
        counts={"instances": 40, "tokens": read_info(source)[2]}, instances={source.name: 40},
    )  # fmt: skip
    for name, values in (("evaluate", EVALUATE), ("runtime", RUNTIME)):
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    arguments = [
        "--config", tmp_path / "evaluate.json", "--runtime", tmp_path / "runtime.json",
        "--running", phase, "--which", "all", "--held-out", held_out,
        "--output", tmp_path / "out.json",
    ]  # fmt: skip

    run_here(Job("evaluate", [str(argument) for argument in arguments], []))

    receipt = json.loads((tmp_path / "out.json").read_text())
    assert [row["step"] for row in receipt["checkpoints"]] == [4, 8, 12]
    assert receipt["counts"] == {"instances": 40}
    assert receipt["inputs"].keys() == {source.name}
    assert capsys.readouterr().out == table(receipt["checkpoints"])
