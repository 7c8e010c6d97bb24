import numpy as np
import pytest
import torch

from bert.config import ConfigError, check
from bert.optim.config import AdamWConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate

# Every claim holds with torch's operations and with the native kernels.
pytestmark = pytest.mark.usefixtures("kernels")


def config(**changes):
    values = {
        "name": "adamw",
        "beta1": 0.9,
        "beta2": 0.98,
        "eps": 1e-6,
        "weight_decay": 0.1,
        "bias_correction": True,
        "max_grad_norm": None,
    }
    return check(AdamWConfig, values | changes, where="test")


def draw(seed):
    rng = np.random.default_rng(seed)
    shapes = {"weight": (4, 3), "bias": 4, "zero.weight": (2, 2)}
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return drawn if isinstance(seed, list) else drawn | {"zero.weight": np.zeros((2, 2))}


def run(optimizer, params, steps):
    for step in range(1, steps + 1):
        for name, value in draw([7, step]).items():
            params[name].grad = torch.tensor(value, dtype=torch.float32)
        set_learning_rate(optimizer, 0.01 * step)
        optimizer.step()


def parameters(seed=1):
    return {
        name: torch.nn.Parameter(torch.tensor(value, dtype=torch.float32))
        for name, value in draw(seed).items()
    }


def test_with_bias_correction_it_is_the_one_of_torch():
    ours, theirs = parameters(), parameters()
    run(make_optimizer(ours.items(), config()), ours, steps=10)
    groups = [
        {"params": [theirs["weight"], theirs["zero.weight"]], "weight_decay": 0.1},
        {"params": [theirs["bias"]], "weight_decay": 0.0},
    ]
    run(torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6), theirs, steps=10)
    for name, param in ours.items():
        torch.testing.assert_close(param, theirs[name], atol=1e-6, rtol=1e-5)


def test_without_bias_correction_it_equals_an_independent_computation():
    params = parameters()
    run(make_optimizer(params.items(), config(bias_correction=False)), params, steps=10)
    for name, start in draw(1).items():
        p, m, v = start.copy(), 0.0, 0.0
        decay = 0.0 if name == "bias" else 0.1
        for step in range(1, 11):
            g = draw([7, step])[name]
            m = 0.9 * m + 0.1 * g
            v = 0.98 * v + 0.02 * g * g
            p -= 0.01 * step * (m / (np.sqrt(v) + 1e-6) + decay * p)
        np.testing.assert_allclose(params[name].detach().numpy(), p, rtol=2e-5, atol=2e-6)


def test_first_step_without_bias_correction_by_hand():
    # m = 0.1 * 2, v = 0.02 * 4, u = 0.2 / sqrt(0.08) = 1 / sqrt 2; a bias does not decay.
    param = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([("bias", param)], config(bias_correction=False, eps=1e-12))
    param.grad = torch.tensor([2.0])
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    assert param.item() == pytest.approx(1 - 0.1 / 2**0.5, rel=1e-6)


def test_learning_rate_is_zero_until_it_is_set():
    params = parameters()
    before = params["weight"].clone()
    optimizer = make_optimizer(params.items(), config())
    params["weight"].grad = torch.ones(4, 3)
    optimizer.step()
    assert torch.equal(params["weight"], before)


def test_every_problem_of_the_section_is_reported():
    with pytest.raises(ConfigError, match=r"(?s)3 problems.*beta1 is 1.*eps is 0.*betas is not"):
        config(beta1=1.0, eps=0.0, betas=[0.9, 0.99])


@pytest.mark.parametrize(
    "published",
    [
        {"beta2": 0.999, "weight_decay": 0.01, "bias_correction": False, "max_grad_norm": 1.0},
        {"beta2": 0.999, "weight_decay": 0.0, "bias_correction": False, "max_grad_norm": 1.0},
        {"beta2": 0.98, "weight_decay": 0.01, "eps": 1e-12, "max_grad_norm": 0.5},
        # Composer's decoupled decay of 1e-5 is not multiplied by the rate: 1e-5 / 5e-4 here.
        {"beta2": 0.98, "weight_decay": 0.02, "max_grad_norm": 1.0},
    ],
    ids=["google", "pubmedbert", "cramming", "mosaicbert"],
)
def test_published_settings_can_be_written_and_learn(published):
    params = parameters()
    before = {name: param.detach().clone() for name, param in params.items()}
    run(make_optimizer(params.items(), config(**published)), params, steps=1)
    assert all(torch.isfinite(param).all() for param in params.values())
    assert not any(torch.equal(param, before[name]) for name, param in params.items())
