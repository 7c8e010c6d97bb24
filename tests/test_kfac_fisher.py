"""K-FAC against dense Fisher matrices, and its two ways of inverting."""

import math

import pytest
import torch
from torch import nn

from bert.optim.kfac import Kfac
from bert.optim.kfac_inverses import apply_inverse, invert
from bert.optim.moments import OptimizerError
from tests.test_kfac import (
    ALONE,
    backward,
    close,
    config,
    flat_gradients,
    normal,
    random_net,
    set_gradients,
)


def dense_fisher(token_gradients):
    """Mean of v v^T over the rows v of [T, m, n + 1], in double precision."""
    rows = token_gradients.double().flatten(1)
    return rows.T @ rows / len(rows)


def solve(fisher, damping, gradient):
    return torch.linalg.solve(fisher + damping * torch.eye(len(fisher)).double(), gradient)


def test_one_token_gives_the_exact_fisher():
    """With one token the Fisher matrix is a single Kronecker product."""
    net = random_net(3, 4)
    layer = net.bert.encoder[0]
    kfac = Kfac(net, config(damping=0.01), ALONE)
    x, label = normal(1, 3), torch.tensor([2])

    kfac.collect(1)
    backward(net, x, lambda out: nn.functional.cross_entropy(out, label))
    gradient = flat_gradients(layer)
    kfac.precondition(1, 0.1)

    expected = solve(torch.outer(gradient, gradient), 0.01, gradient)
    assert close(flat_gradients(layer), expected)


def test_labels_in_proportion_to_the_softmax_give_the_true_fisher():
    """Softmax (1/2, 1/4, 1/4), labels 0, 0, 1, 2: true Fisher (diag p - p p^T) x a a^T."""
    net = random_net(2, 3)
    layer = net.bert.encoder[0]
    layer.weight.data.zero_()
    layer.bias.data.copy_(torch.tensor([math.log(2), 0.0, 0.0]))
    kfac = Kfac(net, config(damping=0.003), ALONE)
    x = torch.tensor([[0.5, -2.0]]).repeat(4, 1)

    kfac.collect(1)
    labels = torch.tensor([0, 0, 1, 2])
    backward(net, x, lambda out: nn.functional.cross_entropy(out, labels))
    set_gradients(net, 1)
    gradient = flat_gradients(layer)
    kfac.precondition(1, 0.1)

    p = torch.tensor([0.5, 0.25, 0.25]).double()
    a = torch.tensor([0.5, -2.0, 1.0]).double()
    fisher = torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(a, a))
    assert close(flat_gradients(layer), solve(fisher, 0.003, gradient))


def test_a_deep_linear_net_gives_the_exact_blocks():
    """Each input meets each residual: inputs and output gradients are then independent."""
    net = random_net(3, 4, 2)
    first, second = net.bert.encoder
    inputs, residuals = normal(5, 3), normal(6, 2, seed=1)
    x = inputs.repeat_interleave(6, 0)
    r = residuals.repeat(5, 1)
    target = (net(x) - r).detach()
    kfac = Kfac(net, config(damping=0.05), ALONE)

    kfac.collect(1)
    backward(net, x, lambda out: 0.5 * (out - target).square().sum(1).mean())
    set_gradients(net, 2)
    before = [flat_gradients(layer) for layer in (first, second)]
    kfac.precondition(1, 0.1)

    ones = torch.ones(30, 1)
    with torch.no_grad():
        hidden = first(x)
        blocks = [
            dense_fisher((r @ second.weight)[:, :, None] * torch.cat([x, ones], 1)[:, None]),
            dense_fisher(r[:, :, None] * torch.cat([hidden, ones], 1)[:, None]),
        ]
    for layer, block, gradient in zip((first, second), blocks, before, strict=True):
        expected = solve(block, 0.05, gradient)
        assert close(flat_gradients(layer), expected)


def factors(seed=0):
    a, g = normal(20, 4, seed=seed), 0.1 * normal(20, 3, seed=seed + 1)
    return a.T @ a / 20, g.T @ g / 20


def test_eigen_damps_the_product_and_inverse_each_factor():
    a, g = factors()
    gradient = normal(3, 4, seed=9)
    vector = gradient.double().flatten()

    found = {
        method: apply_inverse(method, invert(method, a, g, 0.04), gradient, 0.04)
        for method in ("eigen", "inverse")
    }

    product = torch.kron(g.double(), a.double())
    p = math.sqrt((a.trace() / 4) / (g.trace() / 3))
    damped_a = a.double() + p * 0.2 * torch.eye(4).double()
    damped_g = g.double() + 0.2 / p * torch.eye(3).double()
    expected = {
        "eigen": solve(product, 0.04, vector),
        "inverse": torch.linalg.solve(torch.kron(damped_g, damped_a), vector),
    }
    for method, tensor in found.items():
        assert close(tensor.double().flatten(), expected[method], 1e-5), method


def test_the_two_methods_meet_without_damping():
    a, g = factors()
    gradient = normal(3, 4, seed=9)
    one, two = (
        apply_inverse(method, invert(method, a, g, 1e-12), gradient, 1e-12)
        for method in ("eigen", "inverse")
    )

    assert close(one, two)


def test_a_factor_too_singular_for_fp32_is_inverted_in_double_precision():
    a = torch.ones(50, 50)  # rank 1; the damping is below fp32's rounding of its entries
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(a + 1e-10 * torch.eye(50))

    result = invert("inverse", a, torch.eye(2), 1e-20)["input_inverse"]

    assert result.isfinite().all()


@pytest.mark.parametrize("method", ["eigen", "inverse"])
def test_a_factor_that_cannot_be_inverted_is_refused(method):
    a = torch.full((3, 3), torch.nan)
    with pytest.raises(OptimizerError, match=r"shape \[3, 3\] .* cannot be inverted"):
        invert(method, a, torch.eye(2), 0.1)


def test_a_layer_without_gradient_is_left_with_the_damping_alone():
    for method in ("eigen", "inverse"):
        inverse = invert(method, torch.eye(2), torch.zeros(2, 2), 0.25)
        assert torch.allclose(
            apply_inverse(method, inverse, torch.zeros(2, 2), 0.25), torch.zeros(2, 2)
        )
