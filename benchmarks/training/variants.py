"""Who trains in the benchmark: peers and ways of this project, by name."""

from typing import NamedTuple


class Variant(NamedTuple):
    """One way to take a training step; a worker process each."""

    name: str
    label: str
    own: bool  # this project's step, else transformers'
    attention: str = ""  # of transformers
    tcmalloc: bool = False
    kernels: str = "torch"  # runtime.kernels
    padded: bool = False
    optimizer: str = "adamw"
    execution: str = "eager"  # runtime.execution


PEERS = [
    Variant("sdpa", "transformers, sdpa (its default)", own=False, attention="sdpa", padded=True),
    Variant("eager", "transformers, eager", own=False, attention="eager", padded=True),
    Variant(
        "eager-tc", "transformers, eager, tcmalloc",
        own=False, attention="eager", tcmalloc=True, padded=True,
    ),
]  # fmt: skip
OWN = [
    Variant("native", "native, unpadded", own=True, kernels="native"),
    Variant("native-lamb", "native, unpadded, LAMB", own=True, kernels="native", optimizer="lamb"),
    Variant("native-padded", "native, padded", own=True, kernels="native", padded=True),
    Variant("torch", "torch, unpadded", own=True),
    Variant("torch-padded", "torch, padded", own=True, padded=True),
]
CUDA_OWN = [
    Variant("torch", "unpadded", own=True),
    Variant("torch-lamb", "unpadded, LAMB", own=True, optimizer="lamb"),
    Variant("graph", "unpadded, torch.compile", own=True, execution="graph"),
    Variant(
        "graph-lamb", "unpadded, torch.compile, LAMB",
        own=True, execution="graph", optimizer="lamb",
    ),
    Variant("torch-padded", "padded", own=True, padded=True),
]  # fmt: skip


def choose_variants(names: list[str] | None, *, cuda: bool, tcmalloc: bool) -> list[Variant]:
    """The variants with these names, or all that make sense on the device; peers first.

    Args:
        names: None = all.
        cuda: Whether tensors live on a GPU, where neither native kernels nor tcmalloc matter.
        tcmalloc: Whether the library is installed.

    Raises:
        ValueError: There is no such variant here; the message lists those that are there.
    """
    peers = [peer for peer in PEERS if not peer.tcmalloc or (tcmalloc and not cuda)]
    known = {one.name: one for one in [*peers, *(CUDA_OWN if cuda else OWN)]}
    if names is None:
        return list(known.values())
    if unknown := sorted(set(names) - known.keys()):
        why = "" if tcmalloc else "; eager-tc needs libtcmalloc_minimal (see --tcmalloc)"
        raise ValueError(
            f"there is no variant {', '.join(unknown)} here; choose from {', '.join(known)}{why}."
        )
    return [variant for name, variant in known.items() if name in names]
