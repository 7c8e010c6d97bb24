"""Which variants are alive together: as many as fit into memory, each of ours beside all peers.

Only what runs in the same rounds is compared. A group is all peers and some ways of this project;
a way that is too much for that forms a pair with each peer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cases import Case
from instances import VOCABULARY
from variants import Variant


class _Need(NamedTuple):
    """Bytes of a process beside Python itself, about; seen on two cores, rather too high."""

    weight: int  # fp32 weight, gradient and two moments, and copies in bf16
    feature: int  # kept for the backward pass, of each layer, token and feature
    score: int  # and of each layer, head and pair of tokens


_PEER, _TORCH, _NATIVE = _Need(16, 60, 9), _Need(16, 60, 9), _Need(18, 35, 4)
_LOGIT = 16  # a row of the vocabulary: logits, their logarithms, the gradient
_PROCESS = 300e6


def parameters(case: Case) -> int:
    """Weights of the model, embeddings included, in round numbers."""
    layer = 4 * case.hidden**2 + 2 * case.hidden * case.intermediate
    return case.layers * layer + (VOCABULARY + 512) * case.hidden


def most_bytes(case: Case, variant: Variant, *, cuda: bool) -> float:
    """Memory of a worker in a step, an estimate."""
    need = _PEER if not variant.own else _NATIVE if variant.kernels == "native" else _TORCH
    if variant.own and cuda:
        need = need._replace(score=0)  # flash attention
    lengths = (case.length,) * case.sequences
    if not variant.padded and case.lengths is not None:
        lengths = case.lengths
    features = case.hidden * sum(lengths) * need.feature
    scores = case.heads * sum(length**2 for length in lengths) * need.score
    logits = case.sequences * case.predictions if variant.own else case.positions
    return (
        _PROCESS
        + need.weight * parameters(case)
        + case.layers * (features + scores)
        + logits * VOCABULARY * _LOGIT
    )


def idle_bytes(case: Case, variant: Variant, *, cuda: bool) -> float:
    """What a worker keeps while others run: only glibc gives large blocks back to the system."""
    if not cuda and not variant.own and not variant.tcmalloc:
        return _PROCESS + _PEER.weight * parameters(case)
    return most_bytes(case, variant, cuda=cuda)


def needed_bytes(case: Case, group: Sequence[Variant], *, cuda: bool) -> float:
    """Most memory of all workers of a group, one of which runs."""
    idle = [idle_bytes(case, variant, cuda=cuda) for variant in group]
    most = [most_bytes(case, variant, cuda=cuda) for variant in group]
    return sum(idle) + max(high - low for high, low in zip(most, idle, strict=True))


def make_groups(
    case: Case, variants: Sequence[Variant], free: float, *, cuda: bool = False
) -> list[list[Variant]]:
    """Groups that fit into `free` bytes; each way of this project meets every peer in one.

    A way of this project that does not fit beside some peer is in none.

    Raises:
        ValueError: None fits.
    """
    peers = [variant for variant in variants if not variant.own]
    own = [variant for variant in variants if variant.own]

    def fits(group: Sequence[Variant]) -> bool:
        return needed_bytes(case, group, cuda=cuda) <= free

    if not own or not peers:
        groups = [group for group in _chunks(variants, [], fits) if fits(group)]
    else:
        beside_all = [one for one in own if fits([*peers, one])]
        paired = [one for one in own if all(fits([peer, one]) for peer in peers)]
        groups = [[*peers, *some] for some in _chunks(beside_all, peers, fits)]
        groups += [[peer, one] for one in paired if one not in beside_all for peer in peers]
    if not groups:
        needed = needed_bytes(case, [*peers[:1], *own[:1]], cuda=cuda)
        raise ValueError(
            f"case {case.name} needs some {needed / 1e9:.0f} GB for two variants, and "
            f"{free / 1e9:.0f} GB are free; leave it out (--cases), or free memory."
        )
    return groups


def _chunks(
    variants: Sequence[Variant],
    beside: Sequence[Variant],
    fits: Callable[[Sequence[Variant]], bool],
) -> list[list[Variant]]:
    """Cuts variants into runs, as long as each fits together with those beside."""
    found: list[list[Variant]] = []
    for variant in variants:
        if found and fits([*beside, *found[-1], variant]):
            found[-1].append(variant)
        else:
            found.append([variant])
    return found
