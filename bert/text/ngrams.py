"""Hashes of word n-grams over many texts at once.

A word has a 64-bit hash (BLAKE2b). An n-gram's hash is the polynomial of its words' hashes in an
odd base, modulo 2^64: the same words in the same order give the same hash, on any machine.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_BASE = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, odd
_MOST_WORDS = 1 << 18


class WordHashes(dict[bytes, int]):
    """Word to hash, remembered; forgets all when it holds too many, so memory is bounded."""

    def __missing__(self, word: bytes) -> int:
        """Hashes a word that is not remembered."""
        if len(self) >= _MOST_WORDS:
            self.clear()
        value = self[word] = int.from_bytes(blake2b(word, digest_size=8).digest(), "little")
        return value


class Texts(NamedTuple):
    """Word hashes of some texts, end to end.

    Attributes:
        hashes: uint64 [words of all texts].
        offsets: int64 [texts + 1]; text i is `hashes[offsets[i]:offsets[i + 1]]`.
    """

    hashes: Hashes
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Words of each text, int64 [texts]."""
        return np.diff(self.offsets)

    def room(self) -> NDArray[np.int64]:
        """For each word, the number of words from it to the end of its text, itself included."""
        ends = np.repeat(self.offsets[1:], self.lengths)
        return ends - np.arange(len(self.hashes))


def hash_texts(texts: Sequence[list[bytes]], table: WordHashes) -> Texts:
    """Hashes the words of each text."""
    lengths = np.array([len(words) for words in texts], np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    hashes = map(table.__getitem__, chain.from_iterable(texts))
    return Texts(np.fromiter(hashes, np.uint64, count=int(offsets[-1])), offsets)


def longer(shorter: Hashes, hashes: Hashes, n: int) -> Hashes:
    """Hashes of all n-grams from those of all (n - 1)-grams; `n` is 2 or more.

    Args:
        shorter: uint64 [words - n + 2], the (n - 1)-gram that starts at each word.
        hashes: uint64 [words].
        n: Words of an n-gram.

    Returns:
        uint64 [words - n + 1], the n-gram that starts at each word, over the borders of texts too.
    """
    count = max(len(hashes) - n + 1, 0)
    return shorter[:count] * _BASE + hashes[n - 1 :]


def ngram_hashes(hashes: Hashes, n: int) -> Hashes:
    """Hashes of the n-grams that start at each word, uint64 [max(words - n + 1, 0)]."""
    found = hashes
    for length in range(2, n + 1):
        found = longer(found, hashes, length)
    return found
