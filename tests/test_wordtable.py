from collections.abc import Sequence

import numpy as np
import pytest

from bert.data import wordtable
from bert.data.wordtable import WordTable


class Letters:
    """A word's ids are its bytes; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, words: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        self.asked += words
        return np.frombuffer(b"".join(words), np.uint8), np.array([len(w) for w in words])


def look_up(table: WordTable, words: Sequence[bytes]) -> list[bytes]:
    lengths = np.array([len(word) for word in words])
    ids, counts, empty = table.look_up(b"".join(words), np.cumsum(lengths) - lengths, lengths)
    assert empty.tolist() == [word == b"\n" for word in words]
    ends = np.cumsum(counts)
    return [bytes(ids[end - n : end]) for end, n in zip(ends, counts, strict=True)]


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def table(letters: Letters) -> WordTable:
    return WordTable(letters, b"\n", np.dtype(np.uint8))


def random_words(
    seed: int, count: int, alphabet: bytes = b"ab\0", longest: int = 20
) -> list[bytes]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, count)
    return [bytes(rng.choice(list(alphabet), n).tolist()) for n in lengths]


def test_every_word_is_found_as_it_is_and_resolved_once(table: WordTable, letters: Letters) -> None:
    for seed in (1, 2, 1):
        words = random_words(seed, 2000)
        assert look_up(table, words) == words
    assert len(letters.asked) == len(set(letters.asked)) == len(table) - 1
    assert set(letters.asked) == {*random_words(1, 2000), *random_words(2, 2000)}


def test_words_that_differ_in_length_or_last_byte_only_are_told_apart(table: WordTable) -> None:
    words = [b"a" * n + end for n in range(300) for end in (b"a", b"b", b"\0", b"\0\0")]
    words = list(dict.fromkeys(words))
    for _ in range(2):
        assert look_up(table, words) == words


def test_the_empty_word_has_no_ids_and_is_never_asked_for(
    table: WordTable, letters: Letters
) -> None:
    assert look_up(table, [b"\n", b"x", b"\n"]) == [b"", b"x", b""]
    assert letters.asked == [b"x"]


def test_a_crowded_table_finds_every_word(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more words than slots, what finds none stands in the dictionary."""
    monkeypatch.setattr(wordtable, "_BITS", 4)
    table = WordTable(letters, b"\n", np.dtype(np.uint8))
    words = sorted(set(random_words(3, 400, b"abc", 6)))
    for part in (words[:5], words[:30], words, words[::-1]):
        assert look_up(table, part) == part
    assert len(letters.asked) == len(words)


def test_a_full_table_starts_again_and_changes_no_answer(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wordtable, "_MOST_WORDS", 64)
    table = WordTable(letters, b"\n", np.dtype(np.uint8))
    for seed in range(40):
        words = random_words(seed, 30)
        assert look_up(table, words) == words
        assert len(table) <= 64


def test_long_words_are_forgotten_when_they_are_too_many_bytes(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wordtable, "_MOST_BYTES", 100)
    table = WordTable(letters, b"\n", np.dtype(np.uint8))
    for size in (90, 91, 92, 93):
        assert look_up(table, [b"x" * size]) == [b"x" * size]
    assert len(table) == 3
