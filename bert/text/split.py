"""Stage `split`: the documents of all sources to text parts and held-out text.

No document is in both. Held out is what a list names, or an exact number of documents drawn at
random; before the others are dealt out, those that have the same words as a held-out one are left
out, and what else they share is counted. The weight of a source says how many times each of its
documents is dealt; held-out text is not weighted.

Memory is bounded: a byte a document (mapped from a file), hashes of the held-out text, and
64 MiB of text; one file is open at a time.
"""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import model_validator

from bert.config import Section, knob
from bert.log import Progress
from bert.manifest import listed_files
from bert.text.dealing import BUFFER_BYTES, Dealer, PartFiles, part_name, select_exactly
from bert.text.extracted import (
    Source,
    read_names,
    read_source,
)
from bert.text.leaks import LeaksConfig, gather_held, remove_leaks
from bert.text.name_lists import NameList
from bert.text.roles import (
    FEWEST_DOCUMENTS,
    HELD_OUT,
    LEFT_OUT,
    TRAIN,
    HeldOutConfig,
    Roles,
    SplitError,
    draw_held_out,
    of_sources,
    read_roles,
)

logger = logging.getLogger(__name__)

HELD_OUT_TEXT = "held_out.txt"
HELD_OUT_NAMES = "held_out_names.txt"

_HELD_OUT_STREAM, _PARTS_STREAM, _WEIGHTS_STREAM = 0, 1, 2


class SplitConfig(Section):
    """How the corpus is divided."""

    seed: int = knob("Seed of the division.", ge=0)
    parts: int = knob("Number of text parts; MLPerf's results4 has 500.", ge=1, le=99_999)
    held_out: HeldOutConfig = knob("Which documents are kept out of training.")
    train_list: str | None = knob(
        "Name of the item in section `fetch` that names the training documents, one a line; those "
        "in no list are left out and counted. null = all that are not held out.",
        min_length=1,
    )
    max_missing_share: float = knob(
        "Largest share of a list's names, 0 to 1, that may be names of no document.", ge=0, le=1
    )
    weights: dict[str, float | None] = knob(
        "Times that each training document of a source is dealt, by source: 2.0 twice, 0.5 every "
        "second one at random; a source not named, or null, once."
    )
    leaks: LeaksConfig | None = knob("Search for held-out text in the training text; null = none.")

    @model_validator(mode="after")
    def _copies_fit_the_parts(self) -> "SplitConfig":
        for source, weight in self.weights.items():
            if weight is not None and not 0 < weight <= self.parts:
                raise ValueError(
                    f"weights.{source} is {weight:g}; expected more than 0 and at most the "
                    f"{self.parts} parts, because copies of a document go to different parts."
                )
        return self


class Lists(NamedTuple):
    """The name lists of the configuration, read."""

    held_out: NameList | None
    train: NameList | None


class Division(NamedTuple):
    """What the stage counted.

    Attributes:
        counts: documents = held_out_documents + training_documents + all skipped_...;
            dealt_documents counts every copy.
        sources: The same counts of documents and sentences for each source.
    """

    counts: dict[str, int]
    sources: dict[str, dict[str, int]]


NO_LISTS = Lists(None, None)


def split(
    sources: Sequence[Source],
    config: SplitConfig,
    folder: Path,
    work: Path,
    *,
    workers: int,
    filtered: Path | None = None,
    lists: Lists = NO_LISTS,
    buffer_bytes: int = BUFFER_BYTES,
) -> Division:
    """Writes `parts/part-*`, `held_out.txt` and `held_out_names.txt` into `folder`.

    The order of the sources counts: it is the order in which their documents are dealt out. A held
    out name is written as `source<TAB>name`, so that the file is a list for another run.

    Args:
        sources: The extracted sources.
        config: The section.
        folder: Folder to write.
        work: An empty folder for temporary files: a byte a document, hashes of the held-out text.
        workers: Processes that look for leaks; they change no byte.
        filtered: Folder of the stage `filter`; None if there is none.
        lists: The lists that `config` names.
        buffer_bytes: Memory for the text of the parts.

    Raises:
        SplitError: Too few documents, or a leak where leaks are refused.
        bert.text.name_lists.NameListError: A list that does not fit the corpus or the other list.
        bert.text.extracted.ExtractedError: A source is not what its manifest states.
    """
    roles = read_roles(
        work / "roles", sources, filtered, held_out_list=lists.held_out, train_list=lists.train
    )
    counts = _list_counts(lists, config)
    if lists.held_out is None:
        draw_held_out(
            roles, config.held_out, np.random.default_rng([config.seed, _HELD_OUT_STREAM])
        )
    _check_parts(roles, sources, config)
    _write_held_out(sources, roles, folder)
    if config.leaks is not None:
        held = gather_held(folder / HELD_OUT_TEXT, work, config.leaks)
        counts |= remove_leaks(sources, roles, held, config.leaks, workers=workers)
    division = _deal_out(sources, roles, config, folder, buffer_bytes)
    division.counts.update(counts)
    logger.info("%s", ", ".join(f"{name} {value}" for name, value in division.counts.items()))
    return division


def _list_counts(lists: Lists, config: SplitConfig) -> dict[str, int]:
    """Names in the lists and names of no document; refuses lists that do not fit."""
    counts: dict[str, int] = {}
    if lists.held_out is not None and lists.train is not None:
        lists.held_out.check_apart(lists.train)
    for kind, names in (("held_out", lists.held_out), ("train", lists.train)):
        if names is not None:
            names.check_missing(config.max_missing_share)
            counts |= {f"{kind}_list_names": names.names}
            counts |= {f"{kind}_list_missing": names.missing()}
    return counts


