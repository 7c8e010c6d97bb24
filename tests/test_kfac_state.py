"""K-FAC interrupted, skipped, rolled back, or given another model's state."""

from pathlib import Path

import pytest
import torch

from bert.optim.kfac import Kfac
from bert.optim.moments import OptimizerError
from tests.test_kfac import ALONE, config, random_net, step


@pytest.mark.parametrize("method", ["eigen", "inverse"])
@pytest.mark.parametrize("interrupted_after", range(0, 5))
def test_a_resumed_run_goes_on_bitwise_wherever_it_was_interrupted(method, interrupted_after):
    settings = config(method=method, factor_every=2, inverse_every=3, kl_clip=0.01)
    net = random_net(3, 4, 2)
    whole = Kfac(net, settings, ALONE)
    expected = [step(whole, net, number) for number in range(1, 9)]

    one = Kfac(net, settings, ALONE)
    found = [step(one, net, number) for number in range(1, interrupted_after + 1)]
    saved = {name: tensor.clone() for name, tensor in one.tensors().items()}
    two = Kfac(net, settings, ALONE)
    two.load(saved, Path("checkpoint"))
    found += [step(two, net, number) for number in range(interrupted_after + 1, 9)]

    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_discarded_step_leaves_no_trace():
    net = random_net(3, 4, 2)
    settings = config(inverse_every=1)
    one, two = Kfac(net, settings, ALONE), Kfac(net, settings, ALONE)
    step(one, net, 1)
    step(two, net, 1)
    step(two, net, 7, skip=True)

    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(step(one, net, 2), step(two, net, 2))
    pairs = zip(one.tensors().items(), two.tensors().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_first_step_that_is_skipped_leaves_its_work_to_the_next():
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(factor_every=10, inverse_every=10), ALONE)
    step(kfac, net, 1, skip=True)
    found = step(kfac, net, 2)

    other = Kfac(net, config(factor_every=1, inverse_every=1), ALONE)
    assert torch.equal(found, step(other, net, 2))


def test_loading_takes_back_later_steps():
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(), ALONE)
    empty = {name: tensor.clone() for name, tensor in kfac.tensors().items()}
    first = step(kfac, net, 1)
    kfac.load(empty, Path("checkpoint"))

    assert torch.equal(step(kfac, net, 1), first)


@pytest.mark.parametrize(
    ("sizes", "method", "problem"),
    [
        ((3, 5, 2), "eigen", r"factor:bert.encoder.1 has shape \[5, 5\], expected \[6, 6\]"),
        ((3, 4), "eigen", r"input_factor:bert.encoder.1 is not part of it"),
        ((3, 4, 2, 2), "eigen", r"input_factor:bert.encoder.2 is missing"),
        ((3, 4, 2), "inverse", r"input_inverse:bert.encoder.0 is missing"),
    ],
)
def test_the_state_of_another_model_or_method_is_refused(sizes, method, problem):
    net = random_net(3, 4, 2)
    kfac = Kfac(net, config(), ALONE)
    step(kfac, net, 1)

    with pytest.raises(OptimizerError, match=problem) as caught:
        Kfac(random_net(*sizes), config(method=method), ALONE).load(kfac.tensors(), Path("there"))
    assert "there does not fit K-FAC" in str(caught.value)


def test_a_state_without_its_count_is_refused():
    with pytest.raises(OptimizerError, match="is missing"):
        Kfac(random_net(3, 4), config(), ALONE).load({}, Path("there"))
