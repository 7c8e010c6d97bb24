import math
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
)
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.positions import FixedPositions, sinusoids

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
    table = sinusoids(40, 16, 0.1)

    neighbours = (table[:-1] * table[1:]).sum(1)

    assert torch.allclose(neighbours, neighbours[0].expand(39), atol=1e-6)
    assert torch.allclose(table[0, :4], torch.tensor([0.0, 0.1, 0.0, 0.1]))
    assert table.abs().max() <= 0.1


@pytest.mark.parametrize("width", [6, 7])
def test_fixed_positions_are_the_published_formula(width):
    """Vaswani et al., 2017, section 3.5, value by value."""
    table = FixedPositions(9, width)(torch.tensor([8, 3]))

    for row, position in zip(table, (8, 3), strict=True):
        for column in range(width):
            angle = position / 10_000 ** (2 * (column // 2) / width)
            wave = math.cos(angle) if column % 2 else math.sin(angle)
            assert row[column].item() == pytest.approx(wave, abs=1e-6)


def test_fixed_positions_are_no_parameter_but_stand_in_the_checkpoint(stream):
    model = make(positions="fixed", position_init=None)
    name = "embeddings.position_embeddings.weight"

    assert name not in dict(model.named_parameters())
    assert torch.equal(model.state_dict()[name], sinusoids(16, 48))
    learned = make()
    assert learned.state_dict().keys() == model.state_dict().keys()
    learned.load_state_dict(model.state_dict())
    torch.testing.assert_close(learned(*stream).hidden, model(*stream).hidden, atol=0, rtol=0)
    model(*stream).hidden.square().sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "pooler" not in n)


def test_a_start_of_positions_that_are_not_learned_is_refused():
    with pytest.raises(ConfigError, match="position_init is normal with positions fixed; write nu"):
        config(positions="fixed")
    with pytest.raises(ConfigError, match="position_init is None with positions learned; write no"):
        config(position_init=None)


def test_layer_norm_first_equals_the_formula_written_out():
    """One layer, one head, one sequence, from the weights alone; Xiong et al., 2020, figure 1b."""
    model = make(norm="pre", num_hidden_layers=1, num_attention_heads=1)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    ids = torch.tensor([4, 9, 2, 7])
    segments, positions = torch.tensor([0, 0, 1, 1]), torch.arange(4)

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-12).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    rows = ("word", ids), ("token_type", segments), ("position", positions)
    x = sum(state[f"embeddings.{kind}_embeddings.weight"][index] for kind, index in rows)
    x = norm(x, "embeddings.LayerNorm")
    layer = "encoder.layer.0"
    inner = norm(x, f"{layer}.attention.LayerNorm")
    q, k, v = (linear(inner, f"{layer}.attention.self.{n}") for n in ("query", "key", "value"))
    context = torch.softmax(q @ k.T / math.sqrt(48), dim=1) @ v
    x = x + linear(context, f"{layer}.attention.output.dense")
    inner = linear(norm(x, f"{layer}.intermediate.LayerNorm"), f"{layer}.intermediate.dense")
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    x = norm(x + linear(inner, f"{layer}.output.dense"), "LayerNorm")

    hidden, pooled = model(ids, segments, positions, sequences_of([4]))

    torch.testing.assert_close(hidden.double(), x, atol=1e-5, rtol=1e-5)
    expected = torch.tanh(linear(x[:1], "pooler.dense"))
    torch.testing.assert_close(pooled.double(), expected, atol=1e-5, rtol=1e-5)


def test_layer_norm_first_equals_transformers_with_gradients(stream):
    """RobertaPreLayerNorm, which has the same names; its positions start at 1 after the padding."""
    model = make(norm="pre")
    shape = transformers.RobertaPreLayerNormConfig(
        vocab_size=32, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=80, max_position_embeddings=16, type_vocab_size=2, pad_token_id=0,
        layer_norm_eps=1e-12,
    )  # fmt: skip
    theirs = transformers.RobertaPreLayerNormModel(shape).eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    batch, real = padded(stream)
    longest = max(LENGTHS)
    batch["position_ids"] = torch.arange(longest).expand(len(LENGTHS), longest)
    weight = torch.randn(sum(LENGTHS), 48, generator=torch.Generator().manual_seed(3))

    out = theirs(**batch)
    ((out.last_hidden_state[real] * weight).sum() + out.pooler_output.square().sum()).backward()
    hidden, pooled = model(*stream)
    ((hidden * weight).sum() + pooled.square().sum()).backward()

    torch.testing.assert_close(hidden, out.last_hidden_state[real], atol=1e-5, rtol=1e-5)
    expected = dict(theirs.named_parameters())
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, param in model.named_parameters():
        if name != "embeddings.position_embeddings.weight":  # theirs gives padding's row none
            torch.testing.assert_close(param.grad, expected[name].grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_linear_maps_of_a_layer_are_leaf_modules(norm):
    """A preconditioner finds them by type and puts hooks on them."""
    model = make(norm=norm, num_hidden_layers=1)

    found = [n for n, m in model.encoder.layer[0].named_modules() if type(m) is torch.nn.Linear]

    attention = ["self.query", "self.key", "self.value", "output.dense"]
    expected = [f"attention.{name}" for name in attention] + ["intermediate.dense", "output.dense"]
    assert found == expected


def test_weights_of_one_place_of_layer_norm_do_not_load_into_the_other():
    with pytest.raises(RuntimeError, match=r"Missing key.*attention\.LayerNorm\.weight"):
        make(norm="pre").load_state_dict(make().state_dict())
