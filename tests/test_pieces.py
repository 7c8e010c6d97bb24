import bz2
import gzip
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text import pieces
from bert.text.pieces import (
    AFTER_ANY_BLANK_LINE,
    AFTER_ANY_LINE,
    AFTER_BLANK_LINE,
    AFTER_LINE,
    PieceError,
    check_size,
    cut_file,
    read_whole,
)

ENDS = [AFTER_LINE, AFTER_BLANK_LINE, AFTER_ANY_LINE, AFTER_ANY_BLANK_LINE]
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}


def cut(path, ends, piece_bytes):
    return list(cut_file(path, "a/b", ends=ends, piece_bytes=piece_bytes))


def line_number(data, position, ends):
    any_line = rb"\r\n|\n|\r" if ends in (AFTER_ANY_LINE, AFTER_ANY_BLANK_LINE) else rb"\n"
    return 1 + len(re.findall(any_line, data[:position]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.text(alphabet="ab \t\r\n", max_size=60).map(str.encode),
    st.sampled_from(ENDS),
    st.integers(1, 20),
)
def test_pieces_are_the_file_and_know_their_first_line(data, ends, piece_bytes):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(data)
        found = cut(path, ends, piece_bytes)
        assert b"".join(piece.read() for piece in found) == data
    for piece in found:
        assert piece.first_line == line_number(data, piece.start, ends)
        assert piece.content is None or not data
    for piece in found[1:]:  # never between the two bytes of one line end
        assert data[piece.start - 1 : piece.start] in (b"\n", b"\r")
        assert data[piece.start - 1 : piece.start + 1] != b"\r\n"


@pytest.mark.parametrize("ending", PACK)
def test_a_compressed_file_is_cut_like_a_plain_one(tmp_path, ending):
    data = b"".join(b"line %d\n\n" % n for n in range(1000))
    (tmp_path / "f").write_bytes(data)
    # Two streams end to end, as `cat a.gz b.gz` makes them.
    (tmp_path / f"f{ending}").write_bytes(PACK[ending](data[:3000]) + PACK[ending](data[3000:]))
    plain = cut(tmp_path / "f", AFTER_BLANK_LINE, 100)
    packed = cut(tmp_path / f"f{ending}", AFTER_BLANK_LINE, 100)
    assert [p.read() for p in packed] == [p.read() for p in plain]
    assert [p[2:5] for p in packed] == [p[2:5] for p in plain]
    assert len(plain) > 50


def test_an_empty_file_is_one_empty_piece(tmp_path):
    (tmp_path / "f").touch()
    (piece,) = cut(tmp_path / "f", AFTER_LINE, 10)
    assert (piece.read(), piece.start, piece.size, piece.first_line) == (b"", 0, 0, 1)


def test_a_line_longer_than_a_piece_stays_whole(tmp_path):
    data = b"x" * 10_000_000 + b"\nend\n"
    (tmp_path / "f").write_bytes(data)
    assert [p.size for p in cut(tmp_path / "f", AFTER_LINE, 1000)] == [10_000_001, 4]


def test_what_is_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_LARGEST", 1 << 20)
    (tmp_path / "f").write_bytes(b"x" * (3 << 20))
    with pytest.raises(PieceError, match=r"f has no end of a document in 1 MiB.*how documents"):
        cut(tmp_path / "f", AFTER_LINE, 1000)
    with pytest.raises(PieceError, match=r"a/f has more than 1 MiB; expected files"):
        read_whole(tmp_path / "f", "a/f")
    check_size("a", 1 << 20)
