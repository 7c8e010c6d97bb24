import os

import pytest
import torch
from torch.nn import functional as F

from bert.config import check
from bert.model.attention import sequences_of
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import (
    BertForPretraining,
    BertForSentence,
    BertForSpan,
    StateError,
    load_encoder,
)

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
VOCAB = 30
LENGTHS = (5, 9, 3)
SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
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


def config(**changes):
    return check(ModelConfig, SMALL | changes, where="test")


def make(kind, *more, seed=1, **changes):
    model = kind(config(**changes), VOCAB, *more)
    initialize(model, 0.2, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    for param in model.parameters():  # all biases differ, so a swap shows
        if param.dim() == 1:
            torch.nn.init.normal_(param, 0.1, 0.3, generator=generator)
    return model


@pytest.fixture
def stream():
    # Token 0 is left out: transformers gives its row, the padding token's, no gradient.
    generator = torch.Generator().manual_seed(2)
    total = sum(LENGTHS)
    return (
        torch.randint(1, VOCAB, (total,), generator=generator),
        torch.randint(2, (total,), generator=generator),
        torch.cat([torch.arange(length) for length in LENGTHS]),
        sequences_of(LENGTHS),
    )


def padded(stream):
    ids, segments = (
        torch.nn.utils.rnn.pad_sequence(x.split(LENGTHS), batch_first=True) for x in stream[:2]
    )
    real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return {"input_ids": ids, "token_type_ids": segments, "attention_mask": real.long()}, real


def theirs(kind, model, **more):
    """The model of transformers with the same weights."""
    shape = transformers.BertConfig(
        vocab_size=32,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=80,
        max_position_embeddings=16,
        **more,
    )
    other = getattr(transformers, kind)(shape).eval()
    missing, unexpected = other.load_state_dict(model.state_dict(), strict=False)
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert not unexpected
    assert set(missing) <= tied
    other.tie_weights()
    return other


def close(got, expected):
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


POSITIONS = torch.tensor([1, 3, 7, 15])


def test_pretraining_heads_equal_transformers(stream):
    model = make(BertForPretraining)
    batch, real = padded(stream)
    expected = theirs("BertForPreTraining", model)(**batch)
    out = model(*stream, POSITIONS)
    assert out.mlm_logits.shape == (4, VOCAB)
    close(out.mlm_logits, expected.prediction_logits[real][POSITIONS, :VOCAB])
    close(out.nsp_logits, expected.seq_relationship_logits)


def test_pretraining_gradients_equal_transformers(stream):
    model = make(BertForPretraining)
    batch, real = padded(stream)
    other = theirs("BertForPreTraining", model)
    labels, next_labels = torch.tensor([4, 9, 29, 0]), torch.tensor([0, 1, 1])
    expected = other(**batch)
    logits = expected.prediction_logits[real][POSITIONS, :VOCAB]
    loss = F.cross_entropy(logits, labels)
    (loss + F.cross_entropy(expected.seq_relationship_logits, next_labels)).backward()
    out = model(*stream, POSITIONS)
    loss = F.cross_entropy(out.mlm_logits, labels)
    (loss + F.cross_entropy(out.nsp_logits, next_labels)).backward()
    grads = dict(other.named_parameters())
    assert all(param.grad is not None for param in model.parameters())
    for name, param in model.named_parameters():
        torch.testing.assert_close(
            param.grad, grads[name].grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_padded_vocabulary_rows_have_no_score_and_no_gradient(stream):
    model = make(BertForPretraining)
    with torch.no_grad():
        model.cls.predictions.bias[VOCAB:] = 1e9
    out = model(*stream, POSITIONS)
    assert out.mlm_logits.shape[-1] == VOCAB
    assert out.mlm_logits.abs().max() < 1e6
    F.cross_entropy(out.mlm_logits, torch.tensor([1, 2, 3, 4])).backward()
    assert model.cls.predictions.bias.shape == (32,)
    assert torch.all(model.cls.predictions.bias.grad[VOCAB:] == 0)
    assert torch.all(model.bert.embeddings.word_embeddings.weight.grad[VOCAB:] == 0)


def test_token_table_is_stored_once():
    names = make(BertForPretraining).state_dict().keys()
    assert "cls.predictions.bias" in names
    assert not [name for name in names if "decoder" in name]


def test_without_next_sentence_every_parameter_still_gets_a_gradient(stream):
    model = make(BertForPretraining, next_sentence=False)
    out = model(*stream, POSITIONS)
    assert out.nsp_logits is None
    out.mlm_logits.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert not [n for n in model.state_dict() if "pooler" in n or "seq_relationship" in n]


def test_span_head_equals_transformers(stream):
    model = make(BertForSpan)
    batch, real = padded(stream)
    expected = theirs("BertForQuestionAnswering", model)(**batch)
    out = model(*stream)
    close(out.start_logits, expected.start_logits[real])
    close(out.end_logits, expected.end_logits[real])


def test_sentence_head_equals_transformers(stream):
    model = make(BertForSentence, 3)
    batch, _ = padded(stream)
    close(
        model(*stream),
        theirs("BertForSequenceClassification", model, num_labels=3)(**batch).logits,
    )


def test_encoder_is_taken_over_and_the_rest_is_named(stream):
    start = make(BertForPretraining, seed=1)
    model = make(BertForSentence, 2, seed=2)
    head = model.classifier.weight.clone()
    assert load_encoder(model, start.state_dict()) == ("classifier.bias", "classifier.weight")
    assert torch.equal(model.classifier.weight, head)
    for got, want in zip(model.bert(*stream), start.bert(*stream), strict=True):
        assert torch.equal(got, want)


def test_missing_pooler_is_reported_not_hidden():
    start = make(BertForPretraining, next_sentence=False)
    unset = load_encoder(make(BertForSentence, 2), start.state_dict())
    assert "bert.pooler.dense.weight" in unset
    span = make(BertForSpan)
    assert load_encoder(span, make(BertForPretraining).state_dict()) == (
        "qa_outputs.bias",
        "qa_outputs.weight",
    )


def test_weights_of_another_shape_are_refused():
    start = make(BertForPretraining, intermediate_size=64).state_dict()
    with pytest.raises(StateError, match=r"intermediate.dense.*expected \(80,\), found \(64,\)"):
        load_encoder(make(BertForSpan), start)


@pytest.mark.parametrize(
    ("change", "message"),
    [("drop", "expected \\(48,\\), found no such weight"), ("add", "expected no such weight")],
)
def test_missing_or_unknown_weights_are_refused(change, message):
    state = make(BertForPretraining).state_dict()
    if change == "drop":
        del state["bert.encoder.layer.1.output.dense.bias"]
    else:
        state["bert.encoder.layer.2.output.dense.bias"] = torch.zeros(48)
    with pytest.raises(StateError, match=message):
        load_encoder(make(BertForSpan), state)


def test_an_encoder_with_layer_norm_first_is_taken_over_with_its_last_one():
    pretrained = make(BertForPretraining, norm="pre")
    model = make(BertForSpan, norm="pre", seed=2)

    fresh = load_encoder(model, pretrained.state_dict())

    assert fresh == ("qa_outputs.bias", "qa_outputs.weight")
    assert torch.equal(model.bert.LayerNorm.weight, pretrained.bert.LayerNorm.weight)
    with pytest.raises(StateError, match=r"first bert\.LayerNorm\.bias: expected no such weight"):
        load_encoder(make(BertForSpan), pretrained.state_dict())
