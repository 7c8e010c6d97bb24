import json

import pytest
import torch

from bert.convert.found import WeightsError
from bert.convert.nvidia import NvidiaError, export_nvidia, read_nvidia
from bert.optim.config import LambConfig
from tests.foreign_weights import ROWS, TOKENS, assert_same, network, section, vocabulary_folder

FUSED = {
    "bert.encoder.layer.0.intermediate.dense_act.weight",
    "bert.encoder.layer.0.intermediate.dense_act.bias",
    "bert.encoder.layer.1.intermediate.dense_act.weight",
    "bert.encoder.layer.1.intermediate.dense_act.bias",
    "bert.pooler.dense_act.weight",
    "bert.pooler.dense_act.bias",
    "cls.predictions.transform.dense_act.weight",
    "cls.predictions.transform.dense_act.bias",
}


@pytest.fixture
def vocabulary(tmp_path):
    return vocabulary_folder(tmp_path / "vocab")


def export(folder, vocabulary, model, **changes):
    folder.mkdir()
    state = model.state_dict()
    return export_nvidia(folder, state, section(**changes), vocabulary=vocabulary)


def test_export_has_nvidias_names_and_rows_and_loads_without_code(tmp_path, vocabulary):
    model = network()
    counts = export(tmp_path / "out", vocabulary, model)

    content = torch.load(tmp_path / "out/checkpoint.pt", weights_only=True)

    assert content.keys() == {"model"}
    names = content["model"].keys()
    assert {name for name in names if "dense_act" in name} == FUSED
    fused = {name.replace("dense_act", "dense") for name in FUSED}
    decoder = {"cls.predictions.decoder.weight"}
    assert names - FUSED == (model.state_dict().keys() - fused) | decoder
    assert content["model"]["cls.predictions.bias"].shape == (ROWS,)
    assert counts["parameters"] == sum(p.numel() for p in model.parameters())
    config = json.loads((tmp_path / "out/bert_config.json").read_text())
    assert config["vocab_size"] == TOKENS
    assert config["num_attention_heads"] == 2
    assert (tmp_path / "out/vocab.txt").read_bytes() == (vocabulary / "vocab.txt").read_bytes()


def test_there_and_back_changes_no_bit_and_equal_weights_give_equal_bytes(tmp_path, vocabulary):
    model = network()
    for name in ("first", "second"):
        export(tmp_path / name, vocabulary, model)

    found = read_nvidia(tmp_path / "first/checkpoint.pt", tmp_path / "first/bert_config.json")

    assert_same(found.tensors, model.state_dict())
    assert found.skipped.keys() == {"cls.predictions.decoder.weight"}
    assert found.said["num_attention_heads"] == 2
    pair = [(tmp_path / name / "checkpoint.pt").read_bytes() for name in ("first", "second")]
    assert pair[0] == pair[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_tanh"}, "hidden_act is gelu_tanh, expected gelu"),
        ({"next_sentence": False}, "next_sentence is False, expected True"),
        ({"norm": "pre"}, "norm is pre, expected post"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05, expected 1e-12"),
    ],
)
def test_networks_that_their_code_lacks_are_not_exported(tmp_path, vocabulary, changes, message):
    with pytest.raises(NvidiaError, match=message):
        export(tmp_path / "out", vocabulary, network(**changes), **changes)


def test_a_training_checkpoint_gives_its_weights_and_names_what_it_skips(tmp_path):
    model = network()
    ddp = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    slots = {"exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    content = {
        "model": ddp,
        "optimizer": {"state": {0: slots}, "param_groups": [{"lr": 0.1, "step": 7038}]},
        "preconditioner": {"layers": [{"A": torch.eye(2)}]},
        "scaler": None,
        "epoch": 3,
    }
    torch.save(content, tmp_path / "ckpt_7038.pt")

    found = read_nvidia(tmp_path / "ckpt_7038.pt", None)

    assert_same(found.tensors, model.state_dict())
    assert found.origins["cls.predictions.bias"] == "module.cls.predictions.bias"
    reason = "state of the training besides the weights"
    assert found.skipped == {
        "optimizer.state.0.exp_avg": reason,
        "optimizer.state.0.exp_avg_sq": reason,
        "preconditioner.layers.0.A": reason,
    }
    assert found.facts == {"imported_step": 7038}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bare_state_dict_is_read_in_both_formats_of_torch(tmp_path, zipped):
    state = network().state_dict()
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)

    assert_same(read_nvidia(tmp_path / "a.pt", None).tensors, state)


def test_a_model_without_segments_gets_a_table_of_zeros(tmp_path):
    state = network(next_sentence=False).state_dict()
    del state["bert.embeddings.token_type_embeddings.weight"]
    torch.save({"model": state}, tmp_path / "a.pt")

    found = read_nvidia(tmp_path / "a.pt", None)

    name = "bert.embeddings.token_type_embeddings.weight"
    assert torch.equal(found.tensors[name], torch.zeros(2, 8))
    assert found.facts["made"] == {name: "zeros: the model has no segments"}


def test_files_that_would_run_code_are_damaged_or_hold_no_weights_are_refused(tmp_path):
    file = tmp_path / "a.pt"
    torch.save({"model": {}, "data_loader": LambConfig}, file)
    with pytest.raises(WeightsError, match=r"holds objects besides tensors and plain values"):
        read_nvidia(file, None)
    torch.save({"model": network().state_dict()}, file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"a.pt cannot be read \("):
        read_nvidia(file, None)
    torch.save({"weights": torch.zeros(1), "epoch": 1}, file)
    with pytest.raises(WeightsError, match=r"a.pt holds weights, epoch; expected tensors by name"):
        read_nvidia(file, None)
    torch.save([torch.zeros(1)], file)
    with pytest.raises(WeightsError, match=r"a.pt holds <class 'list'>; expected tensors"):
        read_nvidia(file, None)
