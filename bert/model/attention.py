"""Attention over a token stream: the one place that knows where sequences begin and end.

A micro-batch is a stream of T tokens, sequence after sequence, without padding. `attend` computes
softmax(Q K^T / sqrt(K)) V inside each sequence, with one of three backends that agree:

| backend | where | how |
| --- | --- | --- |
| blocks | CPU default | one dense block per sequence: matmul, softmax, dropout, matmul |
| padded | anywhere, the reference | scaled_dot_product_attention on a padded, masked batch |
| varlen | CUDA default | variable-length flash attention, no padding anywhere |

Source of the algorithm: Vaswani et al., 2017, section 3.2.1.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bert.model.dropout import draw_seed, factors, levels, nth_seed

Backend = Literal["blocks", "padded", "varlen"]


class Sequences(NamedTuple):
    """Borders of the sequences in a token stream.

    Attributes:
        cu_seqlens: Cumulative lengths with a leading 0, int32 [B + 1], on the model's device.
        lengths: The B lengths in tokens, on the host, so that no backend waits for the device.
    """

    cu_seqlens: Tensor
    lengths: tuple[int, ...]


def sequences_of(lengths: Sequence[int], device: torch.device | str = "cpu") -> Sequences:
    """Returns the borders of sequences that lie end to end.

    Args:
        lengths: Length of each sequence in tokens, in the order of the stream.
        device: Device of `cu_seqlens`.

    Raises:
        ValueError: There is no sequence, or one is empty.
    """
    if not lengths or min(lengths) < 1:
        raise ValueError(
            f"Sequence lengths are {list(lengths)[:8]}; expected at least one sequence and at "
            "least one token in each."
        )
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return Sequences(ends.to(device=device, dtype=torch.int32), tuple(lengths))


def default_backend(device: torch.device) -> Backend:
    """The fastest backend that runs on `device`."""
    if device.type == "cuda":
        return "varlen"
    return "blocks" if device.type == "cpu" else "padded"


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    *,
    dropout_p: float,
    backend: Backend,
) -> Tensor:
    """Attention inside each sequence of a stream.

    Args:
        query: [T, H, K], any floating dtype.
        key: Like `query`.
        value: Like `query`.
        sequences: Borders; the lengths add up to T.
        dropout_p: Probability of dropping an attention probability; 0 outside training.
        backend: Who computes it; see the module's table.

    Returns:
        [T, H, K], dtype of `query`.
    """
    return _BACKENDS[backend](query, key, value, sequences, dropout_p)


def _blocks(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, dropout_p: float) -> Tensor:
    lengths = list(sequences.lengths)
    # [H, T, K] once, so that every block below is a view that matmul takes as it is.
    qs, ks, vs = (torch.split(x.transpose(0, 1).contiguous(), lengths, dim=1) for x in (q, k, v))
    seed = draw_seed() if levels(dropout_p) else None
    outputs = [
        _one_block(*block, dropout_p, None if seed is None else nth_seed(seed, place))
        for place, block in enumerate(zip(qs, ks, vs, strict=True))
    ]
    return torch.cat(outputs, dim=1).transpose(0, 1)


def _one_block(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, seed: Tensor | None) -> Tensor:
    scores = torch.bmm(q * (1.0 / math.sqrt(q.shape[-1])), k.transpose(1, 2))
    probabilities = torch.softmax(scores, dim=-1)
    if seed is not None:
        shape = tuple(probabilities.shape)
        probabilities = probabilities * factors(shape, dropout_p, seed, probabilities.dtype)
    return torch.bmm(probabilities, v)


def _padded(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, dropout_p: float) -> Tensor:
    batch, longest = len(sequences.lengths), max(sequences.lengths)
    lengths = sequences.cu_seqlens.diff()
    real = torch.arange(longest, device=q.device) < lengths[:, None]
    slots = _slots(sequences, longest)
    shape = (batch, longest, *q.shape[1:])
    q, k, v = (
        x.new_zeros((batch * longest, *x.shape[1:])).index_copy(0, slots, x).view(shape)
        for x in (q, k, v)
    )
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=real[:, None, None, :],
        dropout_p=dropout_p,
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, slots)


def _slots(sequences: Sequences, longest: int) -> Tensor:
    """Row of each token in the padded batch, int64 [T], without waiting for the device."""
    starts, lengths = sequences.cu_seqlens[:-1].long(), sequences.cu_seqlens.diff().long()
    total = sum(sequences.lengths)
    gaps = torch.arange(len(lengths), device=starts.device) * longest - starts
    moved = torch.repeat_interleave(gaps, lengths, output_size=total)
    return torch.arange(total, device=starts.device) + moved


def _varlen(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, dropout_p: float) -> Tensor:
    compute = _flash if _flash_takes(q) else _nested
    return compute(q, k, v, sequences, dropout_p)


def _flash_takes(q: Tensor) -> bool:
    """Half precision on NVIDIA's GPUs from Ampere on; up to 128 a head with no exception."""
    return (
        q.is_cuda
        and q.dtype in (torch.float16, torch.bfloat16)
        and q.shape[-1] % 8 == 0
        and q.shape[-1] <= 128
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
        and torch.backends.cuda.is_flash_attention_available()
    )


def _flash(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, dropout_p: float) -> Tensor:
    """The operation under torch's `varlen_attn`, which has no dropout, and its jagged attention.

    Called as it is, since jagged tensors take the host longer for a layer (some milliseconds in
    Python, forward and backward) than the device computes at it.
    """
    ends, longest = sequences.cu_seqlens, max(sequences.lengths)
    out: Tensor = torch.ops.aten._flash_attention_forward(
        q, k, v, ends, ends, longest, longest, dropout_p, False, False
    )[0]
    return out


def _nested(q: Tensor, k: Tensor, v: Tensor, sequences: Sequences, dropout_p: float) -> Tensor:
    """Jagged tensors: memory-efficient kernels with dropout on CUDA, any precision; else math."""
    shortest, longest = min(sequences.lengths), max(sequences.lengths)
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            x.contiguous(), sequences.cu_seqlens, min_seqlen=shortest, max_seqlen=longest
        ).transpose(1, 2)
        for x in (q, k, v)
    )
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p)
    values: Tensor = out.transpose(1, 2).values()
    return values


_BACKENDS: dict[Backend, Callable[[Tensor, Tensor, Tensor, Sequences, float], Tensor]] = {
    "blocks": _blocks,
    "padded": _padded,
    "varlen": _varlen,
}
