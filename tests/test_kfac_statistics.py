"""What K-FAC collects: the same for any micro-batches, loss scale and checkpointing."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bert.config import check
from bert.model.attention import sequences_of
from bert.model.bert import initialize, set_activation_checkpointing
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.kfac import Kfac
from bert.optim.kfac_statistics import Collector
from bert.optim.moments import OptimizerError
from bert.ranks.ranks import Ranks
from tests.conftest import MODEL
from tests.test_kfac import ALONE, Net, close, config, normal

LENGTHS = (7, 3, 12, 5, 6)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def model():
    model = BertForPretraining(check(ModelConfig, MODEL | NO_DROPOUT, where="a test"), 50)
    initialize(model, 0.2, torch.Generator().manual_seed(1))
    return model


def factors(model, micro_batches, *, scale=1.0, autocast=False):
    """Factors of one step whose loss is a mean over all tokens, cut into micro-batches."""
    kfac = Kfac(model, config(), ALONE)
    kfac.collect(1, gradient_scale=scale)
    tokens = torch.arange(sum(LENGTHS)) * 17 % 45 + 5
    targets = normal(len(tokens), 16)
    starts = [sum(LENGTHS[:i]) for i in range(len(LENGTHS) + 1)]
    model.zero_grad()
    for first, last in micro_batches:
        part = slice(starts[first], starts[last])
        lengths = LENGTHS[first:last]
        positions = torch.cat([torch.arange(length) for length in lengths])
        ids = tokens[part]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            hidden = model.bert(ids, ids * 0, positions, sequences_of(lengths)).hidden
        loss = (hidden.float() - targets[part]).square().sum() / len(tokens)
        (scale * loss).backward()
    for parameter in model.bert.encoder.parameters():
        parameter.grad /= scale
    kfac.precondition(1, 0.1)
    return {name: t for name, t in kfac.tensors().items() if "_factor" in name}


WHOLE = [(0, 5)]


@pytest.mark.parametrize("cuts", [[(0, 2), (2, 5)], [(i, i + 1) for i in range(5)]])
def test_factors_do_not_depend_on_the_micro_batches(model, cuts):
    whole, cut = factors(model, WHOLE), factors(model, cuts)

    assert len(whole) == 24
    for name, tensor in whole.items():
        assert close(cut[name], tensor, 1e-5), name


def test_the_output_factor_is_that_of_each_tokens_own_gradient():
    """Three tokens with loss w * out: own gradients 3 * (1/3) w = w, G = w^2 (one output)."""
    net = Net(nn.Linear(2, 1))
    kfac = Kfac(net, config(), ALONE)
    kfac.collect(1)
    (5.0 * net(normal(3, 2))).mean().backward()
    kfac.precondition(1, 0.1)

    assert float(kfac.tensors()["output_factor:bert.encoder.0"]) == pytest.approx(25.0)


def test_loss_scaling_is_divided_out_exactly(model):
    plain, scaled = factors(model, WHOLE), factors(model, WHOLE, scale=2.0**16)

    assert all(torch.equal(scaled[name], tensor) for name, tensor in plain.items())


def test_factors_are_fp32_under_autocast(model):
    plain, rounded = factors(model, WHOLE), factors(model, WHOLE, autocast=True)

    for name, tensor in plain.items():
        assert rounded[name].dtype == torch.float32
        assert close(rounded[name], tensor, 0.05), name
    last = "input_factor:bert.encoder.layer.1.output.dense"
    assert not torch.equal(rounded[last], plain[last])


def test_activation_checkpointing_changes_no_factor(model):
    plain = factors(model, [(0, 2), (2, 5)], autocast=True)
    set_activation_checkpointing(model, True)
    recomputed = factors(model, [(0, 2), (2, 5)], autocast=True)
    set_activation_checkpointing(model, False)

    assert all(torch.equal(recomputed[name], tensor) for name, tensor in plain.items())


class Block(nn.Module):
    """Ends in a sum after a linear map: its gradient arrives before anything is recomputed."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 6)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(x)))


class Encoder(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.reentrant = reentrant

    def forward(self, x):
        for block in self.blocks:
            if self.reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_activations_are_counted_once(reentrant):
    results = []
    for mode in (None, reentrant):
        net = Net()
        net.bert.encoder = Encoder(mode)
        for number, parameter in enumerate(net.parameters()):
            parameter.data = normal(*parameter.shape, seed=number)
        kfac = Kfac(net, config(), ALONE)
        kfac.collect(1)
        for seed in (1, 2):
            net(normal(5, 6, seed=seed).requires_grad_()).square().mean().backward()
        kfac.precondition(1, 0.1)
        results.append(kfac.tensors() | {n: p.grad for n, p in net.named_parameters()})

    plain, recomputed = results
    assert all(torch.equal(recomputed[name], tensor) for name, tensor in plain.items())


def test_nothing_is_watched_between_collections(model):
    def hooks():
        return sum(len(module._forward_hooks) for module in model.modules())

    before = hooks()
    kfac = Kfac(model, config(factor_every=2), ALONE)
    kfac.collect(1)
    during = hooks()
    kfac.discard()

    assert (before, during, hooks()) == (0, 12 + 1, 0)


def test_a_pass_without_its_backward_is_noticed():
    net = Net(nn.Linear(2, 2), nn.Linear(2, 1))
    collector = Collector(net.bert.encoder, {"one": net.bert.encoder[0]}, 1.0)
    net(normal(3, 2)).sum().backward()
    net(normal(4, 2))
    with pytest.raises(OptimizerError, match="saw 3 to 7 tokens, fewest for the output_factor of"):
        collector.count_tokens(Ranks(0, 1, 0))
