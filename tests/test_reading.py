import logging
import shutil

import pytest
import torch

from bert.checkpoints.checkpoint import CheckpointError, write_checkpoint
from bert.convert.fitting import fit
from bert.convert.found import WeightsError
from bert.convert.huggingface import export_folder
from bert.convert.nvidia import export_nvidia
from bert.convert.reading import read_weights
from bert.convert.same_vocabulary import check_vocabulary
from bert.convert.tensorflow import our_name
from bert.convert.weights import with_rows
from bert.data.vocab import load_vocabulary
from tests.foreign_weights import (
    TOKENS,
    WORDS,
    assert_same,
    files,
    identity,
    network,
    section,
    vocabulary_folder,
)
from tests.tensor_bundle_files import write_bundle
from tests.tensorflow_checkpoint import shapes


@pytest.fixture
def vocabulary(tmp_path):
    return vocabulary_folder(tmp_path / "vocab")


def write_own(folder, vocabulary, state):
    moments = {"exp_avg:bert.pooler.dense.bias": torch.zeros(8)}
    parts = {"model": state, "optimizer": moments, "preconditioner": {"A": torch.eye(2)}}
    write_checkpoint(folder, parts, identity(vocabulary))


def write_transformers(folder, vocabulary, state):
    folder.mkdir()
    export_folder(folder, state, section(), vocabulary=vocabulary, provenance="A test.")


def write_nvidia(folder, vocabulary, state):
    folder.mkdir()
    export_nvidia(folder, state, section(), vocabulary=vocabulary)


def write_tensorflow(folder, vocabulary, state):
    """A checkpoint of the variables that have these values."""
    folder.mkdir()
    shutil.copy(vocabulary / "vocab.txt", folder)
    variables = {}
    for variable in shapes():
        name, transposed = our_name(variable)
        tensor = with_rows(name, state[name], TOKENS)
        variables[variable] = (tensor.T if transposed else tensor).contiguous().numpy()
    write_bundle(folder / "bert_model.ckpt", variables, shards=2)


WRITERS = {
    "checkpoint of this project": write_own,
    "folder of transformers": write_transformers,
    "PyTorch checkpoint in NVIDIA's layout": write_nvidia,
    "TensorFlow 1 checkpoint": write_tensorflow,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_there_and_back_changes_no_bit_of_any_layout(tmp_path, vocabulary, layout):
    state, folder = network().state_dict(), tmp_path / "weights"
    WRITERS[layout](folder, vocabulary, state)

    found = read_weights(files(folder))
    fitted = fit(found, section(), TOKENS, "phase2")

    assert found.layout == layout
    padded = layout not in ("folder of transformers", "TensorFlow 1 checkpoint")
    assert_same(fitted.state, state, rows=None if padded else TOKENS)
    assert fitted.config == section()
    check_vocabulary(files(folder), found, load_vocabulary(vocabulary))


@pytest.mark.parametrize("layout", WRITERS)
def test_another_vocabulary_is_refused(tmp_path, vocabulary, layout):
    folder, other = tmp_path / "weights", vocabulary_folder(tmp_path / "other", [*WORDS[:-1], "x"])
    WRITERS[layout](folder, vocabulary, network().state_dict())
    found = read_weights(files(folder))

    with pytest.raises(WeightsError, match=r"trained with the vocabulary|is not the vocabulary of"):
        check_vocabulary(files(folder), found, load_vocabulary(other))


def test_weights_without_a_vocabulary_are_taken_with_a_warning(tmp_path, vocabulary, caplog):
    write_nvidia(tmp_path / "weights", vocabulary, network().state_dict())
    (tmp_path / "weights/vocab.txt").unlink()
    found = read_weights(files(tmp_path / "weights"))

    with caplog.at_level(logging.WARNING):
        check_vocabulary(files(tmp_path / "weights"), found, load_vocabulary(vocabulary))

    assert "no vocabulary lies with the PyTorch checkpoint" in caplog.text


def test_own_moments_are_skipped_by_name_and_the_step_is_kept(tmp_path, vocabulary):
    write_own(tmp_path / "weights", vocabulary, network().state_dict())

    found = read_weights(files(tmp_path / "weights"))

    assert found.skipped == {
        "optimizer.safetensors:exp_avg:bert.pooler.dense.bias": "moment of the optimizer",
        "preconditioner.safetensors:A": "state of K-FAC",
    }
    assert found.facts["imported_step"] == 12


def test_a_folder_by_a_trainer_is_known_by_its_configuration(tmp_path, vocabulary):
    write_transformers(tmp_path / "weights", vocabulary, network().state_dict())
    for name in ("optimizer.pt", "rng_state.pth", "1_Pooling/config.json"):
        (tmp_path / "weights" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "weights" / name).write_bytes(b"{}")

    assert read_weights(files(tmp_path / "weights")).layout == "folder of transformers"


def test_items_without_weights_or_with_several_are_refused(tmp_path, vocabulary):
    with pytest.raises(WeightsError, match=r"2 files with 0 checkpoints \(tokenizer.json, vocab.t"):
        read_weights(files(vocabulary))
    for name in ("ckpt_1.pt", "ckpt_2.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(WeightsError, match=r"2 checkpoints \(ckpt_1.pt, ckpt_2.pt\); expected one"):
        read_weights([tmp_path / "ckpt_1.pt", tmp_path / "ckpt_2.pt"])


def test_a_file_that_lies_there_but_is_not_fetched_is_not_read(tmp_path, vocabulary):
    write_transformers(tmp_path / "weights", vocabulary, network().state_dict())
    with pytest.raises(WeightsError, match=r"model.safetensors is needed \(1 files in all\) and"):
        read_weights([tmp_path / "weights/config.json"])


def test_a_damaged_checkpoint_of_this_project_is_refused(tmp_path, vocabulary):
    write_own(tmp_path / "weights", vocabulary, network().state_dict())
    (tmp_path / "weights/model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_weights(files(tmp_path / "weights"))
