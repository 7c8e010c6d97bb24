"""Lower learning rates for lower layers."""

import pytest
import torch

from bert.config import check
from bert.optim.config import AdamWConfig
from bert.optim.groups import make_optimizer
from bert.optim.layer_decay import rate_factors
from bert.optim.moments import set_learning_rate
from tests.conftest import ADAMW
from tests.finetuning import make_learner, tuning

# Of two layers: google-research/electra, model/optimization.py, _get_layer_lrs(1, d, 2), whose
# "task_specific/" is the head.
DEPTHS = {
    "bert.embeddings.word_embeddings.weight": 4,
    "bert.embeddings.LayerNorm.bias": 4,
    "bert.encoder.layer.0.attention.self.query.weight": 3,
    "bert.encoder.layer.1.output.dense.bias": 2,
    "bert.pooler.dense.weight": 0,
    "classifier.weight": 0,
}


def test_factors_are_those_of_electra():
    assert rate_factors(DEPTHS, 0.8) == {name: 0.8**depth for name, depth in DEPTHS.items()}


def test_a_decay_of_one_is_one_rate_for_all():
    learner = make_learner(tuning(layer_decay=1.0))

    assert [group["rate_factor"] for group in learner.optimizer.param_groups] == [1.0, 1.0]


def test_layers_are_told_by_number_not_by_digits():
    names = [f"bert.encoder.layer.{number}.output.dense.bias" for number in range(12)]
    factors = rate_factors(names, 0.5)

    assert [factors[name] for name in names] == [0.5 ** (13 - number) for number in range(12)]


@pytest.mark.usefixtures("kernels")
def test_ten_steps_are_those_of_torch_with_a_rate_a_group():
    """The whole network; torch is given the rate and the decay of each parameter."""
    config = check(AdamWConfig, ADAMW, where="a test")
    ours, theirs = (make_learner(tuning(layer_decay=0.7)).network for _ in range(2))
    factors = rate_factors([name for name, _ in ours.named_parameters()], 0.7)
    own = make_optimizer(ours.named_parameters(), config, factors)
    groups = [
        {
            "params": [param],
            "weight_decay": 0.01 if param.dim() > 1 else 0.0,
            "factor": factors[name],
        }
        for name, param in theirs.named_parameters()
    ]
    other = torch.optim.AdamW(groups, eps=1e-6)
    generator = torch.Generator().manual_seed(1)
    for step in range(1, 11):
        for mine, peer in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            peer.grad = mine.grad.clone()
        set_learning_rate(own, 1e-3 * step)
        for group in other.param_groups:
            group["lr"] = 1e-3 * step * group["factor"]
        own.step()
        other.step()

    for (name, mine), peer in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, peer, rtol=1e-5, atol=1e-6, msg=name)
