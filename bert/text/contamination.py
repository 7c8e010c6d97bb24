"""Overlap of the corpus with the texts of the tasks, by word n-grams.

Brown et al. 2020 (GPT-3), appendix C, look for 13-grams of words. A task text shorter than that is
looked for as a whole if it has at least `shortest` words; shorter ones are counted and not looked
for, because a few words stand in any corpus.

A word of a document is covered if it stands in an n-gram that a task text has too. Memory holds the
tasks' n-grams, never the corpus.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from bert.config import Section, knob
from bert.text.ngrams import Hashes, Texts, WordHashes, hash_texts, longer
from bert.text.normalise import normal_words

# Tells n-grams of different lengths apart.
_LENGTH = 0xD6E8FEB86659FD93
_SLOTS_PER_KEY = 16
_MOST_SLOT_BITS = 26
_MOST_REFERENCES = 64


# Formats of task data whose texts can be told, by `bert.tasks.texts`.
TaskFormat = Literal["squad", "mrpc", "cola", "sst2", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


class ReferenceConfig(Section):
    """Texts of a task that should not stand in the corpus."""

    format: TaskFormat = knob(
        "Layout of the files: squad = contexts and questions, the others = the sentences of "
        "GLUE's train and dev files."
    )
    raw: str = knob("Name of the item in section `fetch` that holds the files.", min_length=1)
    pattern: str = knob("Names of the files to read, as a shell pattern.", min_length=1)


class ContaminationConfig(Section):
    """What counts as overlap with a task, and what follows from it."""

    ngram: int = knob("Words of an n-gram (Brown et al. 2020: 13).", ge=2, le=64)
    shortest: int = knob(
        "A task text of fewer words than an n-gram is looked for as a whole if it has at least so "
        "many words.",
        ge=1,
    )
    drop_share: float | None = knob(
        "Share of a document's words, above 0 to 1, from which it is dropped when so many stand in "
        "n-grams of task texts; null = overlap is only counted.",
        gt=0,
        le=1,
    )
    references: dict[str, ReferenceConfig | None] = knob("Task texts by name; null drops one.")

    @model_validator(mode="after")
    def _whole_texts_are_shorter(self) -> "ContaminationConfig":
        if self.shortest > self.ngram:
            raise ValueError(
                f"shortest is {self.shortest}, more than ngram {self.ngram}; write at most that."
            )
        if not 1 <= len(self.named()) <= _MOST_REFERENCES:
            raise ValueError(
                f"references has {len(self.named())} entries; expected 1 to {_MOST_REFERENCES}. "
                "Write `contamination: null` to look for none."
            )
        return self

    def named(self) -> dict[str, ReferenceConfig]:
        """The references that are not dropped."""
        return {name: one for name, one in self.references.items() if one is not None}


class Reference(NamedTuple):
    """The n-grams of all task texts, in files that worker processes share.

    Attributes:
        folder: keys.npy (uint64 [K], sorted), masks.npy (uint64 [K], bit r = reference r has it),
            slots.npy (bool [power of two], by the first bits of a key).
        lengths: Words of the n-grams, ascending; the last is that of long texts.
        texts: For each reference, for each text the numbers of its n-grams among the keys.
        short: For each reference, the number of texts that are too short to be looked for.
    """

    folder: Path
    lengths: tuple[int, ...]
    texts: dict[str, list[NDArray[np.int64]]]
    short: dict[str, int]


class Matches(NamedTuple):
    """Where n-grams of the tasks stand in some documents, in no particular order.

    Attributes:
        places: int64 [M], the word that the n-gram starts at, counted over all documents.
        lengths: int64 [M], its words.
        numbers: int64 [M], its number among the reference's keys.
    """

    places: NDArray[np.int64]
    lengths: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Overlap(NamedTuple):
    """What some documents share with the tasks.

    Attributes:
        shares: float32 [documents], share of the words that are covered.
        touching: int64 [references], documents that have an n-gram of that reference.
        found: int64 [F], numbers of the keys that stand in these documents, ascending.
    """

    shares: NDArray[np.float32]
    touching: NDArray[np.int64]
    found: NDArray[np.int64]


def build_reference(
    folder: Path, texts: Mapping[str, Sequence[str]], config: ContaminationConfig
) -> Reference:
    """Hashes the n-grams of the task texts.

    Args:
        folder: An existing folder; the tables get a folder in it.
        texts: Reference to its texts.
        config: Lengths of the n-grams.
    """
    table = WordHashes()
    words = [normal_words(text.encode("utf-8")) for strings in texts.values() for text in strings]
    keys, offsets = _text_keys(hash_texts(words, table), config)
    unique, numbers = np.unique(keys, return_inverse=True)
    masks = np.zeros(len(unique), np.uint64)
    of_text: dict[str, list[NDArray[np.int64]]] = {}
    short: dict[str, int] = {}
    first = 0
    for place, (name, strings) in enumerate(texts.items()):
        bounds = offsets[first : first + len(strings) + 1]
        masks[numbers[bounds[0] : bounds[-1]]] |= np.uint64(1 << place)
        pairs = pairwise(bounds.tolist())
        of_text[name] = [numbers[start:end] for start, end in pairs if end > start]
        short[name] = len(strings) - len(of_text[name])
        first += len(strings)
    lengths = {min(len(one), config.ngram) for one in words if len(one) >= config.shortest}
    bits = min(max(1, (len(unique) * _SLOTS_PER_KEY).bit_length()), _MOST_SLOT_BITS)
    slots = np.zeros(1 << bits, np.bool_)
    slots[unique >> np.uint64(64 - bits)] = True
    # The name tells the content: a process may remember the tables of a folder.
    tables = folder / f"reference-{blake2b(unique.tobytes() + masks.tobytes()).hexdigest()[:32]}"
    tables.mkdir()
    for name, array in (("keys", unique), ("masks", masks), ("slots", slots)):
        np.save(tables / f"{name}.npy", array)
    return Reference(tables, tuple(sorted(lengths | {config.ngram})), of_text, short)


def _text_keys(texts: Texts, config: ContaminationConfig) -> tuple[Hashes, NDArray[np.int64]]:
    """Keys of all texts end to end, and the texts' offsets in them; short texts have none."""
    lengths, room = texts.lengths, texts.room()
    counts = np.maximum(lengths - config.ngram + 1, 0)
    whole = (lengths >= config.shortest) & (lengths < config.ngram)
    counts[whole] = 1
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    keys = np.zeros(int(offsets[-1]), np.uint64)
    is_long = np.repeat(lengths >= config.ngram, counts)
    hashes = texts.hashes
    for length in range(1, config.ngram + 1):
        hashes = longer(hashes, texts.hashes, length) if length > 1 else hashes
        chosen = np.flatnonzero(whole & (lengths == length))
        keys[offsets[chosen]] = _keys(hashes[texts.offsets[chosen]], length)
    keys[is_long] = _keys(hashes[room[: len(hashes)] >= config.ngram], config.ngram)
    return keys, offsets


