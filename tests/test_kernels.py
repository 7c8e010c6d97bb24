"""The kernels of a layer against float64 autograd of the same formula, one by one."""

import pytest
import torch
from torch.nn import functional as F

from bert.kernels.activation import activation_backward, activation_forward
from bert.kernels.embeddings import (
    Ids,
    Tables,
    embeddings_backward,
    embeddings_forward,
    scatter_rows,
)
from bert.kernels.loss import cross_entropy_backward, cross_entropy_forward, sum_rows
from bert.kernels.norm import norm_backward, norm_forward
from bert.model.bert import ACTIVATIONS
from bert.model.dropout import factors, levels

pytestmark = pytest.mark.usefixtures("native")

# One rounding to bf16 is 2^-9; two of them, and sums of such numbers, stay under this.
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 1.2e-2}
TYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "bf16"])
SHAPES = pytest.mark.parametrize(("rows", "width"), [(1, 4), (63, 20), (65, 64), (200, 772)])
SEED = 0x1234_5678_9ABC_DEF0


def numbers(*shape, dtype=torch.float32, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def exact(tensor):
    return tensor.double().requires_grad_()


def close(found, expected, dtype):
    scale = expected.detach().abs().max().clamp(min=1e-30)
    assert (found.double() - expected.detach()).abs().max() / scale < TOLERANCE[dtype]


def kept(shape, p, dtype=torch.float64):
    return factors(shape, p, torch.tensor(SEED), dtype)


@TYPES
@SHAPES
@pytest.mark.parametrize("p", [0.0, 0.1])
@pytest.mark.parametrize("ways", ["stream", "product", "both"])
def test_norm_of_a_residual_is_the_formula_and_its_gradient(dtype, rows, width, p, ways):
    branch, residual = numbers(rows, width, dtype=dtype), numbers(rows, width, seed=2)
    bias, weight, shift = (numbers(width, seed=s) for s in (3, 4, 5))
    drop = (levels(p), SEED)
    out = norm_forward(branch, bias, residual, weight, shift, 1e-12, drop)
    e = [exact(x) for x in (branch, bias, residual, weight, shift)]
    summed = e[2] + (e[0] + e[1]) * kept((rows, width), p)
    y = F.layer_norm(summed, (width,), e[3], e[4], 1e-12)
    close(out.stream, y, torch.float32)
    close(out.product, y, dtype)

    stream = numbers(rows, width, seed=6) if ways != "product" else None
    product = numbers(rows, width, dtype=dtype, seed=7) if ways != "stream" else None
    found = norm_backward(
        stream, product, out.normed, out.inverse, weight, drop, with_residual=True
    )
    upstream = sum(g.double() for g in (stream, product) if g is not None)
    expected = torch.autograd.grad(y, e, upstream)
    for one, other in zip(found, expected, strict=True):
        close(one, other, dtype)


@TYPES
def test_norm_without_residual_is_layer_norm_of_the_branch(dtype):
    branch, weight, shift = numbers(70, 32, dtype=dtype), numbers(32, seed=2), numbers(32, seed=3)
    out = norm_forward(branch, None, None, weight, shift, 1e-5)
    e = [exact(x) for x in (branch, weight, shift)]
    y = F.layer_norm(e[0], (32,), e[1], e[2], 1e-5)
    close(out.product, y, dtype)
    upstream = numbers(70, 32, seed=4)
    found = norm_backward(upstream, None, out.normed, out.inverse, weight, with_residual=False)
    expected = torch.autograd.grad(y, e, upstream.double())
    assert found.residual is None
    assert found.bias is None
    for one, other in zip((found.branch, found.weight, found.shift), expected, strict=True):
        close(one, other, dtype)


@TYPES
@SHAPES
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "relu"])
def test_activation_is_the_published_one_and_its_gradient(dtype, rows, width, name):
    h, bias = 3 * numbers(rows, width, dtype=dtype), numbers(width, seed=2)
    grad = numbers(rows, width, dtype=dtype, seed=3)
    y = activation_forward(h, bias, name)
    e = [exact(h), exact(bias)]
    expected = ACTIVATIONS[name](e[0] + e[1])
    close(y, expected, dtype)
    found = activation_backward(grad, h, bias, name)
    for one, other in zip(found, torch.autograd.grad(expected, e, grad.double()), strict=True):
        close(one, other, dtype)


