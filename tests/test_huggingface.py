import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import BertWordPieceTokenizer

from bert.config import ConfigError, check
from bert.convert.huggingface import HuggingFaceError, export_folder, read_folder
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
    ids, segments = torch.tensor([2, 5, 6, 7, 3, 8, 9, 3]), torch.tensor([0] * 5 + [1] * 3)
    ours = model(ids, segments, torch.arange(8), sequences_of([8]), torch.arange(8))
    loaded = load(transformers.BertForPreTraining, folder)
    theirs = loaded(input_ids=ids[None], token_type_ids=segments[None])
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(ours.mlm_logits, theirs.prediction_logits[0], **close)
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
    imported = read_folder(folder, vocab_multiple=8)
    assert imported.config.positions == "learned"
    assert torch.equal(imported.state[TABLE][:VOCAB], model.state_dict()[TABLE][:VOCAB])


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


def test_export_and_import_change_no_bit(export):
    model = make()
    folder, _ = export(model)
    imported = read_folder(folder, vocab_multiple=8)
    assert imported.config == config()
    assert imported.vocab_size == VOCAB
    assert imported.state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        rows = VOCAB if name in (TABLE, "cls.predictions.bias") else None
        assert torch.equal(imported.state[name][:rows], tensor[:rows]), name
        assert imported.state[name].shape == tensor.shape
    assert torch.all(imported.state[TABLE][VOCAB:] == 0)


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


@pytest.mark.parametrize("kind", ["BertForPreTraining", "BertForMaskedLM", "BertModel"])
def test_folders_saved_by_transformers_are_read(tmp_path, kind):
    shape = transformers.BertConfig(
        vocab_size=VOCAB, hidden_size=48, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=80, max_position_embeddings=16,
    )  # fmt: skip
    theirs = getattr(transformers, kind)(shape)
    theirs.save_pretrained(tmp_path)
    imported = read_folder(tmp_path, vocab_multiple=1)
    assert imported.config.next_sentence == (kind == "BertForPreTraining")
    prefix = "bert." if kind == "BertModel" else ""
    expected = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    expected = {name: tensor for name, tensor in expected.items() if ".decoder." not in name}
    assert imported.state.keys() == expected.keys()
    assert all(torch.equal(imported.state[name], expected[name]) for name in expected)


def rewrite(folder, change):
    file = folder / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)


def test_old_names_and_stored_copies_are_understood(export):
    model = make()
    folder, _ = export(model)

    def age(state):
        for name in [name for name in state if "LayerNorm" in name]:
            old = name.replace("weight", "gamma").replace("bias", "beta")
            state[old] = state.pop(name)
        state["cls.predictions.decoder.weight"] = state[TABLE].clone()
        state["bert.embeddings.position_ids"] = torch.arange(16)[None]

    rewrite(folder, age)
    imported = read_folder(folder, vocab_multiple=8)
    assert imported.state.keys() == model.state_dict().keys()
    name = "bert.encoder.layer.1.output.LayerNorm.weight"
    assert torch.equal(imported.state[name], model.state_dict()[name])


def test_half_precision_weights_become_float32(export):
    folder, _ = export(make())
    rewrite(folder, lambda state: state.update({k: v.half() for k, v in state.items()}))
    assert {t.dtype for t in read_folder(folder, vocab_multiple=1).state.values()} == {
        torch.float32
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bert.pooler.dense.bias"), "bert.pooler.dense.bias is missing"),
        (lambda s: s.update(extra=torch.zeros(2)), "bert.extra is unknown"),
        (
            lambda s: s.update({TABLE: torch.zeros(VOCAB - 1, 48)}),
            r"word_embeddings.weight has shape \(10, 48\), expected \(11, 48\)",
        ),
        (
            lambda s: s.update({"cls.predictions.decoder.weight": torch.zeros(VOCAB, 48)}),
            "decoder.weight differs from bert.embeddings.word_embeddings.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(export, change, message):
    folder, _ = export(make())
    rewrite(folder, change)
    with pytest.raises(HuggingFaceError, match=message):
        read_folder(folder, vocab_multiple=8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "roberta"}, "Only plain BERT"),
        ({"position_embedding_type": "relative_key"}, "Only plain BERT"),
        ({"hidden_act": "silu"}, "hidden_act silu"),
        ({"hidden_size": None}, "lacks .'hidden_size'."),
    ],
)
def test_other_networks_are_refused(export, values, message):
    folder, _ = export(make())
    file = folder / "config.json"
    changed = json.loads(file.read_text()) | values
    file.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))
    with pytest.raises(HuggingFaceError, match=message):
        read_folder(folder, vocab_multiple=8)


def test_impossible_shape_is_refused(export):
    folder, _ = export(make())
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_attention_heads": 5}))
    with pytest.raises(ConfigError, match="not a multiple of num_attention_heads 5"):
        read_folder(folder, vocab_multiple=8)


def test_missing_and_damaged_files_are_refused(export):
    folder, _ = export(make())
    shutil.copy(folder / "config.json", folder / "model.safetensors")
    with pytest.raises(HuggingFaceError, match="is damaged"):
        read_folder(folder, vocab_multiple=8)
    (folder / "model.safetensors").unlink()
    with pytest.raises(HuggingFaceError, match=r"model.safetensors is missing"):
        read_folder(folder, vocab_multiple=8)


def test_checkpoint_of_another_shape_is_not_exported(export):
    with pytest.raises(HuggingFaceError, match=r"intermediate.dense.bias has shape \(64,\)"):
        export(make(intermediate_size=64))


def test_vocabulary_of_another_size_is_not_exported(export, vocabulary):
    write_vocabulary(vocabulary, [*TOKENS, *map(str, range(10))], lowercase=True)
    with pytest.raises(HuggingFaceError, match=r"has shape \(16,\), expected \(24,\)"):
        export(make())
