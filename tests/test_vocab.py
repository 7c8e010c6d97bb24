import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert.config import ConfigError
from bert.data.bytelevel import Merge, read_vocab_and_merges
from bert.data.train_bytelevel import train_byte_level
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab import (
    Lexicon,
    load_vocabulary,
    read_given,
    warn_of_case,
    write_vocabulary,
)
from bert.data.vocab_config import (
    ByteLevelVocab,
    GivenVocab,
    VocabError,
    WordPieceVocab,
    load_vocab_config,
)
from bert.data.wordpiece import SPECIAL_TOKENS
from bert.manifest import ROOT, read_manifest, sha256_file, write_manifest
from tests.test_bytelevel import BYTES, MERGES, byte_level_files
from tests.test_train_bytelevel import byte_level_settings
from tests.test_train_wordpiece import random_text, settings
from tests.test_wordpiece import TOKENS, vocab_file, write_text

# Which files are read


def test_the_vocabulary_is_the_only_file_or_the_one_of_that_name(tmp_path: Path) -> None:
    uncased = vocab_file(tmp_path).rename(tmp_path / "uncased.txt")
    assert read_given([uncased]) == ((TOKENS, None), [uncased])
    named = vocab_file(tmp_path / "m")
    other = write_text(tmp_path / "m" / "tokenizer.json", "{}")
    assert read_given([other, named]) == ((TOKENS, None), [named])


def test_byte_level_files_are_found_among_others(tmp_path: Path) -> None:
    files = byte_level_files(tmp_path)
    write_vocabulary(tmp_path / "whole", BYTES, lowercase=False, merges=MERGES)
    whole = tmp_path / "whole" / "tokenizer.json"
    readme = write_text(tmp_path / "README.md", "")
    assert read_given([readme, *files]) == ((BYTES, MERGES), files)
    assert read_given([readme, *files, whole]) == ((BYTES, MERGES), [whole])
    assert read_given([whole]) == ((BYTES, MERGES), [whole])


def test_an_item_without_one_vocabulary_is_refused(tmp_path: Path) -> None:
    vocab, merges = byte_level_files(tmp_path)
    two = [vocab_file(tmp_path / name) for name in "ab"]
    for bad in ([], two, [vocab], [merges], [vocab, tmp_path / "README.md"]):
        with pytest.raises(VocabError, match=f"item of {len(bad)} files"):
            read_given(bad)


