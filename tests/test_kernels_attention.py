"""Attention's kernels: the way to heads and back, and the softmax, against float64 autograd."""

import math

import pytest
import torch

from bert.kernels.attention import (
    ROWS,
    attend_backward,
    attend_forward,
    join_heads,
    lay_out,
    split_heads,
)
from bert.model.dropout import factors, levels, nth_seed

pytestmark = pytest.mark.usefixtures("native")

LENGTHS = [
    pytest.param([1], id="one token"),
    pytest.param([32, 32, 32], id="one group"),
    pytest.param([5, 17, 64, 3, 33, 17, 1, 32], id="ragged"),
]
TOLERANCE = {torch.float32: 3e-6, torch.bfloat16: 1.2e-2}
TYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "bf16"])
SEED = 0x7FED_CBA9_8765_4321


def numbers(*shape, dtype=torch.float32, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("parts", [1, 3])
def test_heads_joined_again_are_the_rows(lengths, parts):
    layout = lay_out(lengths, 3, 4)
    rows = numbers(sum(lengths), parts * 12)
    back, total = join_heads(split_heads(rows, None, layout, parts), layout, with_sum=True)
    assert torch.equal(back, rows)
    torch.testing.assert_close(total, rows.sum(0), atol=1e-5, rtol=1e-5)


def test_a_head_lies_where_the_layout_says_and_what_is_filled_up_is_zero():
    layout = lay_out([2, 40, 1], 2, 4)
    assert layout.padded.tolist() == [ROWS, 2 * ROWS, ROWS]
    # The two short sequences come first, side by side; then the long one.
    assert [(g.sequences, g.padded) for g in layout.groups] == [(2, ROWS), (1, 2 * ROWS)]
    rows, bias = numbers(43, 8), numbers(8, seed=2)
    heads = split_heads(rows, bias, layout, 1)[0]
    third = heads[2 * ROWS * 4 :][: 2 * ROWS * 4].view(2, ROWS, 4)
    assert torch.equal(third[:, 0], (rows[42] + bias).view(2, 4))
    assert not third[:, 1:].any()


@TYPES
@pytest.mark.parametrize("p", [0.0, 0.2])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_attention_is_the_formula_and_its_gradient(lengths, p, dtype):
    count, depth, tokens = 2, 8, sum(lengths)
    rows = numbers(tokens, 3 * count * depth, dtype=dtype)
    layout, drop = lay_out(lengths, count, depth), (levels(p), SEED)
    heads = split_heads(rows, None, layout, 3)
    context, probabilities = attend_forward(heads, layout, drop)
    found, _ = join_heads(context, layout)
    grad = numbers(tokens, count * depth, dtype=dtype, seed=2)
    back = attend_backward(split_heads(grad, None, layout, 1), heads, probabilities, layout, drop)
    grad_rows, _ = join_heads(back, layout)

    exact = rows.double().requires_grad_()
    pieces = []
    for place, block in enumerate(exact.view(tokens, 3, count, depth).split(lengths)):
        q, k, v = block.permute(1, 2, 0, 3)
        shares = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(depth), -1)
        seed = nth_seed(torch.tensor(SEED), place)
        shares = shares * factors(tuple(shares.shape), p, seed, torch.float64)
        pieces.append((shares @ v).transpose(0, 1).reshape(-1, count * depth))
    expected = torch.cat(pieces)
    (expected_grad,) = torch.autograd.grad(expected, exact, grad.double())
    for one, other in ((found, expected.detach()), (grad_rows, expected_grad)):
        assert (one.double() - other).abs().max() / other.abs().max() < TOLERANCE[dtype]


def test_a_sequence_neither_sees_its_neighbours_nor_its_place_in_the_stream():
    layout, alone = lay_out([7, 30], 2, 8), lay_out([30], 2, 8)
    rows = numbers(37, 48)
    both, _ = attend_forward(split_heads(rows, None, layout, 3), layout, (0, 0))
    own, _ = attend_forward(split_heads(rows[7:].contiguous(), None, alone, 3), alone, (0, 0))
    torch.testing.assert_close(join_heads(both, layout)[0][7:], join_heads(own, alone)[0])


def test_the_number_of_threads_changes_no_bit():
    layout = lay_out([100, 3, 57, 64], 4, 16)
    heads = split_heads(numbers(224, 192, dtype=torch.bfloat16), None, layout, 3)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            context, probabilities = attend_forward(heads, layout, (6554, SEED))
            back = attend_backward(context, heads, probabilities, layout, (6554, SEED))
            results.append([context, probabilities, *join_heads(back, layout, with_sum=True)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
