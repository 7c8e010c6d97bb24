import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from bert.checkpoints.checkpoint import CheckpointError, write_checkpoint
from bert.config import check
from bert.convert.given import GivenError, load_given
from bert.convert.huggingface import export_folder
from bert.convert.tensorflow import google_name
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from tests.conftest import MODEL
from tests.tensorflow_checkpoint import TOKENS, variables
from tests.test_tensorflow import INDEX, SHAPE

SECTION = MODEL | SHAPE
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", ".", "e"]
ROWS = 16  # 11 tokens, padded to a multiple of 8
TABLES = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")


def network(seed, **changes):
    model = BertForPretraining(check(ModelConfig, SECTION | changes, where="test"), TOKENS)
    initialize(model, 0.2, torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def vocabulary(tmp_path):
    folder = tmp_path / "vocab"
    folder.mkdir()
    write_vocabulary(folder, WORDS, lowercase=True)
    return folder


@pytest.fixture
def identity(vocabulary):
    digest = load_vocabulary(vocabulary).sha256
    return {"model": SECTION, "vocab_size": TOKENS, "vocabulary_sha256": digest}


@pytest.fixture
def exported(tmp_path, vocabulary):
    """A folder of transformers, and the model in it."""
    folder, model = tmp_path / "model", network(1)
    folder.mkdir()
    section = check(ModelConfig, SECTION, where="test")
    state = model.state_dict()
    export_folder(folder, state, section, vocabulary=vocabulary, provenance="A test.")
    return folder, model


@pytest.fixture
def checkpoint(tmp_path, identity):
    folder, model = tmp_path / "checkpoint", network(1)
    parts = {"model": model.state_dict(), "optimizer": {"moment": torch.zeros(1)}}
    write_checkpoint(folder, parts, identity)
    return folder, model


def files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file())


def assert_equal(found, expected):
    """Equal weights; rows that are no token are made up as zeros."""
    for name, tensor in expected.state_dict().items():
        rows = TOKENS if name in TABLES else None
        assert torch.equal(found.state_dict()[name][:rows], tensor[:rows]), name


def test_a_folder_of_transformers_fills_the_network(exported, identity):
    folder, expected = exported
    model = network(2)

    load_given(files(folder), model, identity)

    assert_equal(model, expected)
    assert torch.all(model.state_dict()[TABLES[0]][TOKENS:] == 0)


def test_a_checkpoint_of_this_project_fills_the_network(checkpoint, identity):
    folder, expected = checkpoint
    model = network(2)

    load_given(files(folder), model, identity | {"model": SECTION | {"hidden_dropout_prob": 0.3}})

    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_a_checkpoint_of_tensorflow_fills_the_network(identity, caplog):
    model = network(2)

    load_given([INDEX, *INDEX.parent.glob("*.data-*")], model, identity)

    state, expected = model.state_dict(), variables()
    for name, tensor in state.items():
        variable, transposed = google_name(name)
        values = torch.from_numpy(expected[variable])
        rows = TOKENS if name in TABLES else None
        assert torch.equal(tensor[:rows], values.T if transposed else values), name
    assert state[TABLES[0]].shape[0] == ROWS
    assert torch.all(state[TABLES[0]][TOKENS:] == 0)
    assert "no bert_config.json lies with" in caplog.text


def test_the_configuration_beside_a_checkpoint_of_tensorflow_is_compared(tmp_path, identity):
    for file in INDEX.parent.iterdir():
        shutil.copy(file, tmp_path)
    config = {"num_attention_heads": 4, "hidden_act": "gelu", "vocab_size": TOKENS}
    (tmp_path / "bert_config.json").write_text(json.dumps(config))

    with pytest.raises(GivenError, match="num_attention_heads is 4 there and 2 in the `model` sec"):
        load_given(files(tmp_path), network(2), identity)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 4}, "num_attention_heads is 2 there and 4 in the `model` section"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-12 there and 1e-05"),
        ({"norm": "pre"}, "norm is post there and pre"),
        ({"next_sentence": False}, "next_sentence is True there and False"),
        ({"intermediate_size": 16}, "intermediate_size is 12 there and 16"),
    ],
)
def test_weights_of_another_network_are_refused_by_key(exported, identity, changes, message):
    with pytest.raises(GivenError, match=message):
        load_given(
            files(exported[0]), network(2, **changes), identity | {"model": SECTION | changes}
        )


def test_another_vocabulary_is_refused(exported, checkpoint, identity):
    other = identity | {"vocabulary_sha256": "ab" * 32}
    with pytest.raises(GivenError, match=r"vocab.txt with 11 tokens is not the vocabulary of the"):
        load_given(files(exported[0]), network(2), other)
    with pytest.raises(GivenError, match=r"was trained with the vocabulary .*, the run has abab"):
        load_given(files(checkpoint[0]), network(2), other)
    larger = BertForPretraining(check(ModelConfig, SECTION, where="test"), 12)
    weights = [file for file in files(exported[0]) if file.name != "vocab.txt"]
    with pytest.raises(GivenError, match="a vocabulary of 11 tokens, the run has 12"):
        load_given(weights, larger, identity | {"vocab_size": 12})
    tables = [INDEX, *INDEX.parent.glob("*.data-*")]
    with pytest.raises(GivenError, match=r"cls.predictions.bias has shape \[11\], expected \[16\]"):
        load_given(tables, larger, identity | {"vocab_size": 12})


def test_an_encoder_without_its_heads_is_refused(exported, identity):
    file = exported[0] / "model.safetensors"
    state = load_file(file)
    save_file({n: t for n, t in state.items() if not n.startswith("cls.predictions")}, file)

    with pytest.raises(GivenError, match=r"cls\.predictions\.bias is missing; cls\.pred"):
        load_given(files(exported[0]), network(2), identity)


def test_files_that_are_no_weights_are_refused(vocabulary, checkpoint, identity):
    with pytest.raises(GivenError, match=r"weights_from names 2 files \(tokenizer.json, vocab.txt"):
        load_given(files(vocabulary), network(2), identity)
    (checkpoint[0] / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_given(files(checkpoint[0]), network(2), identity)
