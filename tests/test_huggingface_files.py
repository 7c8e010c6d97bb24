import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from bert.convert.found import WeightsError
from bert.convert.huggingface import export_folder
from bert.convert.huggingface_config import HuggingFaceError
from bert.convert.huggingface_files import read_huggingface
from tests.foreign_weights import TOKENS, assert_same, network, section, vocabulary_folder

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": TOKENS,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 6,
}


@pytest.fixture
def folder(tmp_path):
    """A folder as this project writes it."""
    vocabulary, out = vocabulary_folder(tmp_path / "vocab"), tmp_path / "model"
    out.mkdir()
    state = network().state_dict()
    export_folder(out, state, section(), vocabulary=vocabulary, provenance="A test.")
    return out


def saved(folder, kind, **options):
    """A model of transformers, saved by it."""
    model = getattr(transformers, kind)(transformers.BertConfig(**SHAPE))
    model.save_pretrained(folder, **options)
    return model


def prefixed(model):
    prefix = "" if hasattr(model, "bert") else "bert."
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if ".decoder." not in name}


KINDS = ["BertForPreTraining", "BertForMaskedLM", "BertModel", "BertForTokenClassification"]


@pytest.mark.parametrize("kind", KINDS)
def test_folders_saved_by_transformers_are_read(tmp_path, kind):
    model = saved(tmp_path, kind)

    found = read_huggingface(tmp_path)

    assert_same(found.tensors, prefixed(model))
    assert found.vocab_size == TOKENS
    assert found.said["num_attention_heads"] == 2
    assert found.said["hidden_act"] == "gelu"


def test_sharded_weights_are_read_whole(tmp_path):
    model = saved(tmp_path, "BertForPreTraining", max_shard_size="2KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert not (tmp_path / "model.safetensors").exists()

    found = read_huggingface(tmp_path)

    assert_same(found.tensors, prefixed(model))
    assert set(shards) < set(found.files)


def test_a_shard_that_is_missing_or_another_is_refused(tmp_path):
    saved(tmp_path, "BertForPreTraining", max_shard_size="2KB")
    first, second = sorted(tmp_path.glob("model-*.safetensors"))[:2]
    shutil.copy(second, first)
    with pytest.raises(WeightsError, match=r"and model.safetensors.index.json differ in"):
        read_huggingface(tmp_path)
    first.unlink()
    with pytest.raises(WeightsError, match=f"{first.name} is missing"):
        read_huggingface(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(WeightsError, match="has no weight_map"):
        read_huggingface(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_legacy_bin_files_are_read_with_their_old_names(tmp_path, zipped):
    model = saved(tmp_path, "BertForPreTraining")
    (tmp_path / "model.safetensors").unlink()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in model.state_dict().items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(6)[None]
    torch.save(old, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)

    found = read_huggingface(tmp_path)

    assert_same(found.tensors, prefixed(model))
    name = "bert.encoder.layer.1.output.LayerNorm.weight"
    assert found.origins[name] == "bert.encoder.layer.1.output.LayerNorm.gamma"
    assert found.skipped["bert.embeddings.position_ids"] == "buffer that holds no weights"


def test_a_bin_file_that_would_run_code_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"model": transformers.BertConfig()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds objects besides tensors and plain values"):
        read_huggingface(folder)
    torch.save({"step": 1}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        read_huggingface(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "roberta"}, "Only plain BERT"),
        ({"position_embedding_type": "relative_key"}, "Only plain BERT"),
        ({"hidden_act": "silu"}, "hidden_act silu"),
        ({"hidden_size": None}, "lacks .'hidden_size'."),
    ],
)
def test_other_networks_are_refused(folder, values, message):
    file = folder / "config.json"
    changed = json.loads(file.read_text()) | values
    file.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))
    with pytest.raises(HuggingFaceError, match=message):
        read_huggingface(folder)


def test_missing_and_damaged_files_are_refused(folder):
    shutil.copy(folder / "config.json", folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"model.safetensors is damaged"):
        read_huggingface(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model.safetensors and no model.safetensors.i"):
        read_huggingface(folder)
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config.json is not JSON"):
        read_huggingface(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"config.json holds \[\]; expected an object"):
        read_huggingface(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"has no config.json"):
        read_huggingface(folder)


def test_half_precision_is_left_as_it_is_stored(folder):
    file = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file)
    assert {tensor.dtype for tensor in read_huggingface(folder).tensors.values()} == {torch.half}
