"""Examples of what the filter found, for people to look at: `examples.jsonl`.

One JSON object a line. Of duplicates, a fair sample (those whose numbers have the smallest hashes);
of overlap with the tasks, the documents that have the most of it.

| key        | meaning                                                                      |
|------------|------------------------------------------------------------------------------|
| reason     | exact_duplicates, near_duplicates or contaminated                            |
| document   | source, name and first 500 characters of the document                        |
| earlier    | duplicates: the same of the earliest document that it is joined with         |
| similarity | near duplicates: estimated similarity of the two                             |
| share      | contaminated: share of the document's words that stand in n-grams of tasks   |
| references | contaminated: names of the references                                        |
| words      | contaminated: the longest run of such words, at most 100                     |
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert.text.contamination import Reference, covered_words, find_matches, reference_masks
from bert.text.extracted import Source, piece_documents, read_names, source_starts
from bert.text.near_duplicates import SignatureFiles
from bert.text.ngrams import WordHashes, hash_texts
from bert.text.normalise import normal_words
from bert.text.pieces import Piece

EXACT, NEAR, CONTAMINATED = "exact_duplicates", "near_duplicates", "contaminated"

_CHARACTERS = 500
_WORDS = 100
_MIX = np.uint64(0x9E3779B97F4A7C15)

Numbers = NDArray[np.int64]


class Sample:
    """Gathers the examples of each reason while the documents are gone through."""

    def __init__(self, size: int) -> None:
        """Keeps `size` examples of each reason."""
        self._size = size
        self._found: dict[str, NDArray[np.float64]] = {}

    def offer(self, reason: str, documents: Numbers, earlier: Numbers) -> None:
        """Duplicates, and for each the document that is kept instead."""
        rank = (documents.astype(np.uint64) * _MIX) >> np.uint64(11)
        self._keep(reason, rank.astype(np.float64), documents, earlier.astype(np.float64))

    def offer_share(self, reason: str, documents: Numbers, share: NDArray[np.float32]) -> None:
        """Documents with their share of words that tasks have too; the largest come first."""
        self._keep(reason, -share.astype(np.float64), documents, share.astype(np.float64))

    def _keep(
        self, reason: str, rank: NDArray[np.float64], documents: Numbers, value: NDArray[np.float64]
    ) -> None:
        """Rows (rank, document, value); document numbers are exact in a float64."""
        rows = np.column_stack([rank, documents.astype(np.float64), value])
        rows = np.concatenate([self._found.get(reason, np.zeros((0, 3))), rows])
        order = np.lexsort([rows[:, 1], rows[:, 0]])
        self._found[reason] = rows[order[: self._size]]

    def rows(self, reason: str) -> list[tuple[int, float]]:
        """The examples of a reason: document, and the earlier one or the share."""
        rows = self._found.get(reason, np.zeros((0, 3)))
        return [(int(document), value) for _, document, value in rows.tolist()]

    def documents(self) -> set[int]:
        """Numbers of all documents that the examples show."""
        found = {document for reason in self._found for document, _ in self.rows(reason)}
        pairs = self._found.keys() - {CONTAMINATED}
        return found | {int(earlier) for reason in pairs for _, earlier in self.rows(reason)}

    @property
    def reasons(self) -> list[str]:
        """The reasons that have been offered examples."""
        return list(self._found)


def write_examples(
    path: Path,
    sample: Sample,
    documents: Mapping[int, tuple[dict[str, str], bytes]],
    signatures: SignatureFiles | None,
    reference: Reference | None,
) -> None:
    """Writes the examples; `documents` is what `find_documents` gives."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for reason in sample.reasons:
            for number, value in sample.rows(reason):
                shown, text = documents[number]
                example: dict[str, Any] = {"reason": reason, "document": shown}
                if reason == CONTAMINATED and reference is not None:
                    example |= {"share": round(value, 4)} | _overlap(text, reference)
                else:
                    example["earlier"] = documents[int(value)][0]
                if reason == NEAR and signatures is not None:
                    one, other = signatures.rows(np.array([number, int(value)]))
                    example["similarity"] = round(float((one == other).mean()), 4)
                stream.write(json.dumps(example, ensure_ascii=False) + "\n")


def find_documents(
    numbers: set[int], sources: Sequence[Source], pieces: Sequence[tuple[int, Piece]]
) -> dict[int, tuple[dict[str, str], bytes]]:
    """The documents of these numbers: what is shown of each, and its whole text.

    Args:
        numbers: Numbers, counted on through the sources.
        sources: The sources.
        pieces: Number of the first document of each piece, and the piece, ascending.
    """
    found = {}
    names = _names(numbers, sources)
    firsts = [first for first, _ in pieces]
    for number in sorted(numbers):
        first, piece = pieces[bisect_right(firsts, number) - 1]
        text = piece_documents(piece)[number - first]
        start = text.decode("utf-8").replace("\n", " ")[:_CHARACTERS]
        found[number] = ({"source": piece.name, "name": names[number], "text": start}, text)
    return found


def _names(numbers: set[int], sources: Sequence[Source]) -> dict[int, str]:
    names: dict[int, str] = {}
    for source, start in zip(sources, source_starts(sources), strict=True):
        if any(start <= number < start + source.documents for number in numbers):
            for number, name in enumerate(read_names(source), start):
                if number in numbers:
                    names[number] = name.decode("utf-8")
    return names


def _overlap(text: bytes, reference: Reference) -> dict[str, Any]:
    words = normal_words(text)
    matches = find_matches(hash_texts([words], WordHashes()), reference.folder, reference.lengths)
    masks = reference_masks(reference.folder)[matches.numbers]
    mask = int(np.bitwise_or.reduce(masks)) if len(masks) else 0
    edges = np.flatnonzero(np.diff(covered_words(matches, len(words)), prepend=False, append=False))
    start, end = max(edges.reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
    return {
        "references": [name for place, name in enumerate(reference.texts) if mask >> place & 1],
        "words": b" ".join(words[start : min(end, start + _WORDS)]).decode("utf-8"),
    }
