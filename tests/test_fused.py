"""Steps by torch's fused kernel, which a GPU takes, on the CPU, which has the kernel, too."""

import pytest
import torch

from bert.config import check
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate
from tests.conftest import ADAMW, PHASE

SHAPES = {"dense.weight": (7, 5), "dense.bias": (7,), "zero.weight": (3, 4), "zero.bias": (3,)}


def make(config, seed=3):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    named = [(n, torch.nn.Parameter(x * (not n.startswith("zero")))) for n, x in drawn.items()]
    return named, make_optimizer(named, config)


def take_steps(config, fused, monkeypatch, steps=5):
    named, optimizer = make(config)
    generator = torch.Generator().manual_seed(4)
    if fused:
        # As `MomentOptimizer.step` does for parameters on a GPU.
        def update(group, tensors):
            optimizer.update_fused(group, tensors, divisor)

        monkeypatch.setattr(optimizer, "update", update)
    for step in range(steps):
        for _, parameter in named:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_learning_rate(optimizer, 0.1 / (step + 1))
        divisor = torch.tensor(1.0 + step)
        if not fused:
            optimizer.step(divisor=divisor)
        else:
            optimizer.step()
    moments = [optimizer.state[p][key] for _, p in named for key in ("exp_avg", "exp_avg_sq")]
    return [p.detach() for _, p in named], moments, [p.grad for _, p in named]


CASES = [
    check(LambConfig, PHASE["optimizer"] | changes, where="a test")
    for changes in (
        *({"variant": name} for name in ("nvidia", "habana", "intel", "mlperf")),
        {"variant": "mlperf", "weight_decay": 0.0},
        {"variant": "nvidia", "weight_decay": 0.0},
    )
] + [
    check(AdamWConfig, ADAMW | {"bias_correction": corrected}, where="a test")
    for corrected in (True, False)
]


@pytest.mark.parametrize("config", CASES)
def test_a_fused_step_equals_the_step_of_lists(config, monkeypatch):
    """Weights, moments and divided gradients, of zero weights, too, whose trust ratio is 1."""
    expected = take_steps(config, False, monkeypatch)
    found = take_steps(config, True, monkeypatch)

    for kind_found, kind_expected in zip(found, expected, strict=True):
        for a, b in zip(kind_found, kind_expected, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("config", CASES)
def test_a_step_on_cuda_equals_that_of_the_cpu_and_waits_for_nothing(config, monkeypatch):
    expected, *_ = take_steps(config, False, monkeypatch)
    named, optimizer = make(config)
    named = [(name, torch.nn.Parameter(p.detach().cuda())) for name, p in named]
    optimizer = make_optimizer(named, config)
    generator = torch.Generator().manual_seed(4)
    for step in range(5):
        for _, parameter in named:
            parameter.grad = torch.randn(parameter.shape, generator=generator).cuda()
        divisor = torch.tensor(1.0 + step, device="cuda")
        set_learning_rate(optimizer, 0.1 / (step + 1))
        torch.cuda.set_sync_debug_mode("error")
        optimizer.step(divisor=divisor)
        torch.cuda.set_sync_debug_mode("default")

    for (_, a), b in zip(named, expected, strict=True):
        torch.testing.assert_close(a.detach().cpu(), b, rtol=2e-5, atol=1e-6)