@pytest.mark.parametrize(
    ("words", "merges", "lowercase", "message"),
    [
        (["The", "the"], None, True, "is true, but 50 % of the tokens have capitals"),
        (["fox", "the"], None, False, "no token has a capital"),
        (["\u0120fox", "\u00c3\u0120"], MERGES, True, ""),
        (["\u0120fox", "\u0120The"], MERGES, False, ""),
        (["\u0120fox", "\u00c3\u0120"], MERGES, False, "no token has a capital"),
        (["fox", "the"], None, True, ""),
        (["The", "the"], None, False, ""),
    ],
)
def test_capitals_that_do_not_fit_the_configuration_are_warned_of(
    words: list[str],
    merges: list[Merge] | None,
    lowercase: bool,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    warn_of_case(Lexicon([*SPECIAL_TOKENS, *words], merges), lowercase)
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


# Written and loaded


def test_a_written_vocabulary_is_loaded_with_all_its_facts(tmp_path: Path) -> None:
    paths = write_vocabulary(tmp_path, TOKENS, lowercase=False)
    assert sorted(p.name for p in paths) == ["tokenizer.json", "vocab.txt"]
    data = ("\n".join(TOKENS) + "\n").encode()
    assert (tmp_path / "vocab.txt").read_bytes() == data
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.kind == "wordpiece"
    assert vocabulary.tokens == tuple(TOKENS)
    assert vocabulary.size == len(TOKENS)
    assert vocabulary.lowercase is False
    assert vocabulary.sha256 == sha256(data).hexdigest()
    ids = [vocabulary.pad_id, vocabulary.unk_id, vocabulary.cls_id]
    assert [*ids, vocabulary.sep_id, vocabulary.mask_id] == [0, 3, 4, 5, 6]
    assert vocabulary.special_ids == {0, 3, 4, 5, 6}
    assert vocabulary.special_tokens["mask"] == "[MASK]"
    assert vocabulary.is_continuation.dtype == np.bool_
    pieces = [TOKENS[i] for i in np.flatnonzero(vocabulary.is_continuation)]
    assert pieces == ["##s", "##ed", "##believ", "##able", "##un", "##a", "##b", "##c", "##e"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_byte_level_vocabulary_is_loaded_with_all_its_facts(
    tmp_path: Path, lowercase: bool
) -> None:
    paths = write_vocabulary(tmp_path, BYTES, lowercase, MERGES)
    assert sorted(p.name for p in paths) == ["merges.txt", "tokenizer.json", "vocab.json"]
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.kind == "bytelevel"
    assert vocabulary.tokens == tuple(BYTES)
    assert vocabulary.lowercase is lowercase
    roles = ["cls", "pad", "sep", "unk", "mask"]
    assert [getattr(vocabulary, f"{role}_id") for role in roles] == [0, 1, 2, 3, 4]
    tokens = [vocabulary.special_tokens[role] for role in roles]
    assert tokens == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    starts = [t for t, c in zip(BYTES, vocabulary.is_continuation, strict=True) if not c]
    assert starts == [*tokens, "\u0120", "\u0120t", "\u0120the"]
    assert read_vocab_and_merges(tmp_path / "vocab.json", tmp_path / "merges.txt")[0] == BYTES


@pytest.mark.parametrize("merges", [None, MERGES])
def test_the_written_files_do_not_depend_on_the_folder(tmp_path: Path, merges: Any) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        tokens = TOKENS if merges is None else BYTES
        files = write_vocabulary(tmp_path / name, tokens, lowercase=True, merges=merges)
    for file in files:
        assert (tmp_path / "a" / file.name).read_bytes() == file.read_bytes()


def test_a_bad_vocabulary_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match="more than once"):
        write_vocabulary(tmp_path, [*TOKENS, "fox"], lowercase=True)
    with pytest.raises(VocabError, match="more than once"):
        write_vocabulary(tmp_path, [*BYTES, "e"], lowercase=True, merges=MERGES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
def test_a_missing_file_names_its_rule(tmp_path: Path, name: str) -> None:
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; the rule `vocab`"):
        load_vocabulary(tmp_path)


def test_files_of_different_vocabularies_are_refused(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    vocab_file(tmp_path, [*TOKENS, "cat"])
    with pytest.raises(VocabError, match="hold different tokens"):
        load_vocabulary(tmp_path)
    (tmp_path / "b").mkdir()
    write_vocabulary(tmp_path / "b", BYTES, lowercase=True, merges=MERGES)
    byte_level_files(tmp_path / "b", merges=MERGES[:1])
    with pytest.raises(VocabError, match=r"vocab\.json and merges\.txt and tokenizer\.json hold"):
        load_vocabulary(tmp_path / "b")


# Configuration and script


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "given", "raw": "v", "coverage_megabytes": 1}, "vocab.lowercase is missing"),
        ({"kind": "given", "raw": "", "lowercase": True}, "vocab.raw is"),
        ({"kind": "bpe"}, "vocab is .*'given', 'wordpiece', 'bytelevel'"),
        (settings().model_dump() | {"size": 5}, "vocab.size is 5"),
        (settings().model_dump() | {"min_frequency": 0}, "vocab.min_frequency is 0"),
        (settings().model_dump() | {"limit_alphabet": 0}, "vocab.limit_alphabet is 0"),
        (settings().model_dump() | {"coverage_megabytes": 0}, "vocab.coverage_megabytes is 0"),
        (settings().model_dump() | {"sise": 5}, "vocab.sise is not .* `size`"),
        (byte_level_settings().model_dump() | {"size": 261}, "vocab.size is 261"),
    ],
)
def test_a_bad_section_is_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_vocab_config(write_text(tmp_path / "vocab.json", json.dumps(values)))


