import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text import ngrams
from bert.text.ngrams import WordHashes, hash_texts, ngram_hashes

WORDS = st.sampled_from([b"a", b"b", b"c"])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(WORDS, max_size=12), st.integers(1, 6))
def test_hashes_are_equal_where_the_words_are(words: list[bytes], n: int) -> None:
    hashes = ngram_hashes(hash_texts([words], WordHashes()).hashes, n)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert len(hashes) == len(grams)
    assert len({*hashes.tolist()}) == len({*grams})
    assert len({*zip(hashes.tolist(), grams, strict=True)}) == len({*grams})


def test_the_hash_of_a_pair_by_hand() -> None:
    table = WordHashes()
    one, two = ngram_hashes(hash_texts([[b"a", b"b", b"a"]], table).hashes, 2).tolist()
    base = 0x9E3779B97F4A7C15
    assert one == (table[b"a"] * base + table[b"b"]) % 2**64
    assert two == (table[b"b"] * base + table[b"a"]) % 2**64


def test_texts_lie_end_to_end_with_the_room_of_each_word() -> None:
    texts = hash_texts([[b"a", b"b"], [], [b"c"]], WordHashes())
    assert texts.offsets.tolist() == [0, 2, 2, 3]
    assert texts.lengths.tolist() == [2, 0, 1]
    assert texts.room().tolist() == [2, 1, 1]


def test_no_texts_and_too_few_words_have_no_ngrams() -> None:
    texts = hash_texts([], WordHashes())
    assert (len(texts.hashes), texts.offsets.tolist()) == (0, [0])
    assert len(ngram_hashes(texts.hashes, 3)) == 0
    assert len(ngram_hashes(np.ones(2, np.uint64), 5)) == 0


def test_a_full_word_table_starts_anew_with_the_same_hashes(monkeypatch) -> None:
    words = [b"%d" % i for i in range(50)]
    expected = hash_texts([words], WordHashes()).hashes
    monkeypatch.setattr(ngrams, "_MOST_WORDS", 7)
    table = WordHashes()
    assert (hash_texts([words], table).hashes == expected).all()
    assert len(table) <= 7
