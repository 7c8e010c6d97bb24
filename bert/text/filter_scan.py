"""The filter's one pass over the text: digest, signature and overlap of each document, to disk."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert.log import Progress
from bert.text.contamination import Overlap, Reference, overlap, reference_counts, reference_masks
from bert.text.extracted import Source, check_count, cut_source, piece_documents, total_documents
from bert.text.near_duplicates import NearDuplicatesConfig, SignatureFiles, Signed, sign
from bert.text.ngrams import WordHashes, hash_texts
from bert.text.normalise import document_words, text_digest
from bert.text.ordered import map_in_order
from bert.text.pieces import Piece

_TABLE = WordHashes()


class _Plan(NamedTuple):
    near: NearDuplicatesConfig | None
    reference: Path | None
    lengths: tuple[int, ...]
    references: int


class _Scanned(NamedTuple):
    piece: Piece
    documents: int
    digests: bytes
    signed: Signed | None
    overlap: Overlap | None


class Scan:
    """The pass over the text, and where its results lie.

    Attributes:
        digests: File of 16 bytes a document, equal for exact duplicates.
        shares: File of float32 a document, share of words that task texts have too; empty if
            overlap is not looked for.
        signatures: MinHash signatures; None if near duplicates are not looked for.
        pieces: Number of the first document of each piece, and the piece.
    """

    def __init__(
        self, near: NearDuplicatesConfig | None, reference: Reference | None, work: Path
    ) -> None:
        """Results go to the folder `work`."""
        self.digests, self.shares = work / "digests", work / "shares"
        self.signatures = None if near is None else SignatureFiles(work, near)
        self.pieces: list[tuple[int, Piece]] = []
        self._reference = reference
        self._plan = _Plan(near, None, (), 0)
        keys = 0
        if reference is not None:
            self._plan = _Plan(near, reference.folder, reference.lengths, len(reference.texts))
            keys = len(reference_masks(reference.folder))
        self._found = np.zeros(keys, np.bool_)
        self._touching = np.zeros(self._plan.references, np.int64)

    def run(self, sources: Sequence[Source], *, workers: int) -> None:
        """Goes through all documents in a pool of `workers` processes.

        Raises:
            bert.text.extracted.ExtractedError: A source has not the documents that it states.
        """
        progress = Progress("filter", total_documents(sources))
        done = 0
        with self.digests.open("wb") as digests, self.shares.open("wb") as shares:
            for source in sources:
                first = done
                for scanned in self._results(source, workers):
                    self.pieces.append((done, scanned.piece))
                    done += scanned.documents
                    digests.write(scanned.digests)
                    if self.signatures is not None and scanned.signed is not None:
                        self.signatures.append(scanned.signed)
                    if scanned.overlap is not None:
                        shares.write(scanned.overlap.shares.tobytes())
                        self._touching += scanned.overlap.touching
                        self._found[scanned.overlap.found] = True
                    progress.update(done, lambda: "documents", log=False)
                check_count(source, done - first, path=source.path)
        progress.close()

    def _results(self, source: Source, workers: int) -> Iterator["_Scanned"]:
        work = partial(_scan, plan=self._plan)
        return map_in_order(work, cut_source(source), weight=_piece_size, workers=workers)

    def contamination(self) -> dict[str, dict[str, int]]:
        """Counts of each reference: how much of it stands in the corpus, and in how many places."""
        if self._reference is None:
            return {}
        counts = reference_counts(self._reference, self._found)
        touching = zip(counts, self._touching.tolist(), strict=True)
        return {name: counts[name] | {"touching_documents": number} for name, number in touching}


def _piece_size(piece: Piece) -> int:
    return piece.size


def _scan(piece: Piece, plan: _Plan) -> _Scanned:
    documents = piece_documents(piece)
    words = [document_words(document) for document in documents]
    digests = b"".join(map(text_digest, words))
    if plan.near is None and plan.reference is None:
        return _Scanned(piece, len(documents), digests, None, None)
    texts = hash_texts(words, _TABLE)
    signed = None if plan.near is None else sign(texts, plan.near)
    found = None
    if plan.reference is not None:
        found = overlap(texts, plan.reference, plan.lengths, plan.references)
    return _Scanned(piece, len(documents), digests, signed, found)
