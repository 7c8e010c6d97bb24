import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, RobertaTokenizerFast

from bert.data.bytelevel import (
    SPECIAL_TOKENS,
    Merge,
    is_continuation,
    read_tokenizer_json,
    read_vocab_and_merges,
)
from bert.data.vocab import load_tokenizer, write_vocabulary
from bert.data.vocab_config import VocabError

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES: list[Merge] = [("\u0120", "t"), ("h", "e"), ("\u0120t", "he")]
BYTES = [*SPECIAL_TOKENS, *ALPHABET, "\u0120t", "he", "\u0120the"]
SENTENCES = [
    "the theme, then the end.",
    "The  the\tthe ",
    "it's 'she' 12,345 na\u00efve \u4e2d\u56fd \U0001f600",
    "\u00a0 \u2003 the \u3000",
    "</s> in <mask>text",
    "",
    " ",
]


def byte_level_files(
    folder: Path, tokens: list[str] = BYTES, merges: list[Merge] = MERGES
) -> list[Path]:
    """vocab.json and merges.txt, and an empty folder `whole`."""
    (folder / "whole").mkdir(parents=True, exist_ok=True)
    files = [folder / "vocab.json", folder / "merges.txt"]
    files[0].write_text(json.dumps({token: i for i, token in enumerate(tokens)}), "utf-8")
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    files[1].write_text("\n".join(lines) + "\n", "utf-8")
    return files


def test_pieces_by_hand_and_a_space_before_the_first_word(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=True, merges=MERGES)
    tokenizer = load_tokenizer(tmp_path)
    found = tokenizer.encode("The then the", "He")
    parts = ["<s>", "\u0120the", "\u0120the", "n", "\u0120the", "</s>"]
    assert found.tokens == [*parts, "\u0120", "he", "</s>"]
    assert found.type_ids == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    # Without the space before it, which SQuAD's answers must not hold.
    assert found.offsets[1:5] == [(0, 3), (4, 7), (7, 8), (9, 12)]


def test_ids_and_offsets_equal_those_of_transformers(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=False, merges=MERGES)
    ours = load_tokenizer(tmp_path)
    theirs = RobertaTokenizerFast(
        vocab=str(tmp_path / "vocab.json"),
        merges=str(tmp_path / "merges.txt"),
        add_prefix_space=True,
        split_special_tokens=True,
    )
    for sentence in SENTENCES:
        encoding, expected = ours.encode(sentence), theirs(sentence, return_offsets_mapping=True)
        assert encoding.ids == expected["input_ids"]
        assert encoding.offsets == expected["offset_mapping"]


def test_text_comes_back_from_its_ids(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=False, merges=MERGES)
    tokenizer = load_tokenizer(tmp_path)
    for sentence in filter(str.strip, SENTENCES):
        ids = tokenizer.encode(sentence, add_special_tokens=False).ids
        assert tokenizer.decode(ids).removeprefix(" ") == sentence.removeprefix(" ")


def test_older_and_newer_tokenizer_files_are_read(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=False, merges=MERGES)
    file = tmp_path / "tokenizer.json"
    assert read_tokenizer_json(file) == (BYTES, MERGES)
    values = json.loads(file.read_text("utf-8"))
    values["model"]["merges"] = [" ".join(merge) for merge in MERGES]
    del values["model"]["vocab"]["<mask>"]  # as an added token only
    file.write_text(json.dumps(values), "utf-8")
    assert read_tokenizer_json(file) == (BYTES, MERGES)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", {"type": "WordPiece"}, "model.type 'WordPiece'.*expected model.type 'BPE'"),
        ("pre_tokenizer", {"type": "Metaspace"}, "pre_tokenizer.type 'Metaspace'"),
        ("pre_tokenizer", {"type": "ByteLevel", "use_regex": False}, "use_regex False"),
        ("normalizer", {"type": "NFC"}, "normalizer.type 'NFC'; expected normalizer.type None"),
    ],
)
def test_another_kind_of_tokenizer_is_refused(
    tmp_path: Path, key: str, value: dict[str, Any], message: str
) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=False, merges=MERGES)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {key: value}), "utf-8")
    with pytest.raises(VocabError, match=message):
        read_tokenizer_json(file)


@pytest.mark.parametrize(
    ("tokens", "merges", "message"),
    [
        ([t for t in BYTES if t != "<mask>"], MERGES, "has 263 tokens, but not '<mask>'"),
        ([t for t in BYTES if t != "a"], MERGES, "but not 'a' .1 are missing"),
        (BYTES, [*MERGES, ("\u0120the", "n")], "but not '\u0120then'"),
        (BYTES, [("a", "b c")], "'a b c' is no merge"),
    ],
)
def test_bad_files_are_refused(
    tmp_path: Path, tokens: list[str], merges: list[Merge], message: str
) -> None:
    with pytest.raises(VocabError, match=message):
        read_vocab_and_merges(*byte_level_files(tmp_path, tokens, merges))


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        (0, b"<s>\n", r"vocab\.json is not JSON"),
        (0, b"[]", "is JSON, but no object"),
        (0, b'{"a": 0, "b": 2}', "2 tokens do not have the ids 0 to 1"),
        (0, b'{"a": 0, "b": "1"}', "2 tokens do not have the ids 0 to 1"),
        (1, b"\xff", r"merges\.txt: .*expected UTF-8"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, file: int, data: bytes, message: str) -> None:
    files = byte_level_files(tmp_path)
    files[file].write_bytes(data)
    with pytest.raises(VocabError, match=message):
        read_vocab_and_merges(*files)


@pytest.mark.parametrize(
    ("token", "expected"),
    [("\u0120the", False), ("the", True), (",", True), ("\u0120", False), ("<mask>", False)],
)
def test_a_continuation_is_what_has_no_space_before_it(token: str, expected: bool) -> None:
    assert is_continuation(token) is expected


def test_transformers_reads_the_written_files_alone(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, BYTES, lowercase=True, merges=MERGES)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "split_special_tokens": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs, ours = AutoTokenizer.from_pretrained(str(tmp_path)), load_tokenizer(tmp_path)
    for sentence in SENTENCES:
        assert theirs(sentence)["input_ids"] == ours.encode(sentence).ids
