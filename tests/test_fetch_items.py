"""Local files and folders as raw files."""

import re
from pathlib import Path
from typing import Any

import pytest

from bert.fetch.checksums import ChecksumError
from bert.fetch.fetched import FetchError
from bert.fetch.items import fetch
from tests.rawfolders import make_listed
from tests.web import BODY, access, md5, raw, sha256

# Local files and folders


def test_a_local_file_is_used_in_place_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "raw.bin"
    file.write_bytes(BODY)
    before = file.stat()
    checks = {"size": len(BODY), "sha256": sha256(BODY).upper(), "md5": md5(BODY).upper()}
    found = fetch([raw(file, **checks)], tmp_path / "downloads", access())
    assert found.files == [{"path": str(file), "sha256": sha256(BODY), "bytes": len(BODY)}]
    assert found.inputs == {str(file): sha256(BODY)}
    assert found.counts["files"] == 1
    assert found.counts["bytes"] == len(BODY)
    assert found.downloads == []
    assert not (tmp_path / "downloads").exists()
    assert (file.stat().st_mtime_ns, file.stat().st_mode) == (before.st_mtime_ns, before.st_mode)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"size": 9}, "size is 3, expected 9"),
        ({"sha256": "0" * 64}, f"sha256 is {sha256(b'abc')}, expected {'0' * 64}"),
        ({"md5": "0" * 32}, f"md5 is {md5(b'abc')}, expected {'0' * 32}"),
    ],
)
def test_a_wrong_local_file_is_refused_with_both_values(
    tmp_path: Path, checks: dict[str, Any], message: str
) -> None:
    (tmp_path / "raw.bin").write_bytes(b"abc")
    with pytest.raises(FetchError, match=re.escape(message)) as caught:
        fetch([raw(tmp_path / "raw.bin", **checks)], tmp_path, access())
    assert "raw.bin" in str(caught.value)
    assert "get it again" in str(caught.value)


def test_missing_and_empty_local_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="does not exist; expected a file or folder"):
        fetch([raw(tmp_path / "nowhere")], tmp_path, access())
    (tmp_path / "empty").touch()
    with pytest.raises(FetchError, match="it is empty"):
        fetch([raw(tmp_path / "empty")], tmp_path, access())


def test_a_device_is_not_a_raw_file(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="neither a file nor a folder"):
        fetch([raw("/dev/null")], tmp_path, access())


def test_a_folder_lists_its_files_sorted_and_counts_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", ".hidden", ".git/config", "b/.DS_Store"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_text(name)
    found = fetch([raw(tmp_path / "raw")], tmp_path / "downloads", access())
    names = [Path(file["path"]).relative_to(tmp_path / "raw").as_posix() for file in found.files]
    assert names == ["a.txt", "b/1.txt", "b/2.txt"]
    assert found.counts["hidden_skipped"] == 3


def test_the_digest_of_a_folder_depends_on_names_and_bytes_not_on_its_place(
    tmp_path: Path,
) -> None:
    digests = []
    for folder, name, text in (("x", "a", "1"), ("y", "a", "1"), ("z", "b", "1"), ("w", "a", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
        digests += fetch([raw(tmp_path / folder)], tmp_path, access()).inputs.values()
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".hidden").touch()
    with pytest.raises(FetchError, match=r"holds no file \(1 hidden"):
        fetch([raw(tmp_path / "raw")], tmp_path, access())


def test_links_to_folders_and_broken_links_are_refused_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    with pytest.raises(ChecksumError, match="loop is a link to a folder"):
        fetch([raw(tmp_path / "raw")], tmp_path, access())


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "real.txt").write_text("text")
    (tmp_path / "raw" / "link.txt").symlink_to(tmp_path / "real.txt")
    found = fetch([raw(tmp_path / "raw")], tmp_path, access())
    assert found.files[0]["sha256"] == sha256(b"text")


def test_checks_of_a_file_are_refused_for_a_folder_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a").write_text("a")
    with pytest.raises(FetchError, match="is a folder; sha256 is for a file"):
        fetch([raw(tmp_path / "raw", sha256="0" * 64)], tmp_path, access())
    with pytest.raises(FetchError, match="`checksums` and `pattern` are for folders"):
        fetch([raw(tmp_path / "raw" / "a", checksums="x.md5")], tmp_path, access())


def test_a_file_named_by_two_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(FetchError, match="named by two items"):
        fetch([raw(tmp_path / "a"), raw(tmp_path / "." / "a")], tmp_path, access())


def test_every_file_of_a_checksum_list_is_checked_and_the_others_are_counted(
    tmp_path: Path,
) -> None:
    folder = make_listed(tmp_path / "raw")
    found = fetch([raw(folder, checksums="all.md5")], tmp_path, access())
    assert [Path(file["path"]).name for file in found.files] == ["extra", "part-0", "part-1"]
    assert found.counts["listed"] == 2
    assert found.counts["unlisted"] == 1


def test_a_list_beside_the_folder_works_too(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    (folder / "all.md5").rename(tmp_path / "all.md5")
    assert fetch([raw(folder, checksums="../all.md5")], tmp_path, access()).counts["listed"] == 2


def test_all_wrong_and_missing_files_of_a_list_are_named_at_once(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    (folder / "part-0").write_text("other")
    (folder / "part-1").unlink()
    with pytest.raises(ChecksumError, match="2 of the 2 files") as caught:
        fetch([raw(folder, checksums="all.md5")], tmp_path, access())
    assert f"part-0 has md5 {md5(b'other')}, listed {md5(b'part-0')}" in str(caught.value)
    assert "part-1 is missing" in str(caught.value)


def test_many_wrong_files_are_shown_as_a_few_and_a_number(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a").touch()
    lines = [f"{i:032x}  missing-{i}" for i in range(9)]
    (tmp_path / "raw" / "all.md5").write_text("\n".join(lines))
    with pytest.raises(ChecksumError, match=r"missing-4 is missing; and 4 more\. Get"):
        fetch([raw(tmp_path / "raw", checksums="all.md5")], tmp_path, access())


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    with pytest.raises(
        FetchError, match=r"nope does not exist; it is the list named by `checksums`"
    ):
        fetch([raw(folder, checksums="nope")], tmp_path, access())


def test_a_pattern_chooses_files_of_a_folder_and_the_others_are_counted(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    (folder / "part-1").unlink()
    item = raw(folder, pattern="part-0", checksums="all.md5")
    found = fetch([item], tmp_path, access())
    assert [Path(file["path"]).name for file in found.files] == ["part-0"]
    assert (found.counts["unmatched"], found.counts["listed"]) == (1, 1)
    with pytest.raises(FetchError, match=r"holds no file that matches '\*\.gz', of 3"):
        fetch([raw(folder, pattern="*.gz")], tmp_path, access())


def test_a_big_local_file_is_neither_copied_nor_opened_for_writing(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(1 << 26)
    (tmp_path / "big").chmod(0o444)
    found = fetch([raw(tmp_path / "big")], tmp_path / "results", access(cache=tmp_path / "cache"))
    assert found.files[0]["bytes"] == 1 << 26
    assert [path.name for path in tmp_path.iterdir()] == ["big"]
