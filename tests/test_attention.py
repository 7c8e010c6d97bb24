from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from bert.model.attention import (
    Backend,
    Sequences,
    attend,
    default_backend,
    sequences_of,
)

BACKENDS = get_args(Backend)
LENGTHS = (5, 1, 9, 5, 12)


@pytest.fixture
def stream():
    generator = torch.Generator().manual_seed(7)
    total = sum(LENGTHS)
    return [torch.randn(total, 3, 4, generator=generator).requires_grad_() for _ in range(3)]


def by_hand(query, key, value, lengths):
    """Each sequence and head on its own, in float64, from the formula of the paper."""
    out, start = torch.zeros_like(query, dtype=torch.float64), 0
    for length in lengths:
        span = slice(start, start + length)
        for head in range(query.shape[1]):
            q, k, v = (x[span, head].double() for x in (query, key, value))
            scores = torch.exp(q @ k.T / query.shape[-1] ** 0.5)
            out[span, head] = (scores / scores.sum(1, keepdim=True)) @ v
        start += length
    return out


@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_equals_the_formula_forward_and_backward(stream, backend):
    weight = torch.randn(stream[0].shape, generator=torch.Generator().manual_seed(8))
    expected = by_hand(*stream, LENGTHS)
    expected_grads = torch.autograd.grad((expected * weight).sum(), stream)

    out = attend(*stream, sequences_of(LENGTHS), dropout_p=0.0, backend=backend)
    grads = torch.autograd.grad((out * weight).sum(), stream)

    assert out.dtype == torch.float32
    torch.testing.assert_close(out, expected.float(), atol=1e-6, rtol=1e-5)
    for got, want in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_token_sees_another_sequence(stream, backend):
    sequences = sequences_of(LENGTHS)
    before = attend(*stream, sequences, dropout_p=0.0, backend=backend)
    changed = [x.detach().clone() for x in stream]
    for x in changed:
        x[6:15] += 100.0  # the third sequence
    after = attend(*changed, sequences, dropout_p=0.0, backend=backend)
    other = torch.ones(sum(LENGTHS), dtype=torch.bool)
    other[6:15] = False
    torch.testing.assert_close(after[other], before[other].detach())
    assert not torch.allclose(after[~other], before[~other])


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_keeps_the_expected_output_and_acts_on_probabilities(backend):
    torch.manual_seed(0)
    lengths = (4,) * 2000
    value = torch.ones(8000, 2, 4)
    query = torch.zeros(8000, 2, 4)
    out = attend(query, query, value, sequences_of(lengths), dropout_p=0.25, backend=backend)
    # Four equal probabilities of 1/4, each kept with 3/4 and scaled by 4/3: multiples of 1/3.
    kept = out[:, :, 0] * 3
    torch.testing.assert_close(kept, kept.round(), atol=1e-5, rtol=0)
    torch.testing.assert_close(out, out[:, :, :1].expand_as(out))
    share = torch.bincount(kept.round().long().flatten(), minlength=5) / kept.numel()
    binomial = torch.tensor([1, 12, 54, 108, 81]) / 256
    torch.testing.assert_close(share, binomial, atol=0.015, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_is_close_to_float32(stream, backend):
    sequences = sequences_of(LENGTHS)
    exact = attend(*stream, sequences, dropout_p=0.0, backend="padded")
    low = [x.detach().bfloat16() for x in stream]
    out = attend(*low, sequences, dropout_p=0.0, backend=backend)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact.detach(), atol=0.03, rtol=0.03)


def test_padded_backend_equals_plain_attention_on_one_sequence():
    q, k, v = torch.randn(3, 7, 2, 4, generator=torch.Generator().manual_seed(1))
    whole = F.scaled_dot_product_attention(*(x.transpose(0, 1)[None] for x in (q, k, v)))
    out = attend(q, k, v, sequences_of([7]), dropout_p=0.0, backend="padded")
    torch.testing.assert_close(out, whole[0].transpose(0, 1))


def test_sequences_hold_cumulative_lengths():
    sequences = sequences_of([3, 2, 4])
    assert sequences == Sequences(sequences.cu_seqlens, (3, 2, 4))
    assert sequences.cu_seqlens.dtype == torch.int32
    assert sequences.cu_seqlens.tolist() == [0, 3, 5, 9]


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_empty_sequences_are_refused(lengths):
    with pytest.raises(ValueError, match="at least one sequence and at least one token"):
        sequences_of(lengths)


def test_default_backend_follows_the_device():
    devices = {"cpu": "blocks", "cuda": "varlen", "xpu": "padded"}
    assert {d: default_backend(torch.device(d)) for d in devices} == devices
