import io
import math

import numpy as np
import pytest
import torch

from bert.config import check
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.config import LambConfig
from bert.optim.groups import make_optimizer, parameter_groups
from bert.optim.lamb import Lamb, trust_ratios
from bert.optim.moments import OptimizerError, reset_step, set_learning_rate

# Every claim holds with torch's operations and with the native kernels.
pytestmark = pytest.mark.usefixtures("kernels")

SHAPES = {
    "dense.weight": (4, 3),
    "dense.bias": (4,),
    "LayerNorm.weight": (3,),
    "table": (5, 2),
    "zero.weight": (2, 3),
    "zero.bias": (2,),
}


def config(**changes):
    values = {
        "name": "lamb",
        "variant": "nvidia",
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-6,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
    }
    return check(LambConfig, values | changes, where="test")


def draw(seed):
    """Weights; those called zero are 0, so that their norm is."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    return {n: value * (not n.startswith("zero")) for n, value in drawn.items()}


def draw_gradients(step):
    """Gradients of global norm about 6 at even steps and 0.1, which is not clipped, at odd ones."""
    rng = np.random.default_rng([100, step])
    size = 0.02 if step % 2 else 1.0
    return {name: size * rng.normal(size=shape) for name, shape in SHAPES.items()}


def parameters(values):
    return {
        name: torch.nn.Parameter(torch.tensor(value, dtype=torch.float32))
        for name, value in values.items()
    }


def take_steps(params, optimizer, cfg, steps, first=0):
    for index in range(first, first + steps):
        for name, value in draw_gradients(index).items():
            params[name].grad = torch.tensor(value, dtype=torch.float32)
        norm = global_norm([p.grad for p in params.values()])
        set_learning_rate(optimizer, 0.01 * (index + 1))
        optimizer.step(divisor=clip_divisor(norm, cfg.max_grad_norm))


def reference(values, cfg, steps):
    """The table of LAMB variants as one reads it, in float64, one number after the other."""
    values = {name: value.copy() for name, value in values.items()}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for t in range(1, steps + 1):
        grads = draw_gradients(t - 1)
        if cfg.variant != "intel":
            norm = math.sqrt(sum((g**2).sum() for g in grads.values()))
            grads = {name: g / max(1.0, norm / 1.0) for name, g in grads.items()}
        for name, p in values.items():
            m[name] = cfg.beta1 * m[name] + (1 - cfg.beta1) * grads[name]
            v[name] = cfg.beta2 * v[name] + (1 - cfg.beta2) * grads[name] ** 2
            m_hat, v_hat = m[name], v[name]
            if cfg.variant != "intel":
                m_hat = m_hat / (1 - cfg.beta1**t)
                v_hat = v_hat / (1 - cfg.beta2**t)
            decay = cfg.weight_decay if p.ndim == 2 else 0.0
            u = m_hat / (np.sqrt(v_hat) + cfg.eps) + decay * p
            adaptive = p.ndim == 2 if cfg.variant == "mlperf" else decay != 0
            norms = np.sqrt((p**2).sum()), np.sqrt((u**2).sum())
            ratio = norms[0] / norms[1] if adaptive and min(norms) > 0 else 1.0
            values[name] = p - 0.01 * t * ratio * u
    return values


def test_the_gradients_are_on_both_sides_of_the_clip():
    norms = [math.sqrt(sum((g**2).sum() for g in draw_gradients(t).values())) for t in range(10)]
    assert min(norms) < 0.2
    assert max(norms) > 4


@pytest.mark.parametrize("weight_decay", [0.01, 0.0])
@pytest.mark.parametrize(
    ("variant", "max_grad_norm"),
    [("nvidia", 1.0), ("habana", 1.0), ("intel", None), ("mlperf", 1.0)],
)
def test_ten_steps_of_lamb_equal_an_independent_computation(variant, max_grad_norm, weight_decay):
    cfg = config(variant=variant, max_grad_norm=max_grad_norm, weight_decay=weight_decay)
    values = draw(1)
    params = parameters(values)
    take_steps(params, make_optimizer(params.items(), cfg), cfg, steps=10)
    for name, expected in reference(values, cfg, steps=10).items():
        got = params[name].detach().double().numpy()
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6, err_msg=name)


def test_two_steps_by_hand():
    # p = (3, 4), g = (1, 1) twice, betas 0.5, no decay term in u but a trust ratio (mlperf).
    # Bias correction makes m_hat = v_hat = 1, so u = (1, 1), |u| = sqrt 2.
    # Step 1: r = 5 / sqrt 2, p = (3, 4) - 0.1 r (1, 1). Step 2: the same with the new p.
    cfg = config(variant="mlperf", beta1=0.5, beta2=0.5, eps=1e-12, weight_decay=0.0)
    param = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = make_optimizer([("p", param)], cfg)
    first = 3 - 0.1 * 5 / math.sqrt(2), 4 - 0.1 * 5 / math.sqrt(2)
    ratio = math.hypot(*first) / math.sqrt(2)
    for expected in (first, (first[0] - 0.1 * ratio, first[1] - 0.1 * ratio)):
        param.grad = torch.ones(1, 2)
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        assert param.tolist()[0] == pytest.approx(expected, rel=1e-6)


def test_intel_has_no_bias_correction_by_hand():
    # One step: m = 0.1, v = 0.001, u = 0.1 / sqrt(0.001) = sqrt 10; a bias has no trust ratio.
    cfg = config(variant="intel", eps=1e-12, max_grad_norm=None)
    param = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([("bias", param)], cfg)
    param.grad = torch.ones(1)
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    assert param.item() == pytest.approx(1 - 0.1 * math.sqrt(10), rel=1e-5)


def test_trust_ratio_is_one_where_a_norm_is_zero():
    params = [torch.zeros(2, 2), torch.ones(2, 2), torch.full((2, 2), 3.0)]
    updates = [torch.ones(2, 2), torch.zeros(2, 2), torch.ones(2, 2)]
    assert [r.item() for r in trust_ratios(params, updates)] == [1.0, 1.0, 3.0]


def test_zero_matrix_moves_by_the_plain_step():
    param = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer([("w", param)], config())
    param.grad = torch.ones(2, 2)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((2, 2), -0.5), atol=1e-5, rtol=0)


def test_a_parameter_without_gradient_is_left_alone():
    param, other = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = make_optimizer([("a", param), ("b", other)], config())
    param.grad = torch.ones(2, 2)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    assert torch.all(other == 1)
    assert not torch.any(param == 1)


def test_state_continues_bit_for_bit_and_loads_without_pickle(tmp_path):
    cfg, values = config(), draw(2)
    straight = parameters(values)
    take_steps(straight, make_optimizer(straight.items(), cfg), cfg, steps=5)

    params = parameters(values)
    optimizer = make_optimizer(params.items(), cfg)
    take_steps(params, optimizer, cfg, steps=3)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    resumed = make_optimizer(params.items(), cfg)
    resumed.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    take_steps(params, resumed, cfg, steps=2, first=3)
    for name in SHAPES:
        assert torch.equal(params[name], straight[name]), name


def test_phase_switch_keeps_moments_restarts_the_step_and_obeys_the_new_config():
    cfg, params = config(), parameters(draw(3))
    first = make_optimizer(params.items(), cfg)
    take_steps(params, first, cfg, steps=3)
    moments = {name: first.state[params[name]]["exp_avg"].clone() for name in SHAPES}
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    second = make_optimizer(params.items(), config(weight_decay=0.5, beta2=0.98))
    second.load_state_dict(torch.load(saved, weights_only=True))
    assert [group["step"] for group in second.param_groups] == [3, 3]
    reset_step(second)
    assert [group["step"] for group in second.param_groups] == [0, 0]
    assert [group["weight_decay"] for group in second.param_groups] == [0.5, 0.0]
    assert [group["beta2"] for group in second.param_groups] == [0.98, 0.98]
    for name in SHAPES:
        assert torch.equal(second.state[params[name]]["exp_avg"], moments[name])


def test_state_of_other_parameters_is_refused():
    params = parameters(draw(4))
    state = make_optimizer(params.items(), config()).state_dict()
    swapped = dict(reversed(params.items()))
    with pytest.raises(OptimizerError, match="saved optimizer state is of the parameters"):
        make_optimizer(swapped.items(), config()).load_state_dict(state)


def test_groups_partition_all_parameters_and_exempt_vectors():
    module = torch.nn.Sequential(
        torch.nn.Embedding(5, 4), torch.nn.Linear(4, 3), torch.nn.LayerNorm(3)
    )
    frozen = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
    groups = parameter_groups([*module.named_parameters(), ("frozen", frozen)], 0.01)
    assert [group["names"] for group in groups] == [
        ["0.weight", "1.weight"],
        ["1.bias", "2.weight", "2.bias"],
    ]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    held = [id(param) for group in groups for param in group["params"]]
    assert sorted(held) == sorted(id(param) for param in module.parameters())


def test_half_precision_parameters_are_refused():
    param = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
    with pytest.raises(OptimizerError, match=r"bfloat16; expected torch.float32"):
        Lamb(parameter_groups([("w", param)], 0.0), config())


def test_a_closure_is_refused():
    optimizer = make_optimizer([("w", torch.nn.Parameter(torch.ones(2)))], config())
    with pytest.raises(OptimizerError, match="takes none"):
        optimizer.step(lambda: 0.0)


@pytest.mark.parametrize(("max_norm", "divisor"), [(1.0, 5.0), (2.5, 2.0), (10.0, 1.0)])
def test_clipping_divides_by_the_norm_s_excess_over_its_limit(max_norm, divisor):
    norm = global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])
    assert norm.item() == pytest.approx(5.0)
    assert clip_divisor(norm, max_norm).item() == pytest.approx(divisor)


def test_no_limit_is_no_divisor():
    assert clip_divisor(torch.tensor(5.0), None) is None


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_the_norm_shows_a_gradient_that_is_not_finite(bad):
    gradients = [torch.ones(3), torch.ones(100, 200)]
    gradients[1][77, 5] = bad
    assert not torch.isfinite(global_norm(gradients))


def test_no_gradients_have_norm_zero():
    assert global_norm([]).item() == 0.0


# Betas, eps, decay and clip of published runs; a key that could not be written would be refused.
PUBLISHED = {
    "fast_bert": {"beta1": 0.66, "beta2": 0.998, "max_grad_norm": None},
    "mlperf_tpu": {"variant": "mlperf", "beta1": 0.88, "beta2": 0.88, "weight_decay": 0.0166629},
    "nvidia_64_gpus": {"beta1": 0.60466, "beta2": 0.85437, "weight_decay": 0.1},
    "nvidia_22.04": {"beta1": 0.83, "beta2": 0.925, "weight_decay": 0.1},
    "nvidia_4096_gpus": {"beta1": 0.75, "beta2": 0.9, "weight_decay": 0.0166629},
    "intel": {"variant": "intel", "weight_decay": 0.0, "max_grad_norm": None},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_can_be_written_and_learn(name):
    cfg, params = config(**PUBLISHED[name]), parameters(draw(5))
    before = {name: param.detach().clone() for name, param in params.items()}
    take_steps(params, make_optimizer(params.items(), cfg), cfg, steps=1)
    assert all(torch.isfinite(param).all() for param in params.values())
    assert not any(torch.equal(param, before[name]) for name, param in params.items())