def test_activations_at_the_ends_of_their_range_are_finite_and_right():
    h = torch.tensor([[-1e30, -100.0, -12.0, -0.0, 0.0, 12.0, 100.0, 1e30]])
    zero, one = torch.zeros(8), torch.ones(1, 8)
    for name in ("gelu", "gelu_tanh", "relu"):
        y = activation_forward(h, zero, name)
        torch.testing.assert_close(y, ACTIVATIONS[name](h), atol=1e-6, rtol=1e-6)
        slope, _ = activation_backward(one, h, zero, name)
        torch.testing.assert_close(slope[0, [1, 6]], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_never_becomes_finite(bad):
    h = torch.ones(2, 8)
    h[1, 3] = bad
    zero = torch.zeros(8)
    for name in ("gelu", "gelu_tanh", "relu"):
        for dtype in TOLERANCE:
            assert not activation_forward(h.to(dtype), zero, name)[1, 3].isfinite()
    out = norm_forward(h, zero, torch.zeros(2, 8), torch.ones(8), zero, 1e-12)
    assert out.stream[0].isfinite().all()
    assert not out.stream[1].isfinite().any()
    losses, _ = cross_entropy_forward(h, torch.tensor([0, 0]))
    assert losses[0].isfinite()
    assert not losses[1].isfinite()


@TYPES
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_embeddings_are_the_formula_and_their_gradients_reach_the_right_rows(dtype, p):
    rows, width = 150, 36
    tables = Tables(numbers(50, width), numbers(64, width, seed=2), numbers(2, width, seed=3))
    weight, shift = numbers(width, seed=4), numbers(width, seed=5)
    generator = torch.Generator().manual_seed(6)
    ids = Ids(*(torch.randint(0, len(t), (rows,), generator=generator) for t in tables))
    drop = (levels(p), SEED)
    out = embeddings_forward(ids, tables, weight, shift, 1e-12, dtype, drop)
    e = [exact(x) for x in (*tables, weight, shift)]
    summed = sum(table[index] for table, index in zip(e[:3], ids, strict=True))
    y = F.layer_norm(summed, (width,), e[3], e[4], 1e-12) * kept((rows, width), p)
    close(out.stream, y, torch.float32)
    close(out.product, y, dtype)
    upstream = numbers(rows, width, seed=7)
    grad, *others = embeddings_backward(upstream, None, out.normed, out.inverse, weight, drop)
    found = [scatter_rows(grad, index, len(t)) for index, t in zip(ids, tables, strict=True)]
    expected = torch.autograd.grad(y, e, upstream.double())
    for one, other in zip([*found, *others], expected, strict=True):
        close(one, other, dtype)


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_id_outside_its_table_is_refused(bad):
    tables = Tables(torch.zeros(5, 4), torch.zeros(5, 4), torch.zeros(2, 4))
    ids = Ids(torch.tensor([0, bad]), torch.tensor([0, 1]), torch.tensor([0, 0]))
    with pytest.raises(IndexError, match=r"word ids are from .* the table has 5 rows"):
        embeddings_forward(ids, tables, torch.ones(4), torch.zeros(4), 1e-12, torch.float32, (0, 0))


@TYPES
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (5, 7), (33, 1003)])
def test_cross_entropy_is_that_of_torch_and_its_gradient(dtype, rows, classes):
    logits = 4 * numbers(rows, classes, dtype=dtype)
    labels = torch.randint(0, classes, (rows,), generator=torch.Generator().manual_seed(1))
    losses, log_sums = cross_entropy_forward(logits, labels)
    e = exact(logits)
    expected = F.cross_entropy(e, labels, reduction="none")
    torch.testing.assert_close(losses.double(), expected.detach(), atol=3e-6, rtol=3e-6)
    found = cross_entropy_backward(logits, labels, log_sums, torch.tensor(0.25))
    (grad,) = torch.autograd.grad(expected.sum(), e, torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(found.double(), grad, atol=1e-6, rtol=TOLERANCE[dtype])


def test_cross_entropy_of_huge_logits_neither_overflows_nor_loses_the_label():
    logits = torch.tensor([[3e38, -3e38, 0.0], [-3e38, -3e38, -3e38]])
    losses, _ = cross_entropy_forward(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(losses, torch.tensor([0.0, 0.0]), atol=1e38, rtol=0)
    assert losses[0] == 0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(IndexError, match="there are 3 classes"):
        cross_entropy_forward(torch.zeros(1, 3), torch.tensor([label]))


@TYPES
def test_sums_of_rows_are_those_of_float64(dtype):
    values = numbers(77, 1030, dtype=dtype)
    torch.testing.assert_close(sum_rows(values).double(), values.double().sum(0), atol=1e-4, rtol=0)


def test_the_number_of_threads_changes_no_bit():
    rows, width = 333, 256
    branch, residual = numbers(rows, width).bfloat16(), numbers(rows, width, seed=2)
    bias, weight, shift = (numbers(width, seed=s) for s in (3, 4, 5))
    index = torch.arange(rows) % 7
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = norm_forward(branch, bias, residual, weight, shift, 1e-12, (6554, SEED))
            back = norm_backward(
                residual, branch, out.normed, out.inverse, weight, (6554, SEED), with_residual=True
            )
            active = activation_backward(branch, branch, bias, "gelu")
            results.append([*out, *back, *active, scatter_rows(residual, index, 7)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
