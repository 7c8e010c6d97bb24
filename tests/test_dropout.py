import pytest
import torch

from bert.model.dropout import Dropout, dropout


def draw(p, shape=(1000, 1001), dtype=torch.float32, seed=3):
    torch.manual_seed(seed)
    return dropout(torch.ones(shape, dtype=dtype), p)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_and_scale_are_those_of_the_probability(p):
    out = draw(p)
    kept = out != 0
    # Five standard deviations of a binomial share of about a million draws.
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)
    torch.testing.assert_close(
        out[kept], torch.full_like(out[kept], 1 / (1 - p)), rtol=1e-4, atol=0
    )


def test_neighbouring_draws_are_independent():
    # All four 16-bit draws of one 64-bit number take part, and no two go together.
    kept = (draw(0.5, (250_000, 4)) != 0).float()
    torch.testing.assert_close(kept.mean(0), torch.full((4,), 0.5), atol=0.005, rtol=0)
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 0.01


def test_gradient_passes_exactly_where_values_passed():
    torch.manual_seed(1)
    x = torch.randn(37, 5, requires_grad=True)
    out = dropout(x, 0.3)
    (grad,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(out, x * grad)
    assert 0 < (grad == 0).sum() < grad.numel()


def test_numbers_obey_the_seed_and_not_the_threads():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = draw(0.1)
        torch.set_num_threads(2)
        assert torch.equal(draw(0.1), first)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(draw(0.1, seed=4), first)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (4,), (5, 1)])
def test_shape_and_dtype_are_kept(shape):
    out = draw(0.5, shape, torch.bfloat16)
    assert out.shape == shape
    assert out.dtype == torch.bfloat16


def test_probability_zero_and_evaluation_change_nothing():
    x = torch.randn(5, 5)
    assert dropout(x, 0.0) is x
    assert Dropout(0.9).eval()(x) is x
    assert not torch.equal(Dropout(0.9).train()(x), x)
