import re
from pathlib import Path

import pytest

from bert.fetch.checksums import (
    ChecksumError,
    Expected,
    bare_checksum,
    checksum_line,
    digest_file,
    read_checksums,
)
from tests.web import md5, sha1, sha256


def test_lists_of_md5sum_openssl_and_bsd_are_read(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 2
    lines = [f"{digest}  a b", f"{digest} *b", f"MD5(c)= {digest}", f"MD5 (d) = {digest}"]
    (tmp_path / "list").write_text("\n".join(lines) + "\n")
    assert read_checksums(tmp_path / "list") == dict.fromkeys(("a b", "b", "c", "d"), digest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no file"),
        ("not a list\n", "line 1 is 'not a list'"),
        (f"{'0' * 32}  a\n{'1' * 32}  ./a\n", "line 2: a is listed twice"),
        (f"{'0' * 41}  a\n", "expected `<md5, sha1 or sha256>"),
    ],
)
def test_a_bad_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ChecksumError, match=re.escape(message)):
        read_checksums(tmp_path / "list")


def test_digests_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = b"x" * ((1 << 20) + 7)
    (tmp_path / "f").write_bytes(data)
    found = digest_file(tmp_path / "f", ["md5", "sha1"])
    assert found == (len(data), sha256(data), md5(data), sha1(data))
    assert digest_file(tmp_path / "f", []) == (len(data), sha256(data), None, None)


def test_the_length_of_a_digest_tells_its_algorithm(tmp_path: Path) -> None:
    digests = [md5(b"a"), sha1(b"a"), sha256(b"a")]
    (tmp_path / "list").write_text("".join(f"{d}  {len(d)}\n" for d in digests))
    assert read_checksums(tmp_path / "list") == {
        "32": digests[0],
        "40": digests[1],
        "64": digests[2],
    }
    (tmp_path / "a").write_bytes(b"a")
    for digest in digests:
        expected = Expected().with_digest(digest)
        assert expected.mismatches(expected.digest(tmp_path / "a")) == []
        wrong = Expected().with_digest("0" * len(digest))
        assert len(wrong.mismatches(wrong.digest(tmp_path / "a"))) == 1


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"{md5(b'a')}\n", md5(b"a")),
        (f"MD5(pubmed26n0001.xml.gz)= {md5(b'a')}\n", md5(b"a")),
        (f"MD5 (a.gz) = {md5(b'a').upper()}", md5(b"a")),
        (f"SHA2-256(a.gz)= {sha256(b'a')}\n\n", sha256(b"a")),
        (f"{sha1(b'a')}  a.gz\n", sha1(b"a")),
        (f"{sha1(b'a')}  a.gz\n{sha1(b'a')}  b.gz\n", None),
        ("<html>not found</html>", None),
        ("", None),
    ],
)
def test_the_checksum_file_of_one_file_has_one_checksum(text: str, digest: str | None) -> None:
    assert bare_checksum(text) == digest


def test_other_lines_are_no_checksum() -> None:
    for line in ("", "a", "md5  a", f"{'g' * 32}  a", f"{'0' * 32}", f"{'0' * 32}   ", "MD5()= 0"):
        assert checksum_line(line) is None
