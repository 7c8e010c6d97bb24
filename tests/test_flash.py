"""What torch's flash attention on CUDA is given, shown without CUDA.

The operation itself is stood in for by the formula, computed from its own arguments: borders,
longest sequence, dropout, and in the backward pass what autograd kept. The last test wants a GPU.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bert.model import attention
from bert.model.attention import attend, sequences_of

LENGTHS = (5, 1, 9, 5, 12)
ATEN = torch.ops.aten


def by_formula(q, k, v, ends, grad=None):
    """The output; with its gradient, the three of query, key and value, by hand."""
    lengths, scale = ends.diff().tolist(), q.shape[-1] ** -0.5
    pieces = [x.float().transpose(0, 1).split(lengths, 1) for x in (q, k, v)]
    found = []
    for place, (a, b, c) in enumerate(zip(*pieces, strict=True)):
        p = (scale * a @ b.mT).softmax(-1)
        if grad is None:
            found.append([p @ c])
            continue
        g = grad.float().transpose(0, 1).split(lengths, 1)[place]
        s = p * (g @ c.mT - (g * (p @ c)).sum(-1, keepdim=True)) * scale
        found.append([s @ b, s.mT @ a, p.mT @ g])
    return [
        torch.cat(x, 1).transpose(0, 1).contiguous().to(q.dtype) for x in zip(*found, strict=True)
    ]


class Flash(TorchDispatchMode):
    """Computes what the kernel would, refuses what it would refuse, and counts host reads."""

    def __init__(self):
        super().__init__()
        self.dropout, self.reads = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is ATEN._flash_attention_forward.default:
            q, k, v, ends, ends_k, longest, longest_k, dropout, is_causal, _ = args
            assert ends is ends_k
            assert longest == longest_k == int(ends.diff().max())
            assert ends.dtype == torch.int32
            assert not is_causal
            for x in (q, k, v):
                assert x.dtype in (torch.float16, torch.bfloat16)
                assert x.dim() == 3
                assert x.is_contiguous()
            self.dropout.append(dropout)
            nothing = torch.zeros(2, dtype=torch.uint64)
            rows = torch.zeros(q.shape[1], q.shape[0])
            return *by_formula(q, k, v, ends), rows, nothing, nothing, nothing
        if function is ATEN._flash_attention_backward.default:
            grad, q, k, v, _, _, ends, _, longest, _, dropout, *_ = args
            assert longest == int(ends.diff().max())
            assert dropout == self.dropout[-1]
            return tuple(by_formula(q, k, v, ends, grad))
        self.reads += function is ATEN._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dropout_p", [0.0, 0.1])
def test_flash_attention_is_given_the_stream_as_it_is(monkeypatch, dtype, dropout_p):
    """Forward and backward equal the reference in fp32, and the host reads nothing."""
    monkeypatch.setattr(attention, "_flash_takes", lambda q: True)
    generator = torch.Generator().manual_seed(7)
    exact = [torch.randn(sum(LENGTHS), 3, 16, generator=generator) for _ in range(3)]
    exact = [x.to(dtype).float().requires_grad_() for x in exact]
    stream = [x.detach().to(dtype).requires_grad_() for x in exact]
    weight = torch.randn(exact[0].shape, generator=generator)
    sequences = sequences_of(LENGTHS)
    expected = attend(*exact, sequences, dropout_p=0.0, backend="padded")
    expected_grads = torch.autograd.grad((expected * weight).sum(), exact)

    with Flash() as flash:
        out = attend(*stream, sequences, dropout_p=dropout_p, backend="varlen")
        grads = torch.autograd.grad((out * weight.to(dtype)).sum(), stream)

    assert flash.dropout == [dropout_p]
    assert flash.reads == 0
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected.detach(), atol=0.03, rtol=0.03)
    for got, want in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got.float(), want, atol=0.06, rtol=0.06)


def test_what_flash_attention_cannot_do_goes_another_way():
    """A CPU, fp32, or heads of an odd size."""
    assert not attention._flash_takes(torch.zeros(4, 2, 64, dtype=torch.bfloat16))
    assert (
        attend(*torch.ones(3, 4, 2, 6), sequences_of([4]), dropout_p=0.0, backend="varlen")
        .eq(1)
        .all()
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [64, 12])
def test_attention_on_cuda_equals_the_reference_forward_and_backward(dtype, size):
    exact = [torch.randn(sum(LENGTHS), 3, size, device="cuda").requires_grad_() for _ in range(3)]
    stream = [x.detach().to(dtype).requires_grad_() for x in exact]
    sequences = sequences_of(LENGTHS, "cuda")
    expected = attend(*exact, sequences, dropout_p=0.0, backend="padded")
    expected_grads = torch.autograd.grad(expected.square().sum(), exact)

    out = attend(*stream, sequences, dropout_p=0.0, backend="varlen")
    grads = torch.autograd.grad(out.float().square().sum(), stream)

    close = {"atol": 1e-4, "rtol": 1e-3} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(out.float(), expected.detach(), **close)
    for got, want in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(got.float(), want, **close)
