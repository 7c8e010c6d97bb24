import json

import pytest
import torch

from bert.checkpoints.checkpoint import (
    CheckpointError,
    check_checkpoint,
    checkpoint_digests,
    load_checkpoint,
    load_optimizer,
    load_weights,
    optimizer_tensors,
    read_state,
    write_checkpoint,
)
from bert.model.heads import BertForPretraining
from bert.optim.groups import make_optimizer


def build(setup):
    """A model with torch's own random weights, and its optimizer."""
    with torch.random.fork_rng():
        torch.manual_seed(setup.config.seed)
        model = BertForPretraining(setup.model, setup.train.info.vocab_size)
    return model, make_optimizer(model.named_parameters(), setup.config.optimizer)


def trained(make_setup, **changes):
    """A model with made-up gradients after one optimizer step."""
    model, optimizer = build(make_setup(**changes))
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (number + 1))
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    return model, optimizer


def save(folder, model, optimizer, state):
    parts = {"model": model.state_dict(), "optimizer": optimizer_tensors(model, optimizer)}
    write_checkpoint(folder, parts, state)


def test_weights_and_moments_survive_a_round_trip_bit_for_bit(tmp_path, make_setup):
    model, optimizer = trained(make_setup)
    save(tmp_path / "a", model, optimizer, {"step": 1})

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
        save(tmp_path / name, *trained(make_setup), {})

    assert checkpoint_digests(tmp_path / "a") == checkpoint_digests(tmp_path / "b")


PARTS = {
    "model": {"w": torch.arange(6.0).view(2, 3)},
    "optimizer": {"exp_avg:w": torch.ones(2, 3)},
    "preconditioner": {"a:w": torch.eye(2)},
}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_preconditioner_is_written_where_there_is_one(tmp_path):
    write_checkpoint(tmp_path / "with", PARTS, {"step": 3})
    write_checkpoint(tmp_path / "without", PARTS | {"preconditioner": {}}, {"step": 3})

    loaded = load_checkpoint(tmp_path / "with")
    assert equal(loaded.model, PARTS["model"])
    assert equal(loaded.optimizer, PARTS["optimizer"])
    assert equal(loaded.preconditioner, PARTS["preconditioner"])
    assert loaded.state["step"] == 3
    assert load_checkpoint(tmp_path / "without").preconditioner == {}
    assert not (tmp_path / "without" / "preconditioner.safetensors").exists()


def test_the_digests_are_of_all_files_of_tensors(tmp_path):
    write_checkpoint(tmp_path / "a", PARTS, {})
    write_checkpoint(tmp_path / "b", PARTS | {"preconditioner": {"a:w": torch.ones(2, 2)}}, {})

    a, b = checkpoint_digests(tmp_path / "a"), checkpoint_digests(tmp_path / "b")

    assert list(a) == [f"{part}.safetensors" for part in PARTS]
    assert {name for name in a if a[name] != b[name]} == {"preconditioner.safetensors"}


def test_version_1_without_receipts_is_read(tmp_path):
    write_checkpoint(tmp_path / "a", PARTS | {"preconditioner": {}}, {"step": 3})
    old = {"format": "bert-checkpoint", "version": 1, "step": 3}
    (tmp_path / "a" / "state.json").write_text(json.dumps(old))

    loaded = load_checkpoint(tmp_path / "a")

    assert equal(loaded.model, PARTS["model"])
    assert loaded.state == old


@pytest.mark.parametrize("part", PARTS)
def test_a_checkpoint_without_a_file_is_refused(tmp_path, part):
    write_checkpoint(tmp_path / "a", PARTS, {})
    (tmp_path / "a" / f"{part}.safetensors").unlink()

    with pytest.raises(CheckpointError, match=rf"a lacks {part}.safetensors; it is no checkpoint"):
        load_checkpoint(tmp_path / "a")


def test_a_folder_without_a_state_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"lacks state.json"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("part", PARTS)
def test_a_file_of_tensors_cut_short_anywhere_is_refused_by_name(tmp_path, part):
    write_checkpoint(tmp_path / "a", PARTS, {})
    file = tmp_path / "a" / f"{part}.safetensors"
    data = file.read_bytes()
    for end in {*range(0, len(data), 7), len(data) - 1}:
        file.write_bytes(data[:end])

        with pytest.raises(CheckpointError, match=rf"{part}.safetensors is damaged: it has {end} "):
            load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize("part", PARTS)
def test_zeros_in_place_of_the_end_are_refused_by_name(tmp_path, part):
    """As blocks are that a file system never wrote."""
    write_checkpoint(tmp_path / "a", PARTS, {})
    file = tmp_path / "a" / f"{part}.safetensors"
    data = file.read_bytes()
    for end in range(0, len(data) - 8, 11):
        file.write_bytes(data[:end] + bytes(len(data) - end))

        with pytest.raises(CheckpointError, match=rf"{part}.safetensors is damaged: .* checksum"):
            load_checkpoint(tmp_path / "a")


def test_a_state_cut_short_anywhere_is_refused_by_name(tmp_path):
    write_checkpoint(tmp_path / "a", PARTS, {"step": 3})
    file = tmp_path / "a" / "state.json"
    data = file.read_bytes()
    for end in {
        *range(0, len(data) - 1, 7),
        len(data) - 2,
    }:  # without the last line break it says the same
        file.write_bytes(data[:end])

        with pytest.raises(CheckpointError, match=r"state.json is damaged: it is not JSON"):
            load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", "is not JSON"),
        (b"null", "holds None, expected an object"),
        (b"[1]", r"holds \[1\], expected an object"),
        (b'{"format": "bert-checkpoint", "version": 2}', "has files None"),
        (b'{"format": "bert-checkpoint", "version": 2, "files": {}}', "has files {}"),
        (b'{"format": "bert-checkpoint", "version": 2, "files": {"model.safetensors": 3}}', "has"),
    ],
)
def test_a_state_that_says_nothing_of_use_is_refused(tmp_path, text, message):
    write_checkpoint(tmp_path / "a", PARTS, {})
    (tmp_path / "a" / "state.json").write_bytes(text)

    with pytest.raises(CheckpointError, match=rf"state.json is damaged: it {message}"):
        load_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(("name", "version"), [("other", 1), ("bert-checkpoint", 3)])
def test_another_format_or_version_is_refused(tmp_path, name, version):
    write_checkpoint(tmp_path / "a", PARTS, {})
    head = {"format": name, "version": version}
    (tmp_path / "a" / "state.json").write_text(json.dumps(head))

    with pytest.raises(CheckpointError, match=rf"is \('{name}', {version}\); expected"):
        load_checkpoint(tmp_path / "a")


def test_a_state_that_json_has_no_word_for_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_checkpoint(tmp_path / "a", PARTS, {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_state_is_read_without_the_tensors(tmp_path):
    write_checkpoint(tmp_path / "a", PARTS, {"step": 3})
    (tmp_path / "a" / "model.safetensors").unlink()

    assert read_state(tmp_path / "a")["step"] == 3


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