def _copies(source: Source, roles: Roles, config: SplitConfig) -> tuple[int, int]:
    """Copies that every training document of a source gets, and how many get one more."""
    weight = config.weights.get(source.name)
    documents = int(np.count_nonzero(roles == TRAIN))
    whole = 1 if weight is None else math.floor(weight)
    return whole, 0 if weight is None else round((weight - whole) * documents)


def _check_parts(roles: Roles, sources: Sequence[Source], config: SplitConfig) -> None:
    """Refuses a corpus that is too small for its parts, or held-out text that is too small.

    Raises:
        SplitError: States how many documents there are and what the configuration could be.
    """
    held_out = int(np.count_nonzero(roles == HELD_OUT))
    if 0 < held_out < FEWEST_DOCUMENTS or (held_out == 0 and config.held_out.list is not None):
        raise SplitError(
            f"split.held_out names {held_out} of {len(roles)} documents (those that the filter "
            f"dropped do not count); next-sentence prediction needs {FEWEST_DOCUMENTS}."
        )
    dealt = 0
    for source, part in of_sources(sources, roles):
        whole, more = _copies(source, part, config)
        dealt += whole * int(np.count_nonzero(part == TRAIN)) + more
    most_parts = dealt // FEWEST_DOCUMENTS
    if config.parts > most_parts:
        remedy = f"Set split.parts to at most {most_parts}" if most_parts else "Hold out less"
        raise SplitError(
            f"split.parts is {config.parts}, but of {len(roles)} documents {held_out} are held out "
            f"and {dealt} are dealt to the parts, and each part needs at least {FEWEST_DOCUMENTS} "
            "because next-sentence prediction draws from another document of the part. "
            f"{remedy}, or add documents."
        )


def _write_held_out(sources: Sequence[Source], roles: Roles, folder: Path) -> None:
    """Writes the held-out documents and their names, in the order of the documents."""
    text = PartFiles([folder / HELD_OUT_TEXT])
    with (folder / HELD_OUT_NAMES).open("wb") as names:
        for source, part in of_sources(sources, roles):
            if not (part == HELD_OUT).any():
                continue
            documents = zip(part, read_names(source), read_source(source), strict=True)
            for role, name, document in documents:
                if role == HELD_OUT:
                    text.write(0, document)
                    names.write(source.name.encode("utf-8") + b"\t" + name + b"\n")
    text.flush()


def _deal_out(
    sources: Sequence[Source], roles: Roles, config: SplitConfig, folder: Path, buffer_bytes: int
) -> Division:
    """Writes the parts."""
    (folder / "parts").mkdir()
    names = [part_name(part, config.parts) for part in range(config.parts)]
    files = PartFiles([folder / "parts" / name for name in names], buffer_bytes)
    dealer = Dealer(config.parts, np.random.default_rng([config.seed, _PARTS_STREAM]))
    progress = Progress("split", len(roles))
    every: Counter[str] = Counter()
    by_source: dict[str, dict[str, int]] = {}
    done = 0
    for number, (source, part) in enumerate(of_sources(sources, roles)):
        rng = np.random.default_rng([config.seed, _WEIGHTS_STREAM, number])
        counts = _deal_source(source, part, config, rng, dealer, files)
        every.update(counts)
        by_source[source.name] = counts
        done += source.documents
        progress.update(done, lambda: "documents", log=False)
    progress.close()
    files.flush()
    sizes = {
        "parts": config.parts,
        "fewest_documents_in_a_part": min(files.documents),
        "most_documents_in_a_part": max(files.documents),
    }
    if sizes["fewest_documents_in_a_part"] < FEWEST_DOCUMENTS:
        raise SplitError(
            f"A part got {min(files.documents)} documents, because documents that repeat held-out "
            f"ones were left out; each needs {FEWEST_DOCUMENTS}. Set split.parts lower."
        )
    return Division(dict(every) | sizes, by_source)


def _deal_source(
    source: Source,
    roles: Roles,
    config: SplitConfig,
    rng: np.random.Generator,
    dealer: Dealer,
    files: PartFiles,
) -> dict[str, int]:
    """Deals the training documents of a source; returns its counts."""
    training = int(np.count_nonzero(roles == TRAIN))
    whole, more = _copies(source, roles, config)
    extra = select_exactly(more, training, rng)
    counts = Counter(
        dict.fromkeys(
            ["documents", "sentences", "held_out_documents", "held_out_sentences"]
            + ["training_documents", "dealt_documents", "dealt_sentences"]
            + [f"skipped_{word}" for word in (*LEFT_OUT.values(), "by_weight")],
            0,
        )
    )
    for role, document in zip(roles.tolist(), read_source(source), strict=True):
        sentences = document.count(b"\n") + 1
        counts["documents"] += 1
        counts["sentences"] += sentences
        if role in LEFT_OUT:
            counts[f"skipped_{LEFT_OUT[role]}"] += 1
        elif role == HELD_OUT:
            counts["held_out_documents"] += 1
            counts["held_out_sentences"] += sentences
        else:
            copies = whole + next(extra)
            counts["training_documents" if copies else "skipped_by_weight"] += 1
            counts["dealt_documents"] += copies
            counts["dealt_sentences"] += copies * sentences
            for part in dealer.take(copies):
                files.write(part, document)
    return dict(counts)


def training_parts(manifest: Path) -> list[tuple[Path, str]]:
    """Text parts of a split with their sha256, in order; never the held-out text.

    Raises:
        FileNotFoundError: The manifest is missing.
        ManifestError: A part is missing or of another size.
    """
    listed = listed_files(manifest, stage="split")
    return sorted((path, sha256) for path, sha256 in listed if path.parent.name == "parts")
