"""Held-out text that stands in the training text too.

Documents are compared whole, by their words (see `bert.text.normalise`), and sentence by sentence,
if a sentence is long enough that it does not stand in two documents by chance. Memory holds
8 bytes for each held-out document and 16 for each long held-out sentence (the first 8 bytes of a
BLAKE2b digest: two different texts are taken for one once in 10^19).
"""

from collections.abc import Sequence
from functools import cache, partial
from hashlib import blake2b
from itertools import chain, compress, islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.log import Progress
from bert.text.extracted import Source, cut_source, piece_documents, read_names
from bert.text.normalise import document_words, normal_words, text_digest
from bert.text.ordered import map_in_order
from bert.text.pieces import AFTER_BLANK_LINE, Piece, cut_file
from bert.text.roles import LEAKED, TRAIN, Roles, SplitError, of_sources

Hashes = NDArray[np.uint64]

_HASH_BYTES = 8
_SHOWN = 5


class LeaksConfig(Section):
    """What happens with held-out text that is found in the training text."""

    documents: Literal["remove", "refuse"] = knob(
        "What happens with a training document that has the words of a held-out one: remove = it "
        "is left out of training, refuse = the stage fails."
    )
    sentence_words: int = knob(
        "Words that a held-out sentence has at least when it is looked for in the training text; "
        "what is found is counted.",
        ge=1,
    )


class Held(NamedTuple):
    """The held-out text, as it is looked for.

    Attributes:
        folder: Tables that worker processes share: documents.npy and sentences.npy, uint64,
            sorted, each hash once.
        documents: Number of different held-out documents.
        repeats: int64 [sentences], how often each sentence stands in the held-out text.
    """

    folder: Path
    documents: int
    repeats: NDArray[np.int64]


class Leaks(NamedTuple):
    """What a piece of the text shares with the held-out text.

    Attributes:
        documents: Number of documents in the piece.
        twins: int64 [T], documents of the piece, from 0, that have the words of a held-out one.
        owners: int64 [S], for each held-out sentence found, the document of the piece, from 0.
        sentences: int64 [S], and its place in sentences.npy.
    """

    documents: int
    twins: NDArray[np.int64]
    owners: NDArray[np.int64]
    sentences: NDArray[np.int64]


def gather_held(held_out: Path, folder: Path, config: LeaksConfig) -> Held:
    """Hashes the documents of a file, and their long sentences, into tables in `folder`."""
    pieces = cut_file(held_out, held_out.name, ends=AFTER_BLANK_LINE)
    of_documents, of_sentences = bytearray(), bytearray()
    for document in chain.from_iterable(map(piece_documents, pieces)):
        digest, long = _digests(document, config.sentence_words)
        of_documents += digest
        of_sentences += b"".join(long)
    sentences, repeats = np.unique(_as_hashes(of_sentences), return_counts=True)
    documents_found = np.unique(_as_hashes(of_documents))
    # The name tells the content: a process may remember the tables of a folder.
    name = blake2b(documents_found.tobytes() + sentences.tobytes(), digest_size=16).hexdigest()
    tables = folder / f"held-{name}"
    tables.mkdir()
    np.save(tables / "documents.npy", documents_found)
    np.save(tables / "sentences.npy", sentences)
    return Held(tables, len(documents_found), repeats)


def remove_leaks(
    sources: Sequence[Source], roles: Roles, held: Held, config: LeaksConfig, *, workers: int
) -> dict[str, int]:
    """Takes documents that repeat a held-out one out of training; counts repeated sentences.

    Args:
        sources: The sources.
        roles: uint8 [documents], changed in place.
        held: The held-out text.
        config: What happens with such documents.
        workers: Processes; they change no count.

    Returns:
        held_out_long_sentences, and held_out_sentences_in_training: those of them that stand in a
        training document.

    Raises:
        SplitError: There is such a document, and they are refused; names some.
    """
    found = np.zeros(len(held.repeats), np.bool_)
    search = partial(find_leaks, folder=held.folder, sentence_words=config.sentence_words)
    progress = Progress("split: leaks", len(roles))
    start = 0
    for source in sources if held.documents else ():
        for leaks in map_in_order(search, cut_source(source), weight=_size, workers=workers):
            part = roles[start : start + leaks.documents]
            part[leaks.twins[part[leaks.twins] == TRAIN]] = LEAKED
            found[leaks.sentences[part[leaks.owners] == TRAIN]] = True
            start += leaks.documents
            progress.update(start, lambda: "documents", log=False)
    progress.close()
    if config.documents == "refuse" and (roles == LEAKED).any():
        raise _leak_error(sources, roles)
    return {
        "held_out_long_sentences": int(held.repeats.sum()),
        "held_out_sentences_in_training": int(held.repeats[found].sum()),
    }


def _size(piece: Piece) -> int:
    return piece.size


def _leak_error(sources: Sequence[Source], roles: Roles) -> SplitError:
    shown: list[str] = []
    for source, part in of_sources(sources, roles):
        names = compress(read_names(source), part == LEAKED)
        shown += [f"{source.name}/{name.decode('utf-8')}" for name in islice(names, _SHOWN)]
    return SplitError(
        f"{np.count_nonzero(roles == LEAKED)} training documents have the words of held-out ones "
        f"({', '.join(shown[:_SHOWN])}, ...); expected none. Filter exact duplicates, or set "
        "split.leaks.documents to remove."
    )


def find_leaks(piece: Piece, folder: Path, sentence_words: int) -> Leaks:
    """Looks for held-out documents and sentences in a piece of the text.

    Args:
        piece: Some documents of a source.
        folder: `Held.folder`.
        sentence_words: As in the configuration that made the tables.
    """
    documents = piece_documents(piece)
    of_documents, of_sentences = bytearray(), bytearray()
    owners: list[int] = []
    for number, document in enumerate(documents):
        digest, sentences = _digests(document, sentence_words)
        of_documents += digest
        of_sentences += b"".join(sentences)
        owners += [number] * len(sentences)
    held_documents, held_sentences = _tables(folder)
    twins, _ = _look_up(_as_hashes(of_documents), held_documents)
    places, numbers = _look_up(_as_hashes(of_sentences), held_sentences)
    return Leaks(len(documents), twins, np.array(owners, np.int64)[places], numbers)


def _digests(document: bytes, sentence_words: int) -> tuple[bytes, list[bytes]]:
    """Digest of a document, and those of its long sentences."""
    sentences = [normal_words(line) for line in document.split(b"\n")]
    words = list(chain.from_iterable(sentences)) or document_words(document)
    long = [
        text_digest(sentence)[:_HASH_BYTES]
        for sentence in sentences
        if len(sentence) >= sentence_words
    ]
    return text_digest(words)[:_HASH_BYTES], long


def _as_hashes(digests: bytearray) -> Hashes:
    return np.frombuffer(bytes(digests), "<u8").astype(np.uint64)


@cache
def _tables(folder: Path) -> tuple[Hashes, Hashes]:
    documents, sentences = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("documents", "sentences")
    )
    return documents, sentences


def _look_up(hashes: Hashes, known: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the hashes that are known, and their places among the known."""
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    places = np.flatnonzero(known[numbers] == hashes)
    return places, numbers[places]