def _keys(hashes: Hashes, length: int) -> Hashes:
    return hashes ^ np.uint64(_LENGTH * length % (1 << 64))


@cache
def _tables(folder: Path) -> tuple[Hashes, Hashes, NDArray[np.bool_]]:
    """The tables of a reference, mapped: processes of one machine share the memory."""
    keys, masks, slots = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("keys", "masks", "slots")
    )
    return keys, masks, slots


def find_matches(texts: Texts, folder: Path, lengths: Sequence[int]) -> Matches:
    """Looks for the n-grams of the tasks in some documents.

    Args:
        texts: The documents' word hashes.
        folder: `Reference.folder`.
        lengths: `Reference.lengths`.
    """
    found: list[Matches] = []
    room, hashes = texts.room(), texts.hashes
    for length in range(1, max(lengths) + 1):
        hashes = longer(hashes, texts.hashes, length) if length > 1 else hashes
        if length in lengths:
            places, numbers = _look_up(_keys(hashes, length), folder)
            inside = room[places] >= length
            places, numbers = places[inside], numbers[inside]
            found.append(Matches(places, np.full(len(places), length), numbers))
    return Matches(*map(np.concatenate, zip(*found, strict=True)))


def covered_words(matches: Matches, words: int) -> NDArray[np.bool_]:
    """Whether each of `words` words stands in a match, bool [words]."""
    depth = np.bincount(matches.places, minlength=words + 1)
    depth -= np.bincount(matches.places + matches.lengths, minlength=words + 1)
    return np.asarray(np.cumsum(depth[:words]) > 0)


def overlap(texts: Texts, folder: Path, lengths: Sequence[int], references: int) -> Overlap:
    """What some documents share with `references` references; see `find_matches`."""
    matches = find_matches(texts, folder, lengths)
    covered = np.cumsum(np.append(False, covered_words(matches, len(texts.hashes))))
    words = covered[texts.offsets[1:]] - covered[texts.offsets[:-1]]
    masks = np.zeros(len(texts.lengths), np.uint64)
    documents = np.searchsorted(texts.offsets, matches.places, side="right") - 1
    np.bitwise_or.at(masks, documents, reference_masks(folder)[matches.numbers])
    touching = [np.count_nonzero(masks & np.uint64(1 << r)) for r in range(references)]
    return Overlap(
        (words / np.maximum(texts.lengths, 1)).astype(np.float32),
        np.array(touching, np.int64),
        np.unique(matches.numbers),
    )


def reference_masks(folder: Path) -> Hashes:
    """For each key the references that have it, one bit each; uint64 [keys]."""
    return _tables(folder)[1]


def _look_up(keys: Hashes, folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the keys that the reference has, and their numbers there."""
    known, _, slots = _tables(folder)
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    shift = np.uint64(64 - (len(slots).bit_length() - 1))
    places = np.flatnonzero(slots[keys >> shift])
    numbers = np.minimum(np.searchsorted(known, keys[places]), len(known) - 1)
    same = known[numbers] == keys[places]
    return places[same], numbers[same]


def reference_counts(reference: Reference, found: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """How much of each reference stands in the corpus.

    Args:
        reference: The task texts.
        found: bool [keys], the n-grams that stand in the corpus.

    Returns:
        Reference to counts: texts, short_texts (not looked for), touched_texts (an n-gram is
        found), whole_texts (all are), ngrams and found_ngrams (each text's own).
    """
    return {
        name: {
            "texts": len(texts) + reference.short[name],
            "short_texts": reference.short[name],
            "touched_texts": sum(bool(found[numbers].any()) for numbers in texts),
            "whole_texts": sum(bool(found[numbers].all()) for numbers in texts),
            "ngrams": sum(len(numbers) for numbers in texts),
            "found_ngrams": sum(int(found[numbers].sum()) for numbers in texts),
        }
        for name, texts in reference.texts.items()
    }
