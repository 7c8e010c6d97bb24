"""The optimizer's kernels: beside torch's operations, and whatever the threads and addresses."""

import math

import pytest
import torch

from bert.config import check
from bert.kernels.compiled import use_kernels
from bert.kernels.update import Moving, Numbers, adam_step, global_norm, lamb_step, takes
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate
from tests.conftest import ADAMW, PHASE

pytestmark = pytest.mark.usefixtures("native")

BLOCK = 16384  # of the kernels
# Odd sizes, single elements, an empty tensor, a run and a block and one more or less.
SHAPES = [
    (1,), (1, 1), (0,), (7,), (17, 3), (1023,), (1025,), (31, 33), (BLOCK - 1, 1), (1, BLOCK),
    (BLOCK + 1, 1), (2, BLOCK + 3), (64, 256),
]  # fmt: skip
LAMB = PHASE["optimizer"]
CONFIGS = {
    name: check(LambConfig, LAMB | {"variant": name}, where="a test")
    for name in ("nvidia", "habana", "intel", "mlperf")
} | {
    f"adamw-{correction}": check(AdamWConfig, ADAMW | {"bias_correction": correction}, where="")
    for correction in (True, False)
}
NUMBERS = Numbers(0.01, 0.9, 0.999, 1e-6, 0.01, 3, 1.7)


def draw(seed, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def draw_moving(seed=0, shapes=SHAPES):
    params, grads, first, second = (draw(4 * seed + i, shapes) for i in range(4))
    return Moving(params, grads, first, [t.abs() for t in second])


def train(config, steps=10):
    """Weights after some steps whose gradients are divided by 1, 2, 3 in turns."""
    params = [torch.nn.Parameter(tensor) for tensor in draw(0)]
    optimizer = make_optimizer([(str(i), p) for i, p in enumerate(params)], config)
    for step in range(steps):
        for param, gradient in zip(params, draw(100 + step), strict=True):
            param.grad = gradient
        set_learning_rate(optimizer, 0.01)
        optimizer.step(divisor=torch.tensor(float(step % 3 + 1)))
    return [param.detach() for param in params]


@pytest.mark.parametrize("name", CONFIGS)
def test_ten_steps_are_those_of_torch_within_some_units_in_the_last_place(name):
    found = train(CONFIGS[name])
    use_kernels("torch")
    for one, other in zip(found, train(CONFIGS[name]), strict=True):
        # Each of ten steps may round otherwise, by half a unit of a weight near 4.
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("step", [adam_step, lamb_step])
def test_the_number_of_threads_changes_no_bit(step):
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        moving = draw_moving()
        norm = global_norm(moving.grads)
        step(moving, NUMBERS)
        results.append([norm, *moving.params, *moving.exp_avg, *moving.exp_avg_sq])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("step", [adam_step, lamb_step])
def test_where_a_tensor_lies_changes_no_bit(step):
    """A vector loop may not begin elsewhere because an address is odd."""
    shape = [(3 * BLOCK + 5,)]
    expected = draw_moving(shapes=shape)
    norm = global_norm(expected.grads)
    step(expected, NUMBERS)
    for shift in (1, 3, 8, 15):
        moved = Moving(*([shifted(kind[0], shift)] for kind in draw_moving(shapes=shape)))
        assert torch.equal(global_norm(moved.grads), norm)
        step(moved, NUMBERS)
        assert torch.equal(moved.params[0], expected.params[0])


def shifted(tensor, elements):
    """A copy that begins so many elements after an aligned address."""
    place = torch.empty(len(tensor) + elements)[elements:]
    return place.copy_(tensor)


def test_a_step_leaves_the_gradient_and_moves_the_version_of_the_weights():
    config = CONFIGS["nvidia"]
    param = torch.nn.Parameter(torch.ones(3, 3))
    param.grad = torch.full((3, 3), 5.0)
    version = param._version
    make_optimizer([("p", param)], config).step(divisor=torch.tensor(2.0))
    assert param._version > version
    assert torch.all(param.grad == 5)


def test_autograd_refuses_a_weight_that_a_step_has_changed():
    param = torch.nn.Parameter(torch.ones(3, 3))
    loss = (param * param).sum()
    param.grad = torch.ones(3, 3)
    make_optimizer([("p", param)], CONFIGS["adamw-True"]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_tensors_are_a_step_like_any_other():
    adam_step(Moving([], [], [], []), NUMBERS)
    lamb_step(Moving([], [], [], []), NUMBERS)
    assert global_norm([]).item() == 0


def test_a_parameter_without_gradient_is_left_alone_and_has_no_moments():
    params = [torch.nn.Parameter(torch.ones(3, 3)) for _ in range(2)]
    params[0].grad = torch.ones(3, 3)
    optimizer = make_optimizer([(str(i), p) for i, p in enumerate(params)], CONFIGS["nvidia"])
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    assert torch.all(params[1] == 1)
    assert not optimizer.state[params[1]]
    assert not torch.any(params[0] == 1)


@pytest.mark.parametrize("size", [1, 1000, BLOCK * 3 + 7])
def test_the_norm_is_that_of_float64(size):
    tensors = draw(5, [(size,), (3, 5)])
    expected = math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))
    assert global_norm(tensors).item() == pytest.approx(expected, rel=3e-7)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK + 1])
def test_one_number_that_is_not_finite_shows_in_the_norm(bad, place):
    tensor = torch.ones(BLOCK + 2)
    tensor[place] = bad
    assert not math.isfinite(global_norm([torch.ones(3), tensor]).item())


@pytest.mark.parametrize(
    ("tensor", "misfit"),
    [
        (torch.ones(2, dtype=torch.float64), "torch.float64"),
        (torch.ones(2, 3).t(), r"of strides \(1, 3\)"),
        (torch.ones(2, device="meta"), "on meta"),
    ],
)
def test_a_tensor_of_another_kind_is_refused(tensor, misfit):
    assert not takes([tensor])
    with pytest.raises(TypeError, match=f"is {misfit}; the kernels take"):
        global_norm([tensor])


def test_moments_of_another_size_are_refused():
    ones = [torch.ones(4)]
    with pytest.raises(TypeError, match=r"1 parameters have 4 elements, .* moments 3 in 1 tensors"):
        adam_step(Moving(ones, ones, [torch.ones(3)], ones), NUMBERS)


def test_a_parameter_that_does_not_fit_takes_torch_s_way():
    param = torch.nn.Parameter(torch.ones(2, 3).t())
    param.grad = torch.ones(3, 2)
    optimizer = make_optimizer([("p", param)], CONFIGS["adamw-True"])
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((3, 2), 1 - 0.5 * 1.01))
