import json
import math

import pytest
import torch

from bert.optim.loss_scale import LossScale, LossScaleError

# Overflows at the start, after one step too few for growth, after just enough, and in a row.
SCRIPT = [True] + [False] * 1999 + [True] + [False] * 2001 + [True] * 3 + [False] * 5


def test_it_moves_as_the_scaler_of_torch():
    theirs, ours = torch.amp.GradScaler("cpu"), LossScale()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs.scale(torch.ones(1))  # only this makes its scale
    seen = set()
    for overflowed in SCRIPT:
        parameter.grad = torch.full((1,), math.inf if overflowed else 1.0)
        theirs.step(optimizer)
        theirs.update()
        ours.update(overflowed)
        seen.add(ours.value)
        assert ours.value == theirs.get_scale()
    assert seen == {2.0**15, 2.0**14, 2.0**13, 2.0**12}


def test_growth_needs_2000_clean_steps_in_a_row():
    scale = LossScale()
    for overflowed in [False] * 1999 + [True] + [False] * 1999:
        scale.update(overflowed)
    assert scale.value == 2.0**15
    scale.update(False)
    assert scale.value == 2.0**16


def test_unscaling_is_exact_and_keeps_what_is_not_finite():
    scale = LossScale()
    gradients = [torch.tensor([3.0, math.inf]), torch.tensor([[-1e-30]])]
    expected = [gradient.clone() for gradient in gradients]
    torch._foreach_mul_(gradients, scale.value)
    scale.unscale_(gradients)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
    scale.unscale_([])


def test_endless_overflow_is_an_error_at_scale_1_not_a_scale_of_0():
    scale = LossScale()
    for _ in range(16):
        scale.update(True)
    assert scale.value == 1.0
    with pytest.raises(
        LossScaleError, match=r"not finite at a loss scale of 1, .*precision to bf16"
    ):
        scale.update(True)
    assert scale.value == 1.0


def test_its_state_goes_on_where_it_was():
    straight, parts = LossScale(), LossScale()
    script = [True] + [False] * 3500 + [True] + [False] * 700
    for overflowed in script:
        straight.update(overflowed)
    for overflowed in script[:1500]:
        parts.update(overflowed)
    resumed = LossScale()
    resumed.load(json.loads(json.dumps(parts.state())))
    for overflowed in script[1500:]:
        resumed.update(overflowed)
    assert resumed.state() == straight.state() == {"value": 2.0**15, "clean_steps": 700}