GIVEN = GivenVocab(kind="given", raw="v", lowercase=True, coverage_megabytes=1)


def test_all_kinds_of_section_are_read(tmp_path: Path) -> None:
    for section in (GIVEN, settings(), byte_level_settings()):
        file = write_text(tmp_path / "vocab.json", section.model_dump_json())
        assert load_vocab_config(file) == section


def run_script(
    folder: Path, section: GivenVocab | WordPieceVocab | ByteLevelVocab, *source: str
) -> subprocess.CompletedProcess[str]:
    """Runs the stage on a source `s` of three words."""
    extracted = folder / "extract" / "s"
    write_manifest(
        extracted / "manifest.json",
        stage="extract",
        config={},
        inputs={},
        counts={"documents": 1},
        outputs=[
            write_text(extracted / "documents.txt", "fox jumps zebra\n"),
            write_text(extracted / "names.txt", "a\n"),
        ],
    )
    write_text(folder / "vocab.json", section.model_dump_json())
    command = [sys.executable, str(ROOT / "scripts" / "vocab.py"), "--config", "vocab.json"]
    command += [*source, "--extract", "extract/s/manifest.json"]
    command += ["--output", "vocab", "--log", "vocab.log"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_script_takes_a_given_vocabulary_and_measures_it(tmp_path: Path) -> None:
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
    done = run_script(tmp_path, GIVEN, "--given", "fetch.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vocab" / "vocab.txt").read_bytes() == raw.read_bytes()
    receipt = read_manifest(tmp_path / "vocab" / "manifest.json", stage="vocab")
    assert receipt["inputs"]["vocab.txt"] == sha256_file(raw)
    assert "s/documents.txt" in receipt["inputs"]
    assert receipt["counts"] == {"tokens": len(TOKENS), "continuations": 9}
    # The tokens are fox, jump, ##s and [UNK].
    expected = {
        "bytes": 16,
        "words": 3,
        "tokens": 4,
        "unknown_share": 0.25,
        "continuation_share": 0.25,
        "tokens_per_word": 4 / 3,
        "tokens_per_byte": 0.25,
    }
    assert receipt["statistics"] == {"coverage": {"s": expected}}
    assert json.loads((tmp_path / "vocab" / "coverage.json").read_text()) == {"s": expected}
    assert load_vocabulary(tmp_path / "vocab").lowercase is True
    wrong = run_script(tmp_path, GIVEN, "--split", "split.json")
    assert wrong.stderr.startswith("ERROR vocab.kind is given; expected --given")


@pytest.mark.parametrize("section", [settings(), byte_level_settings()], ids=lambda s: s.kind)
def test_the_script_trains_on_the_parts_and_never_reads_the_held_out_text(
    tmp_path: Path, section: WordPieceVocab | ByteLevelVocab
) -> None:
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
    done = run_script(tmp_path, section, "--split", "split/manifest.json")
    assert done.returncode == 0, done.stderr
    vocabulary = load_vocabulary(tmp_path / "vocab")
    if isinstance(section, WordPieceVocab):
        assert list(vocabulary.tokens) == train_wordpiece(parts, section)[0]
        assert not {"x", "y", "z"} & set(vocabulary.tokens)
    else:
        assert list(vocabulary.tokens) == train_byte_level(parts, section)[0]
        assert not {"xy", "zz", "\u0120x"} & set(vocabulary.tokens)
    receipt = read_manifest(tmp_path / "vocab" / "manifest.json", stage="vocab")
    digests = {part.name: sha256_file(part) for part in parts}
    assert digests.items() <= receipt["inputs"].items()
    assert held_out.name not in receipt["inputs"]
    assert receipt["counts"]["tokens"] == vocabulary.size
