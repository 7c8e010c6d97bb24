"""What is trained in the benchmark: shapes of the model, and lengths of the sequences of a step."""

from typing import NamedTuple

# Width, heads and feed-forward width; Devlin et al., 2019, section 3.
SIZES = {"base": (768, 12, 3072), "large": (1024, 16, 4096)}


class Case(NamedTuple):
    """One model on batches of one kind."""

    name: str
    hidden: int
    heads: int
    intermediate: int
    layers: int
    length: int  # tokens to which a padded system fills every sequence
    predictions: int  # most predicted tokens of a sequence
    lengths: tuple[int, ...] | None  # of every step's sequences; None: those of a corpus
    sequences: int  # of a step
    optimizers: tuple[str, ...] = ("adamw", "lamb")

    @property
    def positions(self) -> int:
        """Positions that a padded system computes in a step."""
        return self.sequences * self.length


def padding_share(lengths: tuple[int, ...], length: int) -> float:
    """Share of positions that hold no token when each sequence is filled up to `length`."""
    return 1 - sum(lengths) / (len(lengths) * length)


_PREDICTIONS = {128: 20, 512: 80}  # published; 15 % of the tokens are 19 and 77
_FEW_SHORT = (*(128,) * 14, 102, 52)  # 5 % padding
_HALF = (512, 162, 332, 48, 512, 275, 105, 218)  # 47 % padding
_HALF_SMALL = (512, 220, 80)  # the same share, in less memory


def case(name: str, size: str, layers: int, lengths: tuple[int, ...], length: int) -> Case:
    """A case whose steps all have sequences of the same lengths."""
    predictions = _PREDICTIONS.get(length, max(1, length * 20 // 128))
    return Case(name, *SIZES[size], layers, length, predictions, lengths, len(lengths))


def real_case(name: str, size: str, layers: int, length: int) -> Case:
    """A case with the lengths of a corpus; as many positions a step as the made-up ones have."""
    sequences = {128: 16, 512: 8}.get(length, max(1, 4096 // length))
    return case(name, size, layers, (length,) * sequences, length)._replace(lengths=None)


CPU_CASES = [
    case("large-128", "large", 6, _FEW_SHORT, 128),
    case("large-512", "large", 6, _HALF, 512),
    case("large-128-full", "large", 6, (128,) * 16, 128),
    case("large-512-full", "large", 6, (512,) * 4, 512),
    case("base-128", "base", 12, _FEW_SHORT, 128),
    case("base-512", "base", 12, _HALF, 512),
    case("base-128-full", "base", 12, (128,) * 16, 128),
    case("base-512-full", "base", 12, (512,) * 4, 512),
    real_case("large-128-real", "large", 6, 128),
    real_case("large-512-real", "large", 6, 512),
]
FULL_CASES = [  # all layers: some 10 GB a process
    case("large24-128", "large", 24, _FEW_SHORT, 128),
    case("large24-512", "large", 24, _HALF_SMALL, 512),
]
CUDA_CASES = [  # the micro-batches of the published recipe's two phases
    case("large24-128-cuda", "large", 24, (128,) * 128, 128),
    case("large24-512-cuda", "large", 24, _HALF * 4, 512),
    real_case("large24-512-cuda-real", "large", 24, 512)._replace(sequences=32),
]


def choose_cases(names: list[str] | None, *, full: bool, cuda: bool) -> list[Case]:
    """The cases with these names, or all that suit the device.

    Raises:
        ValueError: There is no such case; the message lists those that are there.
    """
    known = {one.name: one for one in [*CPU_CASES, *FULL_CASES, *CUDA_CASES]}
    if names is None:
        return CUDA_CASES if cuda else CPU_CASES + (FULL_CASES if full else [])
    if unknown := sorted(set(names) - known.keys()):
        raise ValueError(f"there is no case {', '.join(unknown)}; choose from {', '.join(known)}.")
    return [known[name] for name in names]


def shrink(found: Case, hidden: int | None, layers: int | None) -> Case:
    """The case with another width (heads of 64) or depth: a quick trial, not a figure."""
    if hidden is not None:
        heads = max(1, hidden // 64)
        found = found._replace(hidden=hidden, heads=heads, intermediate=4 * hidden)
    return found if layers is None else found._replace(layers=layers)
