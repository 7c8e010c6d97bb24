"""An exact table from words to token ids that is looked up for a whole block of text at once.

A word of up to 15 bytes becomes two 64-bit numbers, its bytes and its length, so that equal numbers
mean equal words and no hash has to be trusted. They stand in an open-addressed table of numpy
arrays, which all words of a block probe together. Longer words stand in a dictionary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, take_ranges

_SHORT = 15  # bytes of a word that fit two numbers beside its length
_BITS = 20  # of a slot's number
_PROBES = 8  # slots that a word may stand in
_MOST_WORDS = 1 << (_BITS - 1)
_MOST_BYTES = 8 << 20  # of the words in the dictionary
# Bytes 0 to 7 and bytes 8 to 14 of a word of each length, and the length above them.
_LENGTHS = np.arange(256, dtype=np.uint64)
_BITS_LOW = np.minimum(_LENGTHS, 8) * np.uint64(8)
_BITS_HIGH = np.clip(_LENGTHS.astype(np.int64) - 8, 0, 7).astype(np.uint64) * np.uint64(8)
_MASK_LOW = np.array([(1 << int(bits)) - 1 for bits in _BITS_LOW], np.uint64)
_MASK_HIGH = np.array([(1 << int(bits)) - 1 for bits in _BITS_HIGH], np.uint64)
_LENGTH_HIGH = _LENGTHS << np.uint64(56)
# Odd numbers without pattern (the golden ratio's and pi's digits): products mix the bits upwards.
_MIX_LOW, _MIX_HIGH = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x517CC1B727220A95)

Resolve = Callable[[Sequence[bytes]], tuple[NDArray[Any], I64]]


class WordTable:
    """Words and their token ids. It is emptied when it is full, which changes no answer."""

    def __init__(self, resolve: Resolve, empty_word: bytes, dtype: np.dtype[Any]) -> None:
        """Starts with one word.

        Args:
            resolve: Gives the token ids of distinct words end to end, and how many each has.
            empty_word: A word without tokens that `resolve` is never asked for; its row is 0.
            dtype: Of the token ids.
        """
        self._resolve, self._empty_word, self._dtype = resolve, empty_word, dtype
        self._clear()

    def _clear(self) -> None:
        self._low = np.zeros(1 << _BITS, np.uint64)
        self._high = np.zeros(1 << _BITS, np.uint64)  # 0 = free slot: no word has length 0
        self._row = np.zeros(1 << _BITS, np.int32)
        self._others: dict[bytes, int] = {}
        self._other_bytes = 0
        # Row r is ids[first[r] : first[r] + count[r]].
        self._ids = np.zeros(1 << 12, self._dtype)
        self._first = np.zeros(_MOST_WORDS, np.int64)
        self._count = np.zeros(_MOST_WORDS, np.int64)
        self._rows = self._filled = 0
        self._store([self._empty_word], np.zeros(0, self._dtype), np.zeros(1, np.int64))

    def __len__(self) -> int:
        """Words that stand in the table now."""
        return self._rows

    def look_up(
        self, text: bytes, starts: I64, lengths: I64
    ) -> tuple[NDArray[Any], I64, NDArray[np.bool_]]:
        """Token ids of all words of a block; words that are new to the table are resolved first.

        Args:
            text: The block; fewer than half of `_MOST_WORDS` different words.
            starts: [W] first byte of each word.
            lengths: [W] bytes of each word, at least 1.

        Returns:
            The ids of all words end to end, [T]; how many each word has, [W]; and whether it is
            the empty word, [W].
        """
        rows = self._probe(text, starts, lengths)
        unseen = np.flatnonzero(rows < 0)
        if len(unseen):
            words = [text[s : s + n] for s, n in zip(*_lists(starts, lengths, unseen), strict=True)]
            new = [word for word in dict.fromkeys(words) if word not in self._others]
            if self._rows + len(new) > _MOST_WORDS or self._other_bytes > _MOST_BYTES:
                self._clear()
                return self.look_up(text, starts, lengths)
            known = {word: row for row, word in enumerate(new, start=self._rows)}
            if new:
                self._store(new, *self._resolve(new))
            rows[unseen] = [known[word] if word in known else self._others[word] for word in words]
        counts = self._count[rows]
        return take_ranges(self._ids, self._first[rows], counts), counts, rows == 0

    def _probe(self, text: bytes, starts: I64, lengths: I64) -> NDArray[np.int32]:
        """Row of each word, or -1 where it has no slot."""
        low, high = _keys(text, starts, lengths)
        slots = _slots(low, high)
        found = (self._low[slots] == low) & (self._high[slots] == high)
        rows = np.where(found, self._row[slots], np.int32(-1))
        left = np.flatnonzero(~found)
        for _ in range(1, _PROBES):
            left = left[self._high[slots[left]] != 0]  # a free slot ends the search
            if not len(left):
                break
            slots[left] = (slots[left] + 1) & (len(self._row) - 1)
            there = slots[left]
            found = (self._low[there] == low[left]) & (self._high[there] == high[left])
            rows[left[found]] = self._row[there[found]]
            left = left[~found]
        return rows

    def _store(self, words: Sequence[bytes], ids: NDArray[Any], counts: I64) -> None:
        """Appends rows of new words, and puts each word into a slot or into the dictionary."""
        rows = np.arange(self._rows, self._rows + len(words))
        self._rows += len(words)
        filled = self._filled + len(ids)
        if filled > len(self._ids):
            self._ids = np.resize(self._ids, max(filled, 2 * len(self._ids)))
        self._ids[self._filled : filled] = ids
        self._count[rows] = counts
        self._first[rows] = self._filled + np.cumsum(counts) - counts
        self._filled = filled

        lengths = np.array([len(word) for word in words], np.int64)
        low, high = _keys(b"".join(words), np.cumsum(lengths) - lengths, lengths)
        slots = _slots(low, high)
        left = np.flatnonzero(lengths <= _SHORT)
        for _ in range(_PROBES):
            free = left[self._high[slots[left]] == 0]
            # Where two words want the same slot the later one gets it.
            self._row[slots[free]] = rows[free]
            won = free[self._row[slots[free]] == rows[free]]
            self._low[slots[won]], self._high[slots[won]] = low[won], high[won]
            left = np.setdiff1d(left, won, assume_unique=True)
            slots[left] = (slots[left] + 1) & (len(self._row) - 1)
        for place in [*np.flatnonzero(lengths > _SHORT).tolist(), *left.tolist()]:
            self._others[words[place]] = int(rows[place])
            self._other_bytes += len(words[place])


def _lists(starts: I64, lengths: I64, places: I64) -> tuple[list[int], list[int]]:
    return starts[places].tolist(), lengths[places].tolist()


def _keys(text: bytes, starts: I64, lengths: I64) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The two numbers of each word: bytes 0 to 7; bytes 8 to 14 and the length.

    Different words of up to 15 bytes have different numbers, and a longer word has none of theirs.
    """
    padded = text + bytes(16)
    numbers = np.ndarray(len(text) + 8, "<u8", padded, strides=(1,))  # 8 bytes from each byte on
    clipped = np.minimum(lengths, 255)
    low = numbers[starts] & _MASK_LOW[clipped]
    high = numbers[starts + 8] & _MASK_HIGH[clipped] | _LENGTH_HIGH[clipped]
    return low, high


def _slots(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> I64:
    """Slot where the search for each word starts."""
    mixed = low * _MIX_LOW ^ high * _MIX_HIGH
    mixed = (mixed ^ mixed >> np.uint64(29)) * _MIX_LOW
    slots: I64 = (mixed >> np.uint64(64 - _BITS)).astype(np.int64)
    return slots
