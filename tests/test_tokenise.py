import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from bert.data import tokenise, wordtable
from bert.data.tokenise import Tokeniser
from bert.data.vocab import load_tokenizer, load_vocabulary, write_vocabulary
from tests.test_bytelevel import BYTES, MERGES
from tests.test_wordpiece import SENTENCES, TOKENS

# Pieces of accented, Greek, Turkish and Korean words, and punctuation outside ASCII.
MORE = ["\u03c3", "##\u03c3", "##\u03c2", "i", "##i", "##\u0307", "\u0301", "\u3002", "\u2019"]
KINDS = ["wordpiece uncased", "wordpiece cased", "bytelevel uncased", "bytelevel cased"]


class Both(NamedTuple):
    """A tokeniser and the library's tokenizer of the same vocabulary."""

    folder: Path
    ours: Tokeniser
    peer: Tokenizer

    def assert_equal(self, lines: Sequence[str]) -> None:
        """Compares the ids of every line."""
        ids, lengths = self.ours.sentences(lines)
        ends = np.cumsum(lengths)
        assert len(lengths) == len(lines)
        assert len(ids) == lengths.sum()
        encodings = self.peer.encode_batch_fast(list(lines), add_special_tokens=False)
        for line, end, length, encoding in zip(lines, ends, lengths, encodings, strict=True):
            assert ids[end - length : end].tolist() == encoding.ids, ascii(line)


def make_both(folder: Path, kind: str) -> Both:
    lowercase = kind.endswith("uncased")
    if kind.startswith("wordpiece"):
        write_vocabulary(folder, [*TOKENS, *MORE], lowercase)
    else:
        write_vocabulary(folder, BYTES, lowercase, MERGES)
    return Both(folder, Tokeniser(folder), load_tokenizer(folder))


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return make_both(tmp_path_factory.mktemp("vocab"), request.param)


def test_ids_by_hand(tmp_path: Path) -> None:
    ours = make_both(tmp_path, "wordpiece uncased").ours
    ids, lengths = ours.sentences(["The foxy, fox", "", "JUMPED over"])
    tokens = load_vocabulary(tmp_path).tokens
    found = [tokens[i] for i in ids]
    assert found == ["the", "[UNK]", ",", "fox", "jump", "##ed", "over"]
    assert lengths.tolist() == [4, 0, 3]
    assert (ids.dtype, lengths.dtype) == (np.uint16, np.int64)


def test_a_text_is_its_lines(both: Both) -> None:
    ids, lengths = both.ours.sentences(SENTENCES_ON_A_LINE)
    text = "\n".join(SENTENCES_ON_A_LINE).encode()
    assert all(map(np.array_equal, both.ours.text(text), (ids, lengths)))
    more = both.ours.text(text + b"\n")
    assert np.array_equal(more[0], ids)
    assert more[1].tolist() == [*lengths.tolist(), 0]


SENTENCES_ON_A_LINE = [sentence.replace("\n", " ") for sentence in SENTENCES]


def test_no_lines_give_no_tokens(both: Both) -> None:
    ids, lengths = both.ours.sentences([])
    assert (len(ids), len(lengths)) == (0, 0)


def test_a_sentence_with_a_line_feed_is_refused(both: Both) -> None:
    with pytest.raises(ValueError, match="2 sentences hold 1 line feeds"):
        both.ours.sentences(["the\nfox", "jumps"])


def test_sentences_of_all_sorts_equal_the_library(both: Both) -> None:
    both.assert_equal(SENTENCES_ON_A_LINE)


def contexts(character: str) -> Iterator[str]:
    """A character alone, and beside letters, spaces, punctuation, accents and its like."""
    c = character
    yield c
    yield f"a{c}b {c} .{c}. {c}\u0301 a{c} b  {c}  b {c}{c} \u03a3{c}. a\t {c} b"
    yield f"\u3000 {c}\t b's{c}'s"
    yield f"{c} {c}A{c} 1{c}2 \u0327{c}\u0301 e{c}\u0301 \u00a0 {c} \u2028{c}"
    yield f"  {c}\u2003 x{c} "


