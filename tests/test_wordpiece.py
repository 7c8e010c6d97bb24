from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import BertTokenizerFast

from bert.data.vocab import load_tokenizer, write_vocabulary
from bert.data.vocab_config import VocabError
from bert.data.wordpiece import SPECIAL_TOKENS, is_continuation, parse_tokens

# Like Google's uncased file: [PAD] first, unused entries, the other special tokens, then pieces.
WORDS = (
    "the quick brown fox jump ##s ##ed over lazy dog un ##believ ##able un ##un a b c ##a ##b ##c"
)
PIECES = [*dict.fromkeys(WORDS.split()), *"0123456789.,!?'\"()[]#-:;中国", "e", "##e", "naive", "ß"]
TOKENS = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Unbelievable!  Unun\tjumped\r\nover 12,345 dogs?",
    "NAÏVE naïve e\u0301a Straße ß",
    "中国a中b国",
    "control\x00\x01\u200bs and \ufffd no-break\u00a0spaces\u2028here",
    "a" * 101 + " " + "a" * 100,
    "[SEP] in [MASK]text [unused0] [pad] ## #a",
    "",
    "   ",
    "\U0001f600 emoji ünknown",
    'don\'t (stop)-it "now"; \u2014 \u00bfque?',
]


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def vocab_file(folder: Path, tokens: list[str] | None = None) -> Path:
    return write_text(folder / "vocab.txt", "".join(f"{t}\n" for t in tokens or TOKENS))


# The file


def test_a_vocabulary_is_read_line_by_line_whatever_the_line_ends() -> None:
    for end in ("\n", "\r\n"):
        for last in ("", end, end * 2):
            assert parse_tokens((end.join(TOKENS) + last).encode(), "here") == TOKENS


def test_a_line_separator_of_unicode_is_a_token_like_any_other() -> None:
    tokens = [*SPECIAL_TOKENS, "\u2028", "\u0085", "\u3000"]
    assert parse_tokens("\n".join(tokens).encode(), "here") == tokens


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (
            ["[PAD]", "[unk]", "[cls]", "[sep]", "[mask]", "a"],
            r"here has 6 tokens, but not \[UNK\], \[CLS\], \[SEP\], \[MASK\]; .*"
            r"It has \[unk\], \[cls\], \[sep\], \[mask\] instead: it was lower-cased",
        ),
        (["\ufeff[PAD]", *TOKENS[1:]], r"but not \[PAD\];.*byte order mark"),
        (['{"version": "1.0",', '"model": {}}'], "It is JSON"),
        (TOKENS[:5], r"but not \[SEP\], \[MASK\];.*or it is cut"),
        ([], r"has 1 tokens, but not \[PAD\]"),
        ([*TOKENS[:9], "", *TOKENS[9:]], "line 10 is empty"),
        ([*TOKENS, "fox", "b", "fox"], r"2 tokens .* more than once.* 'fox' \(lines 11, "),
    ],
)
def test_a_bad_vocabulary_is_refused_with_its_likely_cause(tokens: list[str], message: str) -> None:
    with pytest.raises(VocabError, match=message):
        parse_tokens("\n".join(tokens).encode(), "here")


def test_a_vocabulary_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(VocabError, match=r"here: .*expected UTF-8, one token a line"):
        parse_tokens("[PAD]\né".encode("latin-1"), "here")


@pytest.mark.parametrize(
    ("token", "expected"), [("##a", True), ("##", False), ("#", False), ("a##", False)]
)
def test_a_continuation_is_marked_by_two_hashes_before_something(
    token: str, expected: bool
) -> None:
    assert is_continuation(token) is expected


# The tokenizer, against transformers


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def lowercase(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def written_tokenizer(folder: Path, lowercase: bool) -> Tokenizer:
    write_vocabulary(folder, TOKENS, lowercase)
    return load_tokenizer(folder)


def reference(file: Path, lowercase: bool, split_special_tokens: bool) -> Any:
    return BertTokenizerFast(
        vocab=str(file), do_lower_case=lowercase, split_special_tokens=split_special_tokens
    )


@pytest.mark.parametrize("literal", [True, False])
def test_ids_segments_and_offsets_equal_those_of_transformers(
    tmp_path: Path, lowercase: bool, literal: bool
) -> None:
    ours = written_tokenizer(tmp_path, lowercase)
    theirs = reference(tmp_path / "vocab.txt", lowercase, literal)
    ours.encode_special_tokens = literal
    # transformers takes an empty second text for none.
    pairs = [(a, b or None) for a, b in zip(SENTENCES, ["", *SENTENCES[:-1]], strict=True)]
    for first, second in pairs:
        encoding = ours.encode(first, second)
        expected = theirs(first, second, return_offsets_mapping=True)
        assert encoding.ids == expected["input_ids"]
        assert encoding.type_ids == expected["token_type_ids"]
        assert encoding.offsets == expected["offset_mapping"]


def test_decoded_text_equals_that_of_transformers(tmp_path: Path, lowercase: bool) -> None:
    ours = written_tokenizer(tmp_path, lowercase)
    theirs = reference(tmp_path / "vocab.txt", lowercase, False)
    for sentence in SENTENCES:
        ids = ours.encode(sentence).ids
        for skip in (True, False):
            expected = theirs.decode(
                ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
            assert ours.decode(ids, skip_special_tokens=skip) == expected


def test_the_written_tokenizer_file_serves_transformers(tmp_path: Path, lowercase: bool) -> None:
    write_vocabulary(tmp_path, TOKENS, lowercase)
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs = reference(tmp_path / "vocab.txt", lowercase, False)
    for sentence in SENTENCES:
        assert loaded.encode(sentence).ids == theirs(sentence)["input_ids"]


def test_pieces_by_hand(tmp_path: Path) -> None:
    tokenizer = written_tokenizer(tmp_path, True)
    tokens = tokenizer.encode("Unbelievable foxy jumped, a中b!").tokens
    assert tokens == [
        *("[CLS]", "un", "##believ", "##able", "[UNK]", "jump", "##ed", ",", "a", "中", "b"),
        *("!", "[SEP]"),
    ]


def test_text_that_spells_a_special_token_is_text(tmp_path: Path) -> None:
    tokenizer = written_tokenizer(tmp_path, True)
    special = {TOKENS.index(token) for token in SPECIAL_TOKENS if token != "[UNK]"}
    for sentence in SENTENCES:
        for batch in (tokenizer.encode_batch, tokenizer.encode_batch_fast):
            (encoding,) = batch([sentence], add_special_tokens=False)
            assert not special & set(encoding.ids)
    assert tokenizer.encode("[SEP]", add_special_tokens=False).tokens == ["[", "[UNK]", "]"]
