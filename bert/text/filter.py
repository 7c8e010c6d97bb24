"""Stage `filter`: which documents of the sources are left out, and why.

One pass over the text, in a pool of processes, gives each document its digest, its signature and
its overlap with the tasks; all of that goes to disk. What follows works on those files. A document
that could be left out for several reasons is counted under the first of `REASONS`.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.text.contamination import ContaminationConfig, build_reference
from bert.text.extracted import Source, source_starts, total_documents
from bert.text.filter_examples import (
    CONTAMINATED,
    EXACT,
    NEAR,
    Sample,
    find_documents,
    write_examples,
)
from bert.text.filter_scan import Scan
from bert.text.grouping import BUCKET_BYTES, equal_keys
from bert.text.mapped import map_zeros
from bert.text.near_duplicates import Joined, NearDuplicatesConfig, join_near
from bert.text.normalise import DIGEST_BYTES

logger = logging.getLogger(__name__)

EXAMPLES = "examples.jsonl"
KEEP = 0
# The byte of a document that is left out, less one, is the place of its reason here.
REASONS = (EXACT, NEAR, CONTAMINATED)
_BLOCK = 1 << 20


class FilterError(ValueError):
    """A filter that leaves nothing."""


class FilterConfig(Section):
    """Which documents are left out."""

    exact_duplicates: bool = knob(
        "Whether a document is left out whose words, without case and punctuation, are those of an "
        "earlier one."
    )
    near_duplicates: NearDuplicatesConfig | None = knob("Near duplicates; null = not looked for.")
    contamination: ContaminationConfig | None = knob(
        "Overlap with the tasks' texts; null = not looked for."
    )
    examples: int = knob("Examples of each reason that are written for people to look at.", ge=0)


class Filtered(NamedTuple):
    """What the stage found.

    Attributes:
        counts: documents = kept + all skipped_...; documents_with_task_text among all of them.
        sources: The same counts of documents for each source.
        contamination: Reference to its counts; empty if overlap was not looked for.
    """

    counts: dict[str, int]
    sources: dict[str, dict[str, int]]
    contamination: dict[str, dict[str, int]]


def filter_sources(
    sources: Sequence[Source],
    config: FilterConfig,
    texts: Mapping[str, Sequence[str]],
    folder: Path,
    work: Path,
    *,
    workers: int,
    bucket_bytes: int = BUCKET_BYTES,
) -> Filtered:
    """Writes `<source>.u8` for each source, and `examples.jsonl`, into `folder`.

    Args:
        sources: In the order that decides which of several duplicates is the earliest.
        config: What is left out.
        texts: Texts of each reference of `config.contamination`.
        folder: Folder to write.
        work: An empty folder for temporary files: 16 bytes a document, with near duplicates
            also 4 + (8 + 2 * rows) * bands, with contamination also 4.
        workers: Processes; they change no byte.
        bucket_bytes: Memory for sorting keys.

    Raises:
        FilterError: No document would be kept.
        bert.text.extracted.ExtractedError: A source has not the documents its manifest states.
    """
    reference = None
    if config.contamination is not None:
        reference = build_reference(work, texts, config.contamination)
    total = total_documents(sources)
    scan = Scan(config.near_duplicates, reference, work)
    scan.run(sources, workers=workers)
    reasons = map_zeros(work / "reasons", np.uint8, total)
    sample = Sample(config.examples)
    if config.exact_duplicates:
        _mark_exact(scan.digests, reasons, sample, bucket_bytes)
    counts: dict[str, int] = {}
    if config.near_duplicates is not None and scan.signatures is not None:
        joined = Joined(work / "joined", total)
        counts = join_near(
            scan.signatures, joined, reasons, config.near_duplicates, bucket_bytes=bucket_bytes
        )
        _mark_near(joined, reasons, sample)
    if config.contamination is not None:
        touched = _mark_contaminated(scan.shares, reasons, sample, config.contamination)
        counts |= {"documents_with_task_text": touched}
    if not np.count_nonzero(reasons == KEEP):
        raise FilterError(
            f"The filter leaves none of {total} documents; expected at least one. Check the "
            "thresholds of the section `filter`."
        )
    by_source = _write(sources, reasons, folder)
    totals = Counter[str]()
    for numbers in by_source.values():
        totals.update(numbers)
    result = dict(totals) | counts
    shown = find_documents(sample.documents(), sources, scan.pieces)
    write_examples(folder / EXAMPLES, sample, shown, scan.signatures, reference)
    logger.info("%s", ", ".join(f"{name} {value}" for name, value in result.items()))
    return Filtered(result, by_source, scan.contamination())


def _byte(reason: str) -> int:
    return 1 + REASONS.index(reason)


def _mark_exact(
    digests: Path, reasons: NDArray[np.uint8], sample: Sample, bucket_bytes: int
) -> None:
    for documents, repeats in equal_keys(
        digests, key_bytes=DIGEST_BYTES, bucket_bytes=bucket_bytes
    ):
        reasons[documents[repeats]] = _byte(EXACT)
        heads = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(repeats))))
        sample.offer(EXACT, documents[repeats], documents[heads[repeats]])


def _mark_near(joined: Joined, reasons: NDArray[np.uint8], sample: Sample) -> None:
    for start in range(0, len(reasons), _BLOCK):
        documents = np.arange(start, min(start + _BLOCK, len(reasons)))
        roots = documents
        while True:  # ends at the roots, which are their own parents
            parents = joined.parents[roots].astype(np.int64)
            if (parents == roots).all():
                break
            roots = parents
        near = (roots != documents) & (reasons[documents] == KEEP)
        reasons[documents[near]] = _byte(NEAR)
        sample.offer(NEAR, documents[near], roots[near])


def _mark_contaminated(
    shares: Path, reasons: NDArray[np.uint8], sample: Sample, config: ContaminationConfig
) -> int:
    """Marks what reaches the share; returns the number of documents with any task text."""
    touched = start = 0
    with shares.open("rb") as stream:
        while data := stream.read(4 * _BLOCK):
            share = np.frombuffer(data, np.float32)
            documents = np.arange(start, start + len(share))
            touched += int(np.count_nonzero(share))
            sample.offer_share(CONTAMINATED, documents[share > 0], share[share > 0])
            if config.drop_share is not None:
                found = (share >= np.float32(config.drop_share)) & (reasons[documents] == KEEP)
                reasons[documents[found]] = _byte(CONTAMINATED)
            start += len(share)
    return touched


def _write(
    sources: Sequence[Source], reasons: NDArray[np.uint8], folder: Path
) -> dict[str, dict[str, int]]:
    """Writes the bytes of each source; returns its counts."""
    counts = {}
    for source, start in zip(sources, source_starts(sources), strict=True):
        numbers = np.zeros(1 + len(REASONS), np.int64)
        with filter_file(folder, source.name).open("wb") as stream:
            for place in range(start, start + source.documents, _BLOCK):
                part = reasons[place : min(place + _BLOCK, start + source.documents)]
                stream.write(part.tobytes())
                numbers += np.bincount(part, minlength=len(numbers))
        left_out = {f"skipped_{reason}": int(numbers[_byte(reason)]) for reason in REASONS}
        kept = {"documents": source.documents, "kept": int(numbers[KEEP])}
        counts[source.name] = kept | left_out
    return counts


def filter_file(folder: Path, source: str) -> Path:
    """The bytes of a source: uint8 a document, 0 = keep, else a reason: see `REASONS`."""
    return folder / f"{source}.u8"
