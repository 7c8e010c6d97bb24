import os

import pytest
import torch

from bert.config import ConfigError, check
from bert.model.attention import sequences_of
from bert.model.bert import (
    BertModel,
    BertSelfAttention,
    initialize,
    set_attention_backend,
    set_sinusoidal_positions,
)
from bert.model.config import ModelConfig, padded_vocab_size

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
    "position_init": "normal",
    "layer_norm_eps": 1e-12,
    "vocab_multiple": 8,
    "next_sentence": True,
}


def config(**changes):
    return check(ModelConfig, SMALL | changes, where="test")


def make(seed=1, std=0.2, **changes):
    model = BertModel(config(**changes), VOCAB)
    initialize(model, std, torch.Generator().manual_seed(seed))
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


def padded(stream, value=0):
    """The stream as transformers takes it: [B, L] ids, segments and mask of real tokens."""
    ids, segments = (
        torch.nn.utils.rnn.pad_sequence(x.split(LENGTHS), batch_first=True, padding_value=value)
        for x in stream[:2]
    )
    real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return {"input_ids": ids, "token_type_ids": segments, "attention_mask": real.long()}, real


def published(activation="gelu"):
    names = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu"}
    return transformers.BertConfig(
        vocab_size=32,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=80,
        hidden_act=names[activation],
        max_position_embeddings=16,
    )


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_encoder_equals_transformers_on_a_padded_batch(stream, activation):
    model = make(hidden_act=activation)
    theirs = transformers.BertModel(published(activation)).eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    batch, real = padded(stream)
    expected = theirs(**batch)
    hidden, pooled = model(*stream)
    torch.testing.assert_close(hidden, expected.last_hidden_state[real], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, expected.pooler_output, atol=1e-5, rtol=1e-5)


def test_gradients_equal_transformers(stream):
    model = make()
    theirs = transformers.BertModel(published()).eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    batch, real = padded(stream)
    weight = torch.randn(sum(LENGTHS), 48, generator=torch.Generator().manual_seed(3))
    out = theirs(**batch)
    ((out.last_hidden_state[real] * weight).sum() + out.pooler_output.square().sum()).backward()
    hidden, pooled = model(*stream)
    ((hidden * weight).sum() + pooled.square().sum()).backward()
    expected = dict(theirs.named_parameters())
    for name, param in model.named_parameters():
        torch.testing.assert_close(param.grad, expected[name].grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", ["padded", "varlen"])
def test_all_attention_backends_give_the_same_network(stream, backend):
    model = make()
    expected = model(*stream)
    set_attention_backend(model, backend)
    found = {m.backend for m in model.modules() if isinstance(m, BertSelfAttention)}
    assert found == {backend}
    for got, want in zip(model(*stream), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_bfloat16_autocast_stays_near_float32_with_float32_parameters(stream):
    model = make(std=0.05)
    exact = model(*stream)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, _ = model(*stream)
    hidden.float().square().sum().backward()
    torch.testing.assert_close(hidden.float(), exact.hidden, atol=0.1, rtol=0.05)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_dropout_acts_in_training_only_and_obeys_the_seed(stream):
    model = make(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    model.train()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(model(*stream).hidden)
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])
    model.eval()
    assert torch.equal(model(*stream).hidden, model(*stream).hidden)


def test_without_pooler_there_is_no_pooled_output(stream):
    model = BertModel(config(), VOCAB, pooler=False)
    initialize(model, 0.02, torch.Generator().manual_seed(1))
    assert model(*stream).pooled is None
    assert not [name for name in model.state_dict() if "pooler" in name]


def test_initialisation_is_the_published_one_and_a_function_of_the_seed():
    model = make(seed=5, std=0.02, hidden_size=256, intermediate_size=512)
    for name, param in model.named_parameters():
        if "LayerNorm" in name:
            assert torch.all(param == (1.0 if name.endswith("weight") else 0.0)), name
        elif name.endswith("bias"):
            assert torch.all(param == 0), name
    weight = model.encoder.layer[0].intermediate.dense.weight
    assert weight.mean().item() == pytest.approx(0.0, abs=3e-4)
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    torch.manual_seed(99)
    again, other = make(seed=5, std=0.02).state_dict(), make(seed=6, std=0.02).state_dict()
    same = make(seed=5, std=0.02).state_dict()
    assert all(torch.equal(again[name], same[name]) for name in again)
    name = "encoder.layer.1.output.dense.weight"
    assert not torch.equal(again[name], other[name])


@pytest.mark.parametrize(
    ("vocab_size", "multiple", "rows"),
    [(30522, 8, 30528), (30528, 8, 30528), (5, 1, 5), (1, 8, 8)],
)
def test_token_table_is_rounded_up(vocab_size, multiple, rows):
    assert padded_vocab_size(vocab_size, multiple) == rows


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match="hidden_size 48 is not a multiple of num_attention_hea"):
        config(num_attention_heads=5)


def test_sinusoidal_positions_shift_by_one_linear_map():
    """Each pair (sin, cos) turns by a fixed angle from one position to the next: the products of
    neighbours are the same everywhere."""
    table = torch.nn.Parameter(torch.zeros(40, 16))
    set_sinusoidal_positions(table, 0.1)

    neighbours = (table[:-1] * table[1:]).sum(1)

    assert torch.allclose(neighbours, neighbours[0].expand(39), atol=1e-6)
    assert torch.allclose(table[0, :4], torch.tensor([0.0, 0.1, 0.0, 0.1]))
    assert table.abs().max() <= 0.1
