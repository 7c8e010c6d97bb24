"""K-FAC: which layers, when, how much, and what it refuses; tools of the other K-FAC tests."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from bert.config import check
from bert.model.attention import sequences_of
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.config import KfacConfig
from bert.optim.kfac import Kfac
from bert.optim.moments import OptimizerError
from bert.ranks.ranks import Ranks
from tests.conftest import KFAC, MODEL

ALONE = Ranks(0, 1, 0)


def config(**changes):
    return check(KfacConfig, KFAC | {"kl_clip": None} | changes, where="a test")


class Net(nn.Module):
    """Linear layers in a row, where K-FAC looks for the encoder."""

    def __init__(self, *layers):
        super().__init__()
        self.bert = nn.Module()
        self.bert.encoder = nn.Sequential(*layers)

    def forward(self, x):
        return self.bert.encoder(x)


def random_net(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    net = Net(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.5, generator=generator)
    return net


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def set_gradients(net, seed):
    for number, parameter in enumerate(net.parameters()):
        parameter.grad = normal(*parameter.shape, seed=1000 * seed + number)


def flat_gradients(layer):
    """The gradient of [W | b] as one vector, row by row, in double precision."""
    return torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1).double().flatten()


def close(found, expected, tolerance=1e-3):
    """Equal up to the rounding of fp32, which 1 / damping enlarges."""
    return torch.linalg.vector_norm(found - expected) < tolerance * torch.linalg.vector_norm(
        expected
    )


def backward(net, x, loss):
    net.zero_grad()
    loss(net(x)).backward()


def test_kl_clip_by_hand():
    """lr^2 * g * Pg = 0.08 * 3 * 1.5 = 0.36 for one weight; bound 0.09: factor (1/4)^(1/2)."""
    net = Net(nn.Linear(1, 1))
    layer = net.bert.encoder[0]
    results = {}
    for bound in (None, 0.09, 1.0):
        kfac = Kfac(net, config(damping=2.0, kl_clip=bound), ALONE)
        kfac.collect(1)
        backward(net, torch.zeros(1, 1), lambda out: 0.0 * out.sum())  # G = 0
        layer.weight.grad.fill_(3.0)
        layer.bias.grad.fill_(0.0)
        kfac.precondition(1, math.sqrt(0.08))
        results[bound] = float(layer.weight.grad)

    assert results == pytest.approx({None: 1.5, 0.09: 0.75, 1.0: 1.5})


def test_a_learning_rate_of_zero_clips_nothing():
    net = Net(nn.Linear(1, 1))
    kfac = Kfac(net, config(damping=2.0, kl_clip=1e-3), ALONE)
    kfac.collect(1)
    backward(net, torch.zeros(1, 1), lambda out: 0.0 * out.sum())
    set_gradients(net, 1)
    before = flat_gradients(net.bert.encoder[0])

    kfac.precondition(1, 0.0)

    assert torch.allclose(flat_gradients(net.bert.encoder[0]), before / 2)


def step(kfac, net, number, *, skip=False):
    """One step on inputs and gradients that depend on its number."""
    kfac.collect(number)
    target = normal(8, 2, seed=100 + number)
    backward(net, normal(8, 3, seed=number), lambda out: (out - target).square().mean())
    if skip:
        kfac.discard()
    else:
        kfac.precondition(number, 0.1)
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def test_the_running_mean_is_plain_at_first_and_decays_later():
    """Weights of the k-th update max(1 / k, 1 - decay): decay 0.6 gives 1, 1/2, 0.4, 0.4."""
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(factor_decay=0.6), ALONE)
    means = []
    for number in range(1, 5):
        step(kfac, net, number)
        a = torch.cat([normal(8, 3, seed=number), torch.ones(8, 1)], 1)
        means.append(a.T @ a / 8)

    expected = 0.6 * (0.6 * (means[0] + means[1]) / 2 + 0.4 * means[2]) + 0.4 * means[3]
    found = kfac.tensors()
    assert torch.allclose(found["input_factor:bert.encoder.0"], expected, atol=1e-6)
    assert int(found["updates"]) == 4


def test_factors_and_inverses_are_renewed_when_due():
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(factor_every=2, inverse_every=3), ALONE)
    changed = []
    before = {}
    for number in range(1, 8):
        step(kfac, net, number)
        now = {name: tensor.clone() for name, tensor in kfac.tensors().items()}
        changed.append(
            [
                name not in before or not torch.equal(before[name], now[name])
                for name in ("input_factor:bert.encoder.0", "input_vectors:bert.encoder.0")
            ]
        )
        before = now

    assert [factor for factor, _ in changed] == [True, False, True, False, True, False, True]
    assert [inverse for _, inverse in changed] == [True, False, False, True, False, False, True]


def test_a_step_without_statistics_is_refused():
    net = random_net(3, 4)
    set_gradients(net, 1)
    kfac = Kfac(net, config(), ALONE)
    with pytest.raises(OptimizerError, match="no factors at step 3; call collect"):
        kfac.precondition(3, 0.1)
    kfac.collect(3)
    with pytest.raises(OptimizerError, match="saw 0 to 0 tokens"):
        kfac.precondition(3, 0.1)


def test_a_missing_gradient_is_refused():
    net = random_net(3, 2)
    kfac = Kfac(net, config(), ALONE)
    step(kfac, net, 1)
    net.zero_grad()
    with pytest.raises(OptimizerError, match=r"shape \(2, 3\) has no gradient"):
        kfac.precondition(2, 0.1)


def test_statistics_that_are_not_finite_are_refused():
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(), ALONE)
    kfac.collect(1)
    backward(net, torch.full((2, 3), 1e30), lambda out: 0.0 * out.sum())
    set_gradients(net, 1)
    with pytest.raises(OptimizerError, match=r"statistics of bert.encoder.0 are not finite"):
        kfac.precondition(1, 0.1)


def test_gradients_that_are_views_stay_views():
    net = random_net(3, 2)
    kfac = Kfac(net, config(), ALONE)
    bucket = torch.zeros(8)
    net.bert.encoder[0].weight.grad = bucket[:6].view(2, 3)
    net.bert.encoder[0].bias.grad = bucket[6:]
    kfac.collect(1)
    net(normal(4, 3)).sum().backward()
    kfac.precondition(1, 0.1)

    gradient = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.equal(gradient, bucket)


def test_only_the_encoders_linear_layers_are_registered():
    """Six of each of 24 layers: 144 in BERT-large; no decoder, embedding, pooler or head."""
    large = MODEL | {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    }
    with torch.device("meta"):
        model = BertForPretraining(check(ModelConfig, large, where="a test"), 30522)
        kfac = Kfac(model, config(), ALONE)

    one = ("attention.self.query", "attention.self.key", "attention.self.value")
    one += ("attention.output.dense", "intermediate.dense", "output.dense")
    assert sorted(kfac.layers) == sorted(
        f"bert.encoder.layer.{number}.{name}" for number in range(24) for name in one
    )
    assert len(kfac.layers) == 144
    assert max(max(layer.weight.shape) for layer in kfac.layers.values()) == 4096


def test_other_parameters_keep_their_gradients():
    model = BertForPretraining(check(ModelConfig, MODEL, where="a test"), 50)
    initialize(model, 0.02, torch.Generator().manual_seed(0))
    kfac = Kfac(model, config(), ALONE)
    kfac.collect(1)
    ids = torch.arange(10)
    model.bert(ids, ids * 0, ids, sequences_of([6, 4])).hidden.square().sum().backward()
    set_gradients(model, 3)
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    kfac.precondition(1, 0.1)

    changed = {n for n, p in model.named_parameters() if not torch.equal(p.grad, before[n])}
    assert changed == {f"{name}.{part}" for name in kfac.layers for part in ("weight", "bias")}
