from pathlib import Path

import pytest

from bert.data import coverage as coverage_module
from bert.data.coverage import coverage, sample
from bert.data.tokenise import Tokeniser
from bert.data.vocab import load_vocabulary, write_vocabulary
from tests.test_bytelevel import BYTES, MERGES
from tests.test_wordpiece import TOKENS, write_text


def test_shares_by_hand(tmp_path: Path) -> None:
    text = "fox jumps\n\nzebra, fox\n"
    sources = {"a": write_text(tmp_path / "a.txt", text), "b": write_text(tmp_path / "b.txt", "a")}
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    found = coverage(sources, Tokeniser(tmp_path), load_vocabulary(tmp_path), 1)
    # The tokens are fox, jump, ##s, [UNK], the comma and fox.
    assert found["a"] == {
        "bytes": 22,
        "words": 4,
        "tokens": 6,
        "unknown_share": 1 / 6,
        "continuation_share": 1 / 6,
        "tokens_per_word": 1.5,
        "tokens_per_byte": 6 / 22,
    }
    assert found["b"]["tokens"] == found["b"]["words"] == found["b"]["bytes"] == 1


def test_bytes_know_every_word(tmp_path: Path) -> None:
    sources = {"a": write_text(tmp_path / "a.txt", "the n\u00e9\n")}
    write_vocabulary(tmp_path, BYTES, lowercase=True, merges=MERGES)
    found = coverage(sources, Tokeniser(tmp_path), load_vocabulary(tmp_path), 1)["a"]
    # The tokens are a space with "the", a space, "n", and the two bytes of the last letter.
    assert (found["tokens"], found["unknown_share"], found["continuation_share"]) == (5, 0, 0.6)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, 1000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_small_file_is_read_whole_and_no_line_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, end: str
) -> None:
    monkeypatch.setattr(coverage_module, "_PIECE_BYTES", 64)
    lines = "\n".join(f"{i} " + "x" * (i * 7 % 200) for i in range(count)) + end
    file = write_text(tmp_path / "text", lines)
    assert b"".join(sample(file, 1 << 20)).decode() == lines


def test_a_large_file_is_read_at_equal_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage_module, "_PIECE_BYTES", 100)
    lines = [f"{i:04d}" for i in range(2000)]  # 10,000 bytes
    file = write_text(tmp_path / "text", "\n".join(lines) + "\n")
    found = list(sample(file, 1000))
    assert [piece[:4] for piece in found] == [f"{i:04d}".encode() for i in range(0, 2000, 200)]
    assert all(len(piece) == 100 for piece in found)


def test_an_empty_source_divides_by_nothing(tmp_path: Path) -> None:
    sources = {"a": write_text(tmp_path / "a.txt", "")}
    write_vocabulary(tmp_path, TOKENS, lowercase=True)
    found = coverage(sources, Tokeniser(tmp_path), load_vocabulary(tmp_path), 1)["a"]
    assert set(found.values()) == {0}
