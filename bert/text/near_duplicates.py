"""Near duplicates: MinHash signatures, banded LSH, candidates verified, connected components.

Broder 1997 (MinHash: the share of equal values estimates the Jaccard similarity of two sets);
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3 (banding). A document's set is
that of its word n-grams. Two documents are candidates if all values of some band are equal, which
has probability 1 - (1 - s^rows)^bands at similarity s. Candidates whose estimated similarity
reaches the threshold are joined; of the documents that are joined, directly or through others, the
earliest is kept.

Everything that has a value a document lies on disk: 2 bytes a signature value (their lower halves,
which agree by chance once in 65,536), 8 bytes a band, 4 bytes for the joining.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from bert.config import Section, knob
from bert.text.grouping import BUCKET_BYTES, equal_keys
from bert.text.mapped import map_zeros
from bert.text.ngrams import Hashes, Texts, ngram_hashes

Signatures = NDArray[np.uint16]

_VALUE_BYTES = 2
# A group of candidates is compared in blocks: n different documents take n^2 / 2 comparisons.
_BLOCK = 2048
_FILL = 1 << 20


class NearDuplicatesConfig(Section):
    """When two documents are near duplicates."""

    seed: int = knob("Seed of the MinHash permutations.", ge=0, lt=1 << 32)
    threshold: float = knob(
        "Estimated Jaccard similarity of two documents' word n-grams, 0 to 1, from which they are "
        "near duplicates (Lee et al. 2022: 0.8).",
        gt=0,
        le=1,
    )
    ngram: int = knob("Words of an n-gram (Lee et al. 2022: 5).", ge=1)
    bands: int = knob(
        "Bands of a signature; documents that agree in a whole band are compared.", ge=1, le=256
    )
    rows: int = knob(
        "Values of a band; two documents of similarity s are compared with probability "
        "1 - (1 - s^rows)^bands.",
        ge=1,
        le=64,
    )


class Signed(NamedTuple):
    """Signatures of some documents.

    Attributes:
        signatures: uint16 [documents, bands * rows].
        band_keys: uint64 [bands, documents].
    """

    signatures: Signatures
    band_keys: Hashes


def sign(texts: Texts, config: NearDuplicatesConfig) -> Signed:
    """MinHash signatures of texts.

    A text shorter than an n-gram counts as one n-gram.
    """
    shingles, offsets = _shingles(texts, config.ngram)
    values = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, offsets, config.bands * config.rows, config.seed
    ).to_rows()
    matrix = np.array(values, np.uint32).reshape(len(texts.lengths), config.bands, config.rows)
    keys = np.zeros(matrix.shape[:2], np.uint64)
    for row in range(config.rows):
        keys = _take_in(keys, matrix[:, :, row])
    halves = matrix.reshape(len(matrix), -1).astype(np.uint16)
    return Signed(halves, np.ascontiguousarray(keys.T))


def _take_in(keys: Hashes, values: NDArray[np.uint32]) -> Hashes:
    mixed = (keys ^ values) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(31))


def _shingles(texts: Texts, n: int) -> tuple[Hashes, Hashes]:
    """n-gram hashes of all texts end to end, and the texts' offsets in them, uint64 both."""
    lengths = texts.lengths
    whole = np.flatnonzero((lengths > 0) & (lengths < n))
    ngrams = ngram_hashes(texts.hashes, n)
    inside = np.flatnonzero(texts.room()[: len(ngrams)] >= n)
    short = [int(ngram_hashes(_text(texts, i), int(lengths[i]))[0]) for i in whole.tolist()]
    counts = np.maximum(lengths - n + 1, 0)
    counts[whole] = 1
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    shingles = np.empty(int(offsets[-1]), np.uint64)
    is_short = np.zeros(len(shingles), np.bool_)
    is_short[offsets[whole]] = True
    shingles[is_short], shingles[~is_short] = np.array(short, np.uint64), ngrams[inside]
    return shingles, offsets.astype(np.uint64)


def _text(texts: Texts, number: int) -> Hashes:
    return texts.hashes[texts.offsets[number] : texts.offsets[number + 1]]


