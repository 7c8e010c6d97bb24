"""The head of tokens: what it computes, and its loss, against torch on padded tensors."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bert.config import check
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining, BertForToken, load_encoder
from bert.tasks.features import IGNORED, Feature
from bert.train.feature_batches import make_batch
from bert.train.task_outputs import count_targets, split_outputs, summed_loss
from tests.conftest import MODEL

LABELS, VOCAB = 5, 30
LENGTHS = (4, 9, 2)


def make_features(seed: int = 0) -> list[Feature]:
    """Features whose special tokens, and some others, have no label."""
    rng = np.random.default_rng(seed)
    made = []
    for index, length in enumerate(LENGTHS):
        targets = np.where(rng.random(length) < 0.4, IGNORED, rng.integers(LABELS, size=length))
        targets[[0, -1]] = IGNORED
        ids = rng.integers(5, VOCAB, length)
        made.append(Feature(ids, 0, tuple(targets.tolist()), index))
    return made


def make_model(**changes: Any) -> BertForToken:
    config = check(ModelConfig, MODEL | changes, where="a test")
    model = BertForToken(config, VOCAB, LABELS)
    initialize(model, 0.5, torch.Generator().manual_seed(1), positions="normal")
    return model.eval()


def forward(model: BertForToken, features: list[Feature]) -> torch.Tensor:
    outputs: torch.Tensor = model(*make_batch(features, torch.device("cpu"), "token")[:4])
    return outputs


def test_loss_and_gradient_are_those_of_torch_on_padded_tensors() -> None:
    features = make_features()
    batch = make_batch(features, torch.device("cpu"), "token")
    generator = torch.Generator().manual_seed(0)
    stream = torch.randn(sum(LENGTHS), LABELS, generator=generator, requires_grad=True)
    loss = summed_loss("token", stream, batch) / count_targets("token", features)
    loss.backward()

    padded = torch.full((len(LENGTHS), max(LENGTHS), LABELS), 7.0)
    targets = torch.full((len(LENGTHS), max(LENGTHS)), -100)
    rows = stream.detach().split(LENGTHS)
    for i, (row, feature) in enumerate(zip(rows, features, strict=True)):
        padded[i, : len(row)] = row
        targets[i, : len(row)] = torch.tensor(feature.targets)
    padded.requires_grad_()
    expected = F.cross_entropy(padded.view(-1, LABELS), targets.view(-1))
    expected.backward()

    torch.testing.assert_close(loss, expected)
    assert stream.grad is not None
    assert padded.grad is not None
    found = stream.grad.split(LENGTHS)
    for i, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[i], padded.grad[i, :length])
        assert not padded.grad[i, length:].any()


def test_the_loss_of_a_step_is_the_same_in_any_micro_batches() -> None:
    features = make_features()
    scores = torch.randn(sum(LENGTHS), LABELS, generator=torch.Generator().manual_seed(0))
    whole = summed_loss("token", scores, make_batch(features, torch.device("cpu"), "token"))
    parts = [
        summed_loss("token", rows, make_batch([feature], torch.device("cpu"), "token"))
        for rows, feature in zip(scores.split(LENGTHS), features, strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_features_without_a_label_have_a_loss_of_0() -> None:
    feature = Feature(np.array([2, 3]), 0, (IGNORED, IGNORED), 0)
    batch = make_batch([feature], torch.device("cpu"), "token")
    scores = torch.ones(2, LABELS, requires_grad=True)
    loss = summed_loss("token", scores, batch) / count_targets("token", [feature])
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_scores_are_the_classifier_of_each_tokens_state() -> None:
    model, features = make_model(), make_features()
    batch = make_batch(features, torch.device("cpu"), "token")
    hidden, pooled = model.bert(*batch[:4])
    expected = hidden @ model.classifier.weight.T + model.classifier.bias
    assert pooled is None
    torch.testing.assert_close(forward(model, features), expected)
    assert expected.shape == (sum(LENGTHS), LABELS)


def test_a_sequence_has_the_same_scores_alone_and_among_others() -> None:
    model, features = make_model(), make_features()
    together = forward(model, features).split(LENGTHS)
    for feature, scores in zip(features, together, strict=True):
        torch.testing.assert_close(forward(model, [feature]), scores)


def test_outputs_come_back_feature_by_feature_in_the_features_order() -> None:
    features = make_features()
    order = np.array([1, 0, 2])
    ordered = [features[i] for i in order]
    rows = np.concatenate(
        [np.full((len(f.input_ids), LABELS), f.example, np.float32) for f in ordered]
    )
    found = split_outputs(rows, ordered, order)
    assert [array.shape for array in found] == [(length, LABELS) for length in LENGTHS]
    assert [set(array.ravel().tolist()) for array in found] == [{0.0}, {1.0}, {2.0}]


def test_dropout_stands_before_the_classifier_and_only_in_training() -> None:
    model, features = make_model(hidden_dropout_prob=0.5), make_features()
    with torch.no_grad():
        calm = forward(model, features)
        torch.testing.assert_close(forward(model, features), calm)
        model.dropout.train()
        torch.manual_seed(0)
        assert not torch.allclose(forward(model, features), calm)


def test_the_encoder_of_a_pretraining_checkpoint_is_taken_over() -> None:
    config = check(ModelConfig, MODEL, where="a test")
    pretrained = BertForPretraining(config, VOCAB)
    initialize(pretrained, 0.5, torch.Generator().manual_seed(2), positions="normal")
    model = make_model()
    before = model.classifier.weight.clone()
    fresh = load_encoder(model, pretrained.state_dict())
    assert fresh == ("classifier.bias", "classifier.weight")
    assert torch.equal(model.classifier.weight, before)
    own = model.bert.state_dict()
    assert all(torch.equal(own[name], pretrained.bert.state_dict()[name]) for name in own)
