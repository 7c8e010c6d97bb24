"""The fine-tuning loop, for each head."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bert.kernels.compiled import use_kernels
from bert.model.bert import set_attention_backend
from bert.model.heads import StateError
from bert.train.finetune_setup import build_model
from bert.train.finetune_step import batch_indices, take_step, total_steps
from bert.train.setup import build
from tests.conftest import VOCAB
from tests.finetuning import (
    CONFIG,
    HEADS,
    WITHOUT_DROPOUT,
    dev_set,
    lines,
    losses,
    make_features,
    make_learner,
    outputs_of,
    train,
    tuning,
)
from tests.test_step_reads import reads


@pytest.mark.parametrize("head", HEADS)
def test_a_simple_task_is_learned(head, tmp_path):
    setting = tuning(head, epochs=20, batch=25, learning_rate=1e-2)
    ended, network = train(setting, tmp_path, count=100)

    assert dev_set(head, count=100).scores(network, setting)["accuracy"] > 90
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    assert ended.step == len(losses(tmp_path)) == 80


@pytest.mark.parametrize("head", HEADS)
def test_equal_seeds_give_equal_weights_and_others_do_not(head, tmp_path):
    weights = [
        train(tuning(head, seed, epochs=1), tmp_path / str(place))[1].state_dict()
        for place, seed in enumerate((1, 1, 2))
    ]

    name = "bert.embeddings.word_embeddings.weight"
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0][name], weights[2][name])


@pytest.mark.parametrize("head", HEADS)
def test_micro_batches_do_not_change_training(head, tmp_path):
    """Losses and gradient norms are those of whole batches at once, but for rounding."""
    found = []
    for tokens in (30, 70, 10_000):
        setting = tuning(head, runtime={"micro_batch_tokens": tokens}, learning_rate=1e-4)
        train(setting, tmp_path / str(tokens), count=32, config=WITHOUT_DROPOUT)
        found.append(
            [(line["loss"], line["gradient_norm"]) for line in lines(tmp_path / str(tokens))]
        )

    for cut in found[:-1]:
        assert np.allclose(cut, found[-1], rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_come_back_in_order_whatever_the_micro_batches(head):
    """One feature at a time has no order; micro-batches of 60 tokens hold three to seven."""
    setting = tuning(head, runtime={"micro_batch_tokens": 60})
    network = make_learner(setting).network
    features = make_features(41, head, seed=3)

    grouped = outputs_of(network, features, setting)
    alone = [outputs_of(network, [feature], setting)[0] for feature in features]

    assert len(grouped) == 41
    for found, expected in zip(grouped, alone, strict=True):
        assert np.allclose(found, expected, atol=1e-5)
    assert outputs_of(network, [], setting) == []


def test_the_order_inside_a_step_changes_no_gradient():
    """A step whose features come in any order has the same loss and the same gradient norm."""
    setting = tuning("span", runtime={"micro_batch_tokens": 60})
    features = make_features(32, "span")
    found = [
        take_step(make_learner(setting, WITHOUT_DROPOUT), chosen, setting, 1, 1e-3)
        for chosen in (features, features[::-1])
    ]

    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-6)
    assert found[0].gradient_norm == pytest.approx(found[1].gradient_norm, rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_step_reads_the_device_once(head):
    setting = tuning(head, runtime={"micro_batch_tokens": 30})
    learner = make_learner(setting, WITHOUT_DROPOUT)
    set_attention_backend(learner.network, "padded")
    features = make_features(32, head)

    assert reads(lambda: take_step(learner, features, setting, 1, 1e-3)) == ["tolist"]
    assert reads(lambda: outputs_of(learner.network, features, setting)) == ["cpu", "numpy"]


class Operations(TorchDispatchMode):
    """Names of torch's operations that are called while it is on."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("head", HEADS)
def test_training_and_prediction_run_on_the_native_kernels(head, tmp_path):
    """Their attention has no softmax of torch; losses and outputs are those of torch's path."""
    found = []
    setting = tuning(head, learning_rate=1e-4, epochs=1)
    for kernels in ("native", "torch"):
        use_kernels(kernels)
        with Operations() as operations:
            _, network = train(setting, tmp_path / kernels)
            outputs = outputs_of(network, make_features(9, head, seed=2), setting)
        assert ("aten._softmax.default" in operations.names) == (kernels == "torch")
        rows = np.concatenate(outputs, axis=0 if head in ("span", "token") else None)
        found.append((losses(tmp_path / kernels), rows))

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert np.allclose(found[0][1], found[1][1], atol=1e-4)


def test_every_epoch_meets_every_feature_once_in_another_order():
    batches = list(batch_indices(20, tuning(epochs=2)))
    order = np.concatenate(batches)

    assert sorted(order[:20]) == sorted(order[20:]) == list(range(20))
    assert order[:20].tolist() != order[20:].tolist()
    assert [len(batch) for batch in batches] == [8] * 5
    assert total_steps(20, tuning(epochs=2).config) == 5


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 2), (1, 3), (2.5, 7)])
def test_part_of_an_epoch_is_a_part_of_its_steps(epochs, steps):
    setting = tuning(epochs=epochs)

    assert total_steps(20, setting.config) == steps
    assert len(list(batch_indices(20, setting))) == steps


def test_steps_in_place_of_epochs_are_all_of_whole_batches():
    by_steps, by_epochs = tuning(epochs=None, steps=7), tuning(epochs=4)
    batches = list(batch_indices(20, by_steps))

    assert total_steps(20, by_steps.config) == 7
    assert [len(batch) for batch in batches] == [8] * 7
    whole = np.concatenate(list(batch_indices(20, by_epochs)))
    assert np.concatenate(batches).tolist() == whole[:56].tolist()


def test_steps_behind_are_left_out():
    setting = tuning(epochs=2.5)
    batches = [batch.tolist() for batch in batch_indices(20, setting)]

    for behind in (1, 4, 7):
        found = [batch.tolist() for batch in batch_indices(20, setting, behind)]
        assert found == batches[behind:]


def test_pretrained_weights_reach_the_encoder(make_setup):
    pretrained = build(make_setup()).network

    model = build_model(2, CONFIG, VOCAB, tuning(), pretrained.state_dict())

    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(model.state_dict()[name], pretrained.state_dict()[name])


def test_weights_of_another_shape_are_refused(make_setup):
    pretrained = build(make_setup(model={"intermediate_size": 64})).network

    with pytest.raises(StateError, match="does not fit the model"):
        build_model(2, CONFIG, VOCAB, tuning(), pretrained.state_dict())


def test_fp16_scales_the_loss_and_skips_what_overflows(tmp_path):
    """The norm of the scaled gradient would be 65,536 times as large."""
    train(tuning(), tmp_path / "fp32")
    train(tuning(runtime={"precision": "fp16"}), tmp_path / "fp16")
    exact, half = lines(tmp_path / "fp32"), lines(tmp_path / "fp16")

    assert half[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.01)
    norms = [line["gradient_norm"] for line in half]
    assert norms[0] is None or norms[0] == pytest.approx(exact[0]["gradient_norm"], rel=0.05)
    assert sum(norm is not None for norm in norms) > len(norms) / 2
    assert half[-1]["loss"] == pytest.approx(exact[-1]["loss"], abs=0.2)


def test_a_loss_that_is_not_finite_is_refused():
    setting = tuning()
    learner = make_learner(setting)
    with torch.no_grad():
        learner.network.classifier.bias.fill_(float("nan"))

    with pytest.raises(RuntimeError, match="step 1 has loss nan"):
        take_step(learner, make_features(8, "sentence"), setting, 1, 1e-3)