class SignatureFiles:
    """Signatures and band keys of all documents on disk, appended in the order of the documents."""

    def __init__(self, folder: Path, config: NearDuplicatesConfig) -> None:
        """Opens new files in `folder`, which exists."""
        self._values = config.bands * config.rows
        self.signatures = folder / "signatures"
        self.bands = [folder / f"band-{band:03d}" for band in range(config.bands)]
        for path in (self.signatures, *self.bands):
            path.touch()

    def append(self, signed: Signed) -> None:
        """Appends some documents, one file open at a time."""
        for path, part in zip(self.bands, signed.band_keys, strict=True):
            with path.open("ab") as stream:
                stream.write(part.tobytes())
        with self.signatures.open("ab") as stream:
            stream.write(signed.signatures.tobytes())

    def rows(self, documents: NDArray[np.int64]) -> Signatures:
        """Signatures of some documents, uint16 [documents, values]."""
        width = self._values * _VALUE_BYTES
        found = np.empty((len(documents), self._values), np.uint16)
        with self.signatures.open("rb", buffering=0) as stream:
            for place, document in enumerate(documents.tolist()):
                stream.seek(document * width)
                found[place] = np.frombuffer(stream.read(width), np.uint16)
        return found


class Joined:
    """Which documents are joined: a forest in a file, every root the earliest of its tree."""

    def __init__(self, path: Path, documents: int) -> None:
        """All documents apart. `documents` is below 2^32; 4 bytes each lie in `path`."""
        self.parents = map_zeros(path, np.uint32, documents)
        for start in range(0, documents, _FILL):
            end = min(start + _FILL, documents)
            self.parents[start:end] = np.arange(start, end, dtype=np.uint32)

    def root(self, document: int) -> int:
        """The earliest document that this one is joined with, through others too."""
        parents = self.parents
        while (parent := int(parents[document])) != document:
            parents[document] = parents[parent]
            document = parent
        return document

    def join(self, first: int, second: int) -> None:
        """Joins two documents and all that are joined with them."""
        a, b = self.root(first), self.root(second)
        self.parents[max(a, b)] = min(a, b)


def join_near(
    files: SignatureFiles,
    joined: Joined,
    dropped: NDArray[np.uint8],
    config: NearDuplicatesConfig,
    *,
    bucket_bytes: int = BUCKET_BYTES,
) -> dict[str, int]:
    """Joins the near duplicates among the documents that are not dropped.

    Args:
        files: Signatures of all documents.
        joined: Changed in place.
        dropped: uint8 [documents], nonzero for those that are left out already.
        config: Threshold and bands.
        bucket_bytes: Memory for the sorting of the band keys.

    Returns:
        Counts: compared_groups (documents that agree in a band and were not joined before), and
        divided_groups: those of more than 2,048 documents, which were compared in blocks.
    """
    counts = {"compared_groups": 0, "divided_groups": 0}
    equal = int(np.ceil(config.threshold * config.bands * config.rows - 1e-9))
    for band in files.bands:
        for group in _groups(band, dropped, bucket_bytes):
            roots = {joined.root(document) for document in group.tolist()}
            if len(roots) == 1:
                continue
            counts["compared_groups"] += 1
            counts["divided_groups"] += len(group) > _BLOCK
            for start in range(1, len(group), _BLOCK - 1):
                block = np.concatenate([group[:1], group[start : start + _BLOCK - 1]])
                _join_block(block, files.rows(block), joined, equal)
    return counts


def _groups(
    band: Path, dropped: NDArray[np.uint8], bucket_bytes: int
) -> Iterator[NDArray[np.int64]]:
    """Documents that agree in a band, two or more, ascending."""
    for documents, repeats in equal_keys(band, key_bytes=8, bucket_bytes=bucket_bytes):
        bounds = np.append(np.flatnonzero(~repeats), len(repeats))
        for number in np.flatnonzero(np.diff(bounds) > 1):
            group = documents[bounds[number] : bounds[number + 1]]
            group = group[dropped[group] == 0]
            if len(group) > 1:
                yield group


def _join_block(
    documents: NDArray[np.int64], signatures: Signatures, joined: Joined, equal: int
) -> None:
    """Joins what reaches the threshold; each document is compared with those not yet joined."""
    left = np.arange(len(documents))
    while len(left):
        queue, left = [int(left[0])], left[1:]
        while queue and len(left):
            one = queue.pop()
            near = (signatures[left] == signatures[one]).sum(axis=1) >= equal
            for other in left[near].tolist():
                joined.join(int(documents[one]), int(documents[other]))
                queue.append(other)
            left = left[~near]
