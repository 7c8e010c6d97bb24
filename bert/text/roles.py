"""What each document of the corpus is for: training, held out, or left out, and why."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from bert.config import Section, knob
from bert.text.dealing import select_exactly
from bert.text.extracted import Source, read_names, source_starts, total_documents
from bert.text.filter import filter_file
from bert.text.mapped import map_zeros
from bert.text.name_lists import NameList

TRAIN, HELD_OUT, FILTERED, UNLISTED, LEAKED = range(5)
LEFT_OUT = {FILTERED: "filtered", UNLISTED: "unlisted", LEAKED: "leaked"}

Roles = NDArray[np.uint8]

_BLOCK = 1 << 16
# Next-sentence prediction takes its random second segment from another document of the same file.
FEWEST_DOCUMENTS = 2


class SplitError(ValueError):
    """A corpus that is too small for the split, or a split that contradicts itself."""


class HeldOutConfig(Section):
    """Which documents are held out: exactly one of the three is given, the others are null."""

    fraction: float | None = knob(
        "Share of the documents that are held out, drawn at random; 0 = none.", ge=0, lt=1
    )
    documents: int | None = knob("Number of documents that are held out, drawn at random.", ge=2)
    list: str | None = knob(
        "Name of the item in section `fetch` that names the held-out documents, one a line.",
        min_length=1,
    )

    @model_validator(mode="after")
    def _one_way(self) -> "HeldOutConfig":
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"it gives {' and '.join(given) or 'nothing'}; expected exactly one of fraction, "
                "documents and list. Set the others to null."
            )
        return self


def read_roles(
    path: Path,
    sources: Sequence[Source],
    filtered: Path | None,
    *,
    held_out_list: NameList | None,
    train_list: NameList | None,
) -> Roles:
    """Roles as the filter and the lists tell them; what is drawn at random is drawn later.

    Args:
        path: A new file for the roles: one byte a document, mapped into memory.
        sources: The sources.
        filtered: Folder of the stage `filter`; None if there is none.
        held_out_list: Names of held-out documents.
        train_list: Names of the training documents; without it all others are.

    Returns:
        uint8 [documents], counted on through the sources.

    Raises:
        SplitError: There is no document, or a filter file has not a byte a document.
    """
    if not total_documents(sources):
        raise SplitError("The corpus is empty: all sources together have 0 documents. Check them.")
    roles = map_zeros(path, np.uint8, total_documents(sources))
    for source, part in of_sources(sources, roles):
        if held_out_list is not None or train_list is not None:
            _apply_lists(part, source, held_out_list, train_list)
        if filtered is not None:
            part[_dropped(source, filtered)] = FILTERED
    return roles


def of_sources(sources: Sequence[Source], roles: Roles) -> Iterator[tuple[Source, Roles]]:
    """Each source with the roles of its documents, a view."""
    for source, start in zip(sources, source_starts(sources), strict=True):
        yield source, roles[start : start + source.documents]


def _apply_lists(
    roles: Roles, source: Source, held_out_list: NameList | None, train_list: NameList | None
) -> None:
    names = read_names(source)
    start = 0
    while block := list(islice(names, _BLOCK)):
        part = roles[start : start + len(block)]
        if train_list is not None:
            part[~train_list.holds(source.name, block)] = UNLISTED
        if held_out_list is not None:
            part[held_out_list.holds(source.name, block)] = HELD_OUT
        start += len(block)


def _dropped(source: Source, filtered: Path) -> NDArray[np.bool_]:
    file = filter_file(filtered, source.name)
    reasons = np.fromfile(file, np.uint8)
    if len(reasons) != source.documents:
        raise SplitError(
            f"{file} has {len(reasons)} bytes; expected one for each of {source.documents} "
            "documents. Run the rule `filter` again."
        )
    return np.asarray(reasons != 0)


def draw_held_out(roles: Roles, config: HeldOutConfig, rng: np.random.Generator) -> None:
    """Marks the held-out documents that are drawn at random, among those for training.

    Raises:
        SplitError: There are too few documents.
    """
    available = int(np.count_nonzero(roles == TRAIN))
    wanted = held_out_documents(available, config)
    chosen = select_exactly(wanted, available, rng)
    for start in range(0, len(roles), _BLOCK):
        part = roles[start : start + _BLOCK]
        places = np.flatnonzero(part == TRAIN)
        taken = np.fromiter(islice(chosen, len(places)), np.bool_, count=len(places))
        part[places[taken]] = HELD_OUT


def held_out_documents(available: int, config: HeldOutConfig) -> int:
    """Number of documents to draw; refuses what is too little or too much.

    Raises:
        SplitError: States how many documents there are and what the configuration could be.
    """
    if config.documents is not None:
        if config.documents >= available:
            raise SplitError(
                f"split.held_out.documents is {config.documents}, but there are {available} "
                "documents to choose from, and some must stay for training. Hold out fewer."
            )
        return config.documents
    wanted = config.fraction or 0.0
    held_out = max(1, round(available * wanted)) if wanted > 0 else 0
    if 0 < held_out < FEWEST_DOCUMENTS:
        raise SplitError(
            f"split.held_out.fraction is {wanted}, which is {held_out} of {available} documents; "
            f"next-sentence prediction needs {FEWEST_DOCUMENTS}. Set it to at least "
            f"{FEWEST_DOCUMENTS / max(available, 1):.2g}, or to 0 for no held-out text, or add "
            "documents."
        )
    return held_out
