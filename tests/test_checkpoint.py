import json

import pytest
import torch

from bert.checkpoints import checkpoint
from bert.checkpoints.checkpoint import (
    CheckpointError,
    check_checkpoint,
    checkpoint_digests,
    list_steps,
    load_checkpoint,
    load_optimizer,
    load_weights,
    save_checkpoint,
    step_folder,
)
from bert.model.heads import BertForPretraining
from bert.train.pretrain import build


def trained(make_setup, **changes):
    """A model with made-up gradients after one optimizer step."""
    model, optimizer = build(make_setup(**changes))
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (number + 1))
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    return model, optimizer


def test_weights_and_moments_survive_a_round_trip_bit_for_bit(tmp_path, make_setup):
    model, optimizer = trained(make_setup)
    save_checkpoint(tmp_path / "a", model, optimizer, {"step": 1})

    loaded = load_checkpoint(tmp_path / "a")
    other, other_optimizer = build(make_setup(phase={"seed": 9}))
    load_weights(other, loaded.model, tmp_path / "a")
    load_optimizer(other, other_optimizer, loaded.optimizer, tmp_path / "a")

    assert loaded.state["step"] == 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        for key, value in optimizer.state[one].items():
            assert torch.equal(value, other_optimizer.state[two][key])


def test_equal_states_have_equal_digests(tmp_path, make_setup):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, *trained(make_setup), {})

    assert checkpoint_digests(tmp_path / "a") == checkpoint_digests(tmp_path / "b")


def test_a_full_disk_leaves_the_last_checkpoint_and_no_trace(tmp_path, make_setup, monkeypatch):
    model, optimizer = trained(make_setup)
    save_checkpoint(step_folder(tmp_path, 1), model, optimizer, {})

    def no_space(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "optimizer_tensors", no_space)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(step_folder(tmp_path, 2), model, optimizer, {})

    assert list_steps(tmp_path) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    load_checkpoint(step_folder(tmp_path, 1))


def test_a_checkpoint_without_a_file_is_refused(tmp_path, make_setup):
    save_checkpoint(tmp_path / "a", *trained(make_setup), {})
    (tmp_path / "a" / "optimizer.safetensors").unlink()

    with pytest.raises(CheckpointError, match=r"lacks optimizer.safetensors"):
        load_checkpoint(tmp_path / "a")


def test_a_truncated_checkpoint_is_refused(tmp_path, make_setup):
    save_checkpoint(tmp_path / "a", *trained(make_setup), {})
    file = tmp_path / "a" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(tmp_path / "a")


def test_another_format_is_refused(tmp_path, make_setup):
    save_checkpoint(tmp_path / "a", *trained(make_setup), {})
    (tmp_path / "a" / "state.json").write_text(json.dumps({"format": "other", "version": 7}))

    with pytest.raises(CheckpointError, match=r"is \('other', 7\); expected"):
        load_checkpoint(tmp_path / "a")


def test_another_vocabulary_is_refused_with_both_values(tmp_path):
    with pytest.raises(CheckpointError, match="vocabulary_sha256 is aa, expected bb"):
        check_checkpoint(tmp_path, {"vocabulary_sha256": "aa"}, {"vocabulary_sha256": "bb"})


def test_weights_of_another_shape_are_refused_by_name(tmp_path, make_setup):
    small, _ = build(make_setup())
    large, _ = build(make_setup(model={"intermediate_size": 64}))
    weights = large.state_dict()
    del weights["cls.predictions.bias"]

    with pytest.raises(CheckpointError) as caught:
        load_weights(small, weights, tmp_path)

    text = str(caught.value)
    assert "cls.predictions.bias is missing" in text
    assert "bert.encoder.layer.0.intermediate.dense.bias has shape [64], expected [32]" in text


def test_optimizer_state_of_unknown_or_missing_parameters_is_refused(tmp_path, make_setup):
    model, optimizer = build(make_setup())
    assert isinstance(model, BertForPretraining)

    with pytest.raises(CheckpointError, match="for nobody, which is no parameter"):
        load_optimizer(model, optimizer, {"exp_avg:nobody": torch.zeros(1)}, tmp_path)
    with pytest.raises(CheckpointError, match="has no optimizer state for"):
        load_optimizer(model, optimizer, {}, tmp_path)