def compare_characters(both: Both, codes: Sequence[int]) -> None:
    for first in range(0, len(codes), 2000):
        characters = map(chr, codes[first : first + 2000])
        both.assert_equal([line for c in characters for line in contexts(c)])


def matters(code: int) -> bool:
    """Whether clean-up, lower-casing or a split may do something to a character; a few others."""
    character = chr(code)
    plain = unicodedata.category(character) in (
        "Lo",
        "Ll",
        "Lu",
        "So",
        "Sm",
        "Nd",
        "No",
        "Cn",
        "Co",
    )
    same = unicodedata.normalize("NFD", character) == character and len(character.lower()) == 1
    return code % 1024 == 0 or not ((plain and same) or 0xAC00 <= code < 0xD7A4)


CODES = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000 and c != 0x0A]


def test_characters_that_matter_equal_the_library(both: Both) -> None:
    compare_characters(both, [code for code in CODES if matters(code)])


@pytest.mark.slow
def test_every_code_point_equals_the_library_in_every_context(both: Both) -> None:
    compare_characters(both, CODES)


ODD = st.sampled_from(
    [
        *"aAbthe \t\r.,'#[]1$\x00\x01\x1c\x1f\x7f\x85\xa0\xad\ufffd\ufeff",
        *"\u0130\u0131\u03a3\u03c2\u00c5\u1e9e\ufb01\ud55c\u1112\u1161\u0e33\u226e\u037e",
        *"\u0300\u0301\u0327\u0338\u0345\u05b0\u2003\u2028\u2029\u200b\u200d\u202e\u3000",
        *"\u1680\u180e\u4e2d\u56fd\u3002\u2019\U0001f600\U00020000\U0010ffff",
        *("  ", "the", "fox", "Unbelievable", "[SEP]", "</s>", "a" * 101, "'s"),
    ]
)
TEXT = st.lists(ODD | st.characters(exclude_categories=["Cs"]), max_size=30).map(
    lambda parts: "".join(parts).replace("\n", "")
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(lines=st.lists(TEXT, max_size=6))
def test_odd_texts_equal_the_library(both: Both, lines: list[str]) -> None:
    both.assert_equal(lines)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lines=st.lists(TEXT, min_size=2, max_size=6))
def test_small_blocks_and_a_full_table_change_no_id(both: Both, lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenise, "_BLOCK_BYTES", 7)
        patch.setattr(wordtable, "_MOST_WORDS", 300)
        patch.setattr(wordtable, "_MOST_BYTES", 40)
        both._replace(ours=Tokeniser(both.folder)).assert_equal(lines)


def test_a_long_line_is_cut_into_blocks(both: Both) -> None:
    line = " ".join(f"the {'fox' * (i % 9)}{i}, {i} \u4e2d" for i in range(40_000))
    assert len(line) > 3 * tokenise._BLOCK_BYTES
    both.assert_equal([line, "the end", line[::-1]])


def test_a_block_without_a_space_is_one_word(both: Both) -> None:
    both.assert_equal(["\u4e2d" * (tokenise._BLOCK_BYTES // 3 + 10), "a" * 300_000, "fox"])


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_are_wide_enough_for_the_vocabulary(tmp_path: Path, size: int, dtype: type) -> None:
    words = [f"w{i}" for i in range(size - len(TOKENS))]
    write_vocabulary(tmp_path, [*TOKENS, *words], lowercase=True)
    ids, _ = Tokeniser(tmp_path).sentences([f"{words[-1]} fox"])
    assert ids.tolist() == [size - 1, TOKENS.index("fox")]
    assert ids.dtype == dtype


def test_seventy_thousand_tokens_equal_the_library(tmp_path: Path) -> None:
    words = [f"{i:x}z" for i in range(70_000 - len(TOKENS))]
    write_vocabulary(tmp_path, [*TOKENS, *words], lowercase=True)
    both = Both(tmp_path, Tokeniser(tmp_path), load_tokenizer(tmp_path))
    both.assert_equal([" ".join(words[i::50]) for i in range(50)])
