"""What the readers of foreign weights hand on, before anybody asks whether it fits a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


class WeightsError(ValueError):
    """Files that hold no weights of BERT, or weights that do not fit the run."""


@dataclass(frozen=True)
class Found:
    """Weights as their files hold them.

    Attributes:
        layout: What the files are, for people.
        files: Those that were read.
        tensors: Weights by the names of this project, on the CPU, in any floating-point type;
            linear maps are [out, in]. A name that is not of this project is as in the files.
        origins: Name in `tensors` to the name in the files.
        skipped: Name in the files to why it is not among the tensors.
        said: Keys of the section `model` to what the files, or the code that wrote them, say.
        vocab_size: Tokens that the files speak of; None if they speak of none.
        facts: More for the receipt.
    """

    layout: str
    files: tuple[Path, ...]
    tensors: Mapping[str, Tensor]
    origins: Mapping[str, str]
    skipped: Mapping[str, str]
    said: Mapping[str, Any]
    vocab_size: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
