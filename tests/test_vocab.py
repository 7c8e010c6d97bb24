import json
import os
import random
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import BertTokenizerFast

from bert.config import ConfigError
from bert.data.vocab import (
    SPECIAL_TOKENS,
    GivenVocab,
    VocabError,
    WordPieceVocab,
    choose_vocab_file,
    is_continuation,
    load_vocab_config,
    load_vocabulary,
    make_tokenizer,
    parse_tokens,
    text_rules,
    warn_of_case,
    write_vocabulary,
)
from bert.data.wordpiece import continuations, count_characters, train_wordpiece
from bert.manifest import ROOT, read_manifest, sha256_file, write_manifest

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


# A given vocabulary


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
    ("words", "lowercase", "message"),
    [
        (["The", "the"], True, "is true, but 50 % of the tokens have capitals"),
        (["fox", "the"], False, "no token has a capital"),
        (["fox", "the"], True, ""),
        (["The", "the"], False, ""),
    ],
)
def test_capitals_that_do_not_fit_the_configuration_are_warned_of(
    words: list[str], lowercase: bool, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_case([*SPECIAL_TOKENS, *words], lowercase)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


def test_the_vocabulary_is_the_only_file_or_the_one_of_that_name() -> None:
    assert choose_vocab_file([Path("a/uncased.txt")]) == Path("a/uncased.txt")
    files = [Path("m/config.json"), Path("m/vocab.txt")]
    assert choose_vocab_file(files) == Path("m/vocab.txt")
    for bad in ([], files[:1] * 2, [Path("a/vocab.txt"), Path("b/vocab.txt")]):
        with pytest.raises(VocabError, match=f"item of {len(bad)} files"):
            choose_vocab_file(bad)


# Written and loaded


def test_a_written_vocabulary_is_loaded_with_all_its_facts(tmp_path: Path) -> None:
    paths = write_vocabulary(tmp_path, TOKENS, lowercase=False)
    assert sorted(p.name for p in paths) == ["tokenizer.json", "vocab.txt"]
    data = ("\n".join(TOKENS) + "\n").encode()
    assert (tmp_path / "vocab.txt").read_bytes() == data
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.tokens == tuple(TOKENS)
    assert vocabulary.size == len(TOKENS)
    assert vocabulary.lowercase is False
    assert vocabulary.sha256 == sha256(data).hexdigest()
    ids = [vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id]
    assert [*ids, vocabulary.sep_id, vocabulary.mask_id] == [0, 3, 4, 5, 6]
    assert vocabulary.special_ids == {0, 3, 4, 5, 6}
    assert vocabulary.is_continuation.dtype == np.bool_
    pieces = [TOKENS[i] for i in np.flatnonzero(vocabulary.is_continuation)]
    assert pieces == ["##s", "##ed", "##believ", "##able", "##un", "##a", "##b", "##c", "##e"]


def test_the_written_files_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_vocabulary(tmp_path / name, TOKENS, lowercase=True)
    for file in ("vocab.txt", "tokenizer.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_bad_vocabulary_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match="more than once"):
        write_vocabulary(tmp_path, [*TOKENS, "fox"], lowercase=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
def test_a_missing_file_names_its_rule(tmp_path: Path, name: str) -> None:
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; the rule `vocab`"):
        load_vocabulary(tmp_path)


def test_two_files_of_different_vocabularies_are_refused(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    vocab_file(tmp_path, [*TOKENS, "cat"])
    with pytest.raises(VocabError, match="hold different tokens"):
        load_vocabulary(tmp_path)


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


def reference(file: Path, lowercase: bool, split_special_tokens: bool) -> Any:
    return BertTokenizerFast(
        vocab=str(file), do_lower_case=lowercase, split_special_tokens=split_special_tokens
    )


@pytest.mark.parametrize("literal", [True, False])
def test_ids_segments_and_offsets_equal_those_of_transformers(
    tmp_path: Path, lowercase: bool, literal: bool
) -> None:
    file = vocab_file(tmp_path)
    ours, theirs = make_tokenizer(file, lowercase), reference(file, lowercase, literal)
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
    file = vocab_file(tmp_path)
    ours, theirs = make_tokenizer(file, lowercase), reference(file, lowercase, False)
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
    tokenizer = make_tokenizer(vocab_file(tmp_path), True)
    tokens = tokenizer.encode("Unbelievable foxy jumped, a中b!").tokens
    assert tokens == [
        *("[CLS]", "un", "##believ", "##able", "[UNK]", "jump", "##ed", ",", "a", "中", "b"),
        *("!", "[SEP]"),
    ]


def test_text_that_spells_a_special_token_is_text(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(vocab_file(tmp_path), True)
    special = {TOKENS.index(token) for token in SPECIAL_TOKENS if token != "[UNK]"}
    for sentence in SENTENCES:
        for batch in (tokenizer.encode_batch, tokenizer.encode_batch_fast):
            (encoding,) = batch([sentence], add_special_tokens=False)
            assert not special & set(encoding.ids)
    assert tokenizer.encode("[SEP]", add_special_tokens=False).tokens == ["[", "[UNK]", "]"]


# A trained vocabulary


def settings(**changes: Any) -> WordPieceVocab:
    values = {"size": 120, "lowercase": True, "min_frequency": 2, "limit_alphabet": 1000}
    return WordPieceVocab(kind="wordpiece", **(values | changes))


def naive_wordpiece(words: Counter[str], fixed: list[str], size: int, least: int) -> list[str]:
    """The same training by recounting all pairs at every step; ties go to the older pieces."""
    tokens = list(fixed)
    known = set(tokens)
    texts = [
        (["##" * (i > 0) + c for i, c in enumerate(word) if c in known], n)
        for word, n in words.items()
    ]
    while len(tokens) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for pieces, count in texts:
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs or max(pairs.values()) < least:
            break
        ids = {token: i for i, token in enumerate(tokens)}
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        merged = best[0] + best[1].removeprefix("##")
        tokens += [merged] if merged not in ids else []
        for pieces, _ in texts:
            for i in reversed(range(len(pieces) - 1)):
                if tuple(pieces[i : i + 2]) == best:
                    pieces[i : i + 2] = [merged]
    return tokens


def random_text(seed: int, alphabet: str = "abcdef") -> str:
    """Few letters and few words, so that many pairs are equally frequent."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 8))) for _ in range(30)]
    return " ".join(rng.choices(words, k=200)) + " .\n"


@pytest.mark.parametrize("seed", range(12))
def test_training_equals_the_naive_algorithm_with_ordered_ties(tmp_path: Path, seed: int) -> None:
    # Letters that do not repeat within a word leave no two readings of "aaa".
    rng = random.Random(seed)
    words = ["".join(rng.sample("abcdefgh", k=rng.randint(1, 8))) for _ in range(30)]
    text = " ".join(rng.choices(words, k=200))
    part = write_text(tmp_path / "part", text)
    tokens, counts = train_wordpiece([part], settings(size=90))
    fixed = tokens[: len(tokens) - counts["merges"]]
    assert tokens == naive_wordpiece(Counter(text.split()), fixed, 90, 2)


def test_the_order_is_special_tokens_characters_continuations_merges(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "the theme then 中 , the\n\nThé\n")
    tokens, counts = train_wordpiece([part], settings(size=26))
    assert tokens == [
        *SPECIAL_TOKENS,
        *(",", "e", "h", "m", "n", "t", "中"),
        *("##e", "##h", "##m", "##n", "##t"),
        *("th", "the"),
    ]
    assert counts == {
        "tokens": 19,
        "merges": 2,
        "distinct_characters": 7,
        "characters_kept": 7,
        "occurrences_not_kept": 0,
    }


TRAIN = """
import sys
from pathlib import Path
from bert.data.vocab import WordPieceVocab
from bert.data.wordpiece import train_wordpiece
parts = [Path(p) for p in sys.argv[1:]]
config = WordPieceVocab(
    kind="wordpiece", size=400, lowercase=True, min_frequency=1, limit_alphabet=12
)
print("\\n".join(train_wordpiece(parts, config)[0]))
"""


def test_the_same_bytes_in_every_process_with_any_threads_and_hash_seed(tmp_path: Path) -> None:
    parts = [
        str(write_text(tmp_path / f"{i}", random_text(i, "abcdefghijklmnop"))) for i in range(3)
    ]
    found = set()
    for changes in (
        {"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"RAYON_NUM_THREADS": "7", "PYTHONHASHSEED": "2"},
        {"TOKENIZERS_PARALLELISM": "false"},
        {"TOKENIZERS_PARALLELISM": "true"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, *parts],
            env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
            capture_output=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_equally_frequent_characters_at_the_limit_are_kept_by_code_point(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "zz y x w v u b a\n" * 3)
    for _ in range(5):
        tokens, counts = train_wordpiece([part], settings(limit_alphabet=3))
        assert tokens[5:8] == ["a", "b", "z"]
        assert counts["distinct_characters"] == 8
        assert counts["characters_kept"] == 3
        assert counts["occurrences_not_kept"] == 15


def test_characters_are_counted_as_the_tokenizer_will_see_them(
    tmp_path: Path, lowercase: bool
) -> None:
    text = "\n".join([*SENTENCES, "ΑΣ ΌΣΟΣ İstanbul ﬁ 한국 e\u0301 \u0345 Å\u0301"]).replace(
        "\r", " "
    )
    part = write_text(tmp_path / "part", text)
    cleaned = text_rules(lowercase)[0].normalize_str(text)
    expected = Counter(character for character in cleaned if not character.isspace())
    assert count_characters([part], lowercase) == expected


def test_only_characters_that_can_stand_inside_a_word_continue_one() -> None:
    assert continuations(list("a1ß한,中。$"), lowercase=True) == ["##a", "##1", "##ß", "##한"]


def test_every_word_of_the_training_text_is_known(tmp_path: Path) -> None:
    text = random_text(3)
    tokens, _ = train_wordpiece([write_text(tmp_path / "part", text)], settings())
    write_vocabulary(tmp_path, tokens, lowercase=True)
    encoding = make_tokenizer(tmp_path / "vocab.txt", True).encode(text)
    assert "[UNK]" not in encoding.tokens


def test_a_corpus_too_small_for_the_size_gives_less_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = write_text(tmp_path / "part", "ab ab\n")
    tokens, _ = train_wordpiece([part], settings(size=50))
    assert tokens == [*SPECIAL_TOKENS, "a", "b", "##a", "##b", "ab"]
    assert "has 10 tokens, vocab.size is 50" in caplog.text


def test_an_alphabet_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    part = write_text(tmp_path / "part", "abc\n")
    with pytest.raises(VocabError, match=r"size is 11, but .* 3 characters, .* take 11\. Set"):
        train_wordpiece([part], settings(size=11))


def test_parts_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match="1 text parts hold no character"):
        train_wordpiece([write_text(tmp_path / "part", "\n \n")], settings())


# Configuration and script


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "given", "raw": "v"}, "vocab.lowercase is missing"),
        ({"kind": "given", "raw": "", "lowercase": True}, "vocab.raw is"),
        ({"kind": "bpe"}, "vocab is .*'given', 'wordpiece'"),
        (settings().model_dump() | {"size": 5}, "vocab.size is 5"),
        (settings().model_dump() | {"min_frequency": 0}, "vocab.min_frequency is 0"),
        (settings().model_dump() | {"limit_alphabet": 0}, "vocab.limit_alphabet is 0"),
        (settings().model_dump() | {"sise": 5}, "vocab.sise is not .* `size`"),
    ],
)
def test_a_bad_section_is_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_vocab_config(write_text(tmp_path / "vocab.json", json.dumps(values)))


def test_both_kinds_of_section_are_read(tmp_path: Path) -> None:
    given = GivenVocab(kind="given", raw="v", lowercase=True)
    for section in (given, settings()):
        file = write_text(tmp_path / "vocab.json", section.model_dump_json())
        assert load_vocab_config(file) == section


def run_script(
    folder: Path, section: GivenVocab | WordPieceVocab, *source: str
) -> subprocess.CompletedProcess[str]:
    write_text(folder / "vocab.json", section.model_dump_json())
    command = [sys.executable, str(ROOT / "scripts" / "vocab.py"), "--config", "vocab.json"]
    command += [*source, "--output", "vocab", "--log", "vocab.log"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_script_takes_a_given_vocabulary(tmp_path: Path) -> None:
    raw = vocab_file(tmp_path / "raw")
    files = [{"path": "raw/vocab.txt", "sha256": "", "bytes": raw.stat().st_size}]
    write_manifest(
        tmp_path / "fetch.json",
        stage="fetch",
        config=[],
        inputs={},
        counts={},
        outputs=[],
        files=files,
    )
    section = GivenVocab(kind="given", raw="v", lowercase=True)
    done = run_script(tmp_path, section, "--given", "fetch.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vocab" / "vocab.txt").read_bytes() == raw.read_bytes()
    receipt = read_manifest(tmp_path / "vocab" / "manifest.json", stage="vocab")
    assert receipt["inputs"] == {"vocab.txt": sha256_file(raw)}
    assert receipt["counts"] == {"tokens": len(TOKENS), "continuations": 9}
    assert load_vocabulary(tmp_path / "vocab").lowercase is True
    wrong = run_script(tmp_path, section, "--split", "split.json")
    assert wrong.stderr.startswith("ERROR vocab.kind is given; expected --given")


def test_the_script_trains_on_the_parts_and_never_reads_the_held_out_text(tmp_path: Path) -> None:
    parts = [
        write_text(tmp_path / "split" / "parts" / f"part-0000{i}-of-00002", random_text(i))
        for i in range(2)
    ]
    held_out = write_text(tmp_path / "split" / "held_out.txt", "xyzzy " * 1000)
    write_manifest(
        tmp_path / "split" / "manifest.json",
        stage="split",
        config={},
        inputs={},
        counts={},
        outputs=[*parts, held_out],
    )
    done = run_script(tmp_path, settings(), "--split", "split/manifest.json")
    assert done.returncode == 0, done.stderr
    vocabulary = load_vocabulary(tmp_path / "vocab")
    assert list(vocabulary.tokens) == train_wordpiece(parts, settings())[0]
    assert not {"x", "y", "z"} & set(vocabulary.tokens)
    receipt = read_manifest(tmp_path / "vocab" / "manifest.json", stage="vocab")
    assert receipt["inputs"] == {part.name: sha256_file(part) for part in parts}
    assert receipt["counts"]["tokens"] == vocabulary.size
