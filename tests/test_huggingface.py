import json
import os

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer

from bert.config import check
from bert.convert.huggingface import export_folder
from bert.convert.huggingface_config import HuggingFaceError
from bert.convert.huggingface_files import read_huggingface
from bert.data.vocab import write_vocabulary
from bert.model.attention import sequences_of
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", ".", "e"]
VOCAB = len(TOKENS)
SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.2,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "positions": "learned",
    "position_init": "normal",
    "norm": "post",
    "layer_norm_eps": 1e-12,
    "vocab_multiple": 8,
    "next_sentence": True,
}
TABLE = "bert.embeddings.word_embeddings.weight"


def config(**changes):
    return check(ModelConfig, SMALL | changes, where="test")


def make(**changes):
    model = BertForPretraining(config(**changes), VOCAB).eval()
    initialize(model, 0.2, torch.Generator().manual_seed(1))
    return model


@pytest.fixture
def vocabulary(tmp_path):
    folder = tmp_path / "vocab"
    folder.mkdir()
    write_vocabulary(folder, TOKENS, lowercase=True)
    return folder


@pytest.fixture
def export(tmp_path, vocabulary):
    def write(model, name="model", **changes):
        folder = tmp_path / name
        folder.mkdir()
        counts = export_folder(
            folder,
            model.state_dict(),
            config(**changes),
            vocabulary=vocabulary,
            provenance="Made by a test.",
        )
        return folder, counts

    return write


def load(kind, folder):
    """The model of transformers, which must find every weight and no other."""
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert {key: list(value) for key, value in info.items() if value} == {}
    return model.eval()


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_exported_model_computes_the_same_in_transformers(export, activation):
    model = make(hidden_act=activation)
    folder, _ = export(model, hidden_act=activation)
    long, short = torch.tensor([2, 5, 6, 7, 3, 8, 9, 3]), torch.tensor([2, 10, 9, 3])
    segments = torch.tensor([0] * 5 + [1] * 3 + [0] * 4)
    places = torch.cat([torch.arange(8), torch.arange(4)])
    ours = model(torch.cat([long, short]), segments, places, sequences_of([8, 4]), torch.arange(12))
    loaded = load(transformers.BertForPreTraining, folder)
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones(8), torch.ones(4)], batch_first=True)
    theirs = loaded(
        input_ids=pad([long, short], batch_first=True),
        token_type_ids=pad(segments.split([8, 4]), batch_first=True),
        attention_mask=mask,
    )
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(ours.mlm_logits, theirs.prediction_logits[mask.bool()], **close)
    torch.testing.assert_close(ours.nsp_logits, theirs.seq_relationship_logits, **close)
    assert loaded.config.attention_probs_dropout_prob == 0.2
    assert loaded.config.pad_token_id == 0


def test_fixed_positions_become_an_ordinary_table(export):
    fixed = {"positions": "fixed", "position_init": None}
    model = make(**fixed)
    folder, _ = export(model, **fixed)
    ids, segments = torch.tensor([2, 5, 6, 3]), torch.tensor([0] * 4)

    theirs = load(transformers.BertForPreTraining, folder)(ids[None], token_type_ids=segments[None])

    ours = model(ids, segments, torch.arange(4), sequences_of([4]), torch.arange(4))
    torch.testing.assert_close(ours.mlm_logits, theirs.prediction_logits[0], atol=1e-5, rtol=1e-5)
    found = read_huggingface(folder)
    assert found.said["positions"] == "learned"
    name = "bert.embeddings.position_embeddings.weight"
    assert torch.equal(found.tensors[name], model.state_dict()[name])


def test_layer_norm_first_is_not_exported(export):
    with pytest.raises(HuggingFaceError, match=r"model.norm is pre; transformers' BERT has LayerN"):
        export(make(norm="pre"), norm="pre")


def test_auto_model_takes_the_encoder(export):
    model = make()
    folder, _ = export(model)
    encoder = transformers.AutoModel.from_pretrained(folder)
    assert torch.equal(encoder.pooler.dense.weight, model.bert.pooler.dense.weight)


def test_model_without_next_sentence_head_is_a_masked_language_model(export):
    folder, _ = export(make(next_sentence=False), next_sentence=False)
    load(transformers.BertForMaskedLM, folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]


def test_tokenizer_of_transformers_gives_the_same_ids(export, vocabulary):
    folder, _ = export(make())
    ours = BertWordPieceTokenizer(str(vocabulary / "vocab.txt"), lowercase=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for pair in (("The Cats sat.", "\u00c9 cat"), ("xyz", "the the")):
        encoded = tokenizer(*pair)
        expected = ours.encode(*pair)
        assert encoded["input_ids"] == expected.ids
        assert encoded["token_type_ids"] == expected.type_ids
    assert encoded["input_ids"] == [2, 1, 3, 5, 5, 3]
    assert tokenizer.model_max_length == 16
    assert tokenizer.mask_token_id == 4


def test_padded_rows_are_removed_and_parameters_counted(export):
    model = make()
    folder, counts = export(model)
    stored = load_file(folder / "model.safetensors")
    assert stored[TABLE].shape == (VOCAB, 48)
    assert stored["cls.predictions.bias"].shape == (VOCAB,)
    padding = (16 - VOCAB) * (48 + 1)
    assert counts["parameters"] == sum(p.numel() for p in model.parameters()) - padding
    assert counts["tensors"] == len(stored) == len(model.state_dict())
    card = (folder / "README.md").read_text("utf-8")
    assert f"| parameters | {counts['parameters']:,} |" in card
    assert "Made by a test." in card


def test_equal_weights_give_equal_bytes(export):
    first, _ = export(make(), "first")
    second, _ = export(make(), "second")
    names = sorted(file.name for file in first.iterdir())
    assert names == [
        "README.md",
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_checkpoint_of_another_shape_is_not_exported(export):
    with pytest.raises(HuggingFaceError, match=r"intermediate.dense.bias has shape \(64,\)"):
        export(make(intermediate_size=64))


def test_vocabulary_of_another_size_is_not_exported(export, vocabulary):
    write_vocabulary(vocabulary, [*TOKENS, *map(str, range(10))], lowercase=True)
    with pytest.raises(HuggingFaceError, match=r"has shape \(16,\), expected \(24,\)"):
        export(make())
