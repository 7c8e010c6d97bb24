import multiprocessing
import os
import re
from pathlib import Path
from typing import Any

import pytest

from bert.fetch.acquire import OfflineError, access_from
from bert.fetch.cache import look_up
from bert.fetch.checksums import Expected
from bert.fetch.download import DownloadError
from bert.fetch.fetched import FetchError
from tests.web import BODY, PAGE, QUICK, Site, get, md5, sha1, sha256


def test_two_versions_joined_without_a_validator_are_found_and_fetched_in_one_piece(
    site: Site, tmp_path: Path
) -> None:
    site.put("/f.bin", etag=None, break_after=[1000], after=[BODY[::-1]])
    get(f"{site.address}/f.bin", tmp_path, sha256=sha256(BODY[::-1]))
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]


def test_a_server_that_promises_less_than_it_has_fails_the_size_check(
    site: Site, tmp_path: Path
) -> None:
    site.put("/f.bin", promise=100)
    with pytest.raises(FetchError, match=f"size is 100, expected {len(BODY)}"):
        get(f"{site.address}/f.bin", tmp_path, size=len(BODY))
    assert not (tmp_path / "f.bin").exists()


def test_a_web_page_instead_of_data_is_named_with_its_title(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", PAGE, type="text/html")
    with pytest.raises(FetchError, match="HTML page with the title 'Quota exceeded'") as caught:
        get(f"{site.address}/f.bin", tmp_path, size=5)
    assert f"size is {len(PAGE)}, expected 5" in str(caught.value)
    with pytest.raises(FetchError, match="HTML page"):
        get(f"{site.address}/f.bin", tmp_path)
    assert not (tmp_path / "f.bin").exists()


def test_a_web_page_that_was_asked_for_is_data(site: Site, tmp_path: Path) -> None:
    site.put("/book.htm", PAGE)
    get(f"{site.address}/book.htm", tmp_path)
    assert (tmp_path / "book.htm").read_bytes() == PAGE


@pytest.mark.parametrize("check", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"size": 1}])
def test_a_wrong_download_never_gets_its_name(
    site: Site, tmp_path: Path, check: dict[str, Any]
) -> None:
    site.put("/f.bin")
    with pytest.raises(FetchError, match=f"not what was meant: {next(iter(check))} is"):
        get(f"{site.address}/f.bin", tmp_path, **check)
    assert [p.name for p in tmp_path.iterdir()] == [".f.bin.json"]


def test_an_empty_download_is_refused(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", b"")
    with pytest.raises(FetchError, match="it is empty"):
        get(f"{site.address}/f.bin", tmp_path)


def test_a_checked_download_is_not_repeated_unless_its_address_or_checksum_changes(
    site: Site, tmp_path: Path
) -> None:
    old, new = site.put("/a/f.bin"), site.put("/b/f.bin", BODY[::-1])
    first = get(f"{site.address}/a/f.bin", tmp_path)
    assert get(f"{site.address}/a/f.bin", tmp_path) == first
    assert len(old.requests) == 1
    get(f"{site.address}/b/f.bin", tmp_path)
    assert len(new.requests) == 1
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]
    with pytest.raises(FetchError, match="sha256 is"):
        get(f"{site.address}/b/f.bin", tmp_path, sha256="0" * 64)


@pytest.mark.parametrize(("name", "digest"), [("sha1", sha1), ("md5", md5), ("sha256", sha256)])
def test_every_digest_is_compared(site: Site, tmp_path: Path, name: str, digest: Any) -> None:
    site.put("/f.bin")
    assert getattr(get(f"{site.address}/f.bin", tmp_path, **{name: digest(BODY)}), name) == digest(
        BODY
    )
    with pytest.raises(FetchError, match=f"{name} is {digest(BODY)}, expected"):
        get(f"{site.address}/f.bin", tmp_path / "b", **{name: digest(b"")})


# Mirrors


def test_mirrors_are_tried_in_turn_until_one_has_the_file(site: Site, tmp_path: Path) -> None:
    site.put("/page/f.bin", PAGE)
    site.put("/other/f.bin", BODY[::-1])
    busy = site.put("/busy/f.bin", status=[503] * 9)
    good, spare = site.put("/good/f.bin"), site.put("/spare/f.bin")
    places = ["gone", "page", "other", "busy", "good", "spare"]
    urls = [f"{site.address}/{place}/f.bin" for place in places]
    found = get(*urls[:1], tmp_path, *urls[1:], md5=md5(BODY))
    assert found.sha256 == sha256(BODY)
    assert len(busy.requests) == QUICK.attempts
    assert (len(good.requests), len(spare.requests)) == (1, 0)


def test_a_mirror_continues_the_part_of_a_server_that_broke(site: Site, tmp_path: Path) -> None:
    site.put("/a/f.bin", break_after=[1000], status=[])
    broken = site.put("/a/f.bin", break_after=[1000, 0, 0, 0, 0])
    mirror = site.put("/b/f.bin", etag='"another"')
    get(f"{site.address}/a/f.bin", tmp_path, f"{site.address}/b/f.bin", md5=md5(BODY))
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(broken.requests) == 1 + QUICK.attempts
    assert [request.get("Range") for request in mirror.requests] == ["bytes=1000-"]


def test_when_no_mirror_has_the_file_the_last_error_is_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/b/f\.bin: the server answered 404"):
        get(f"{site.address}/a/f.bin", tmp_path, f"{site.address}/b/f.bin", md5=md5(BODY))


# Cache


def cached(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").rglob("*") if path.is_file()]


def test_a_cached_file_serves_a_second_run_without_the_network(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    for run in "ab":
        found = get(url, tmp_path / run, cache=cache, sha256=sha256(BODY))
        assert found.sha256 == sha256(BODY)
    assert (tmp_path / "b" / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 1
    files = [tmp_path / "a" / "f.bin", tmp_path / "b" / "f.bin", *cached(cache)]
    assert len({file.stat().st_ino for file in files}) == 1  # hard links, one copy on disk
    assert {file.stat().st_mode & 0o777 for file in files} == {0o444}


def test_equal_bytes_are_found_by_sha256_under_any_address(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin")
    get(f"{site.address}/f.bin", tmp_path / "a", cache=tmp_path / "cache")
    get("http://127.0.0.1:9/g.bin", tmp_path, cache=tmp_path / "cache", sha256=sha256(BODY))
    assert (tmp_path / "g.bin").read_bytes() == BODY


def test_an_unchecked_file_is_taken_from_the_cache_only_while_the_server_has_the_same(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    get(url, tmp_path / "a", cache=cache)
    get(url, tmp_path / "b", cache=cache)
    assert [request["method"] for request in page.requests] == ["GET", "HEAD"]
    page.body, page.etag = BODY[::-1], '"v2"'
    get(url, tmp_path / "c", cache=cache)
    assert (tmp_path / "c" / "f.bin").read_bytes() == BODY[::-1]
    assert (tmp_path / "b" / "f.bin").read_bytes() == BODY
    page.etag = None
    get(url, tmp_path / "d", cache=cache)
    assert [request["method"] for request in page.requests].count("GET") == 3


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_a_damaged_cached_file_is_never_trusted(site: Site, tmp_path: Path, damage: str) -> None:
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    get(url, tmp_path / "a", cache=cache, sha256=sha256(BODY))
    (tmp_path / "a" / "f.bin").unlink()
    (file,) = cached(cache)
    file.chmod(0o644)
    file.write_bytes(b"x" + BODY[1:] if damage == "changed" else BODY[:9])
    get(url, tmp_path / "b", cache=cache, sha256=sha256(BODY))
    assert (tmp_path / "b" / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 2
    assert [path.read_bytes() for path in cached(cache)] == [BODY]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": "ab", "validator": null}', "\x00"])
def test_a_damaged_address_counts_as_none(site: Site, tmp_path: Path, text: str) -> None:
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    get(url, tmp_path / "a", cache=cache)
    next((cache / "addresses").glob("*.json")).write_text(text)
    assert look_up(cache, url, Expected()) is None
    get(url, tmp_path / "b", cache=cache)
    assert [request["method"] for request in page.requests] == ["GET", "GET"]


def test_without_hard_links_and_locks_files_are_copied(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file system without either answers."""

    def refuse(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("fcntl.flock", refuse)
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    for run in "ab":
        get(url, tmp_path / run, cache=cache, sha256=sha256(BODY))
    files = [tmp_path / "a" / "f.bin", tmp_path / "b" / "f.bin", *cached(cache)]
    assert len({file.stat().st_ino for file in files}) == 3
    assert [file.read_bytes() for file in files] == [BODY] * 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o444}
    assert len(page.requests) == 1


def test_a_cache_that_cannot_be_written_is_warned_of_and_read_all_the_same(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.put("/f.bin")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "files").write_text("in the way of a folder")
    get(f"{site.address}/f.bin", tmp_path / "a", cache=tmp_path / "cache")
    assert (tmp_path / "a" / "f.bin").read_bytes() == BODY
    assert "was not added to the cache" in caplog.text


def _get(url: str, folder: Path, cache: Path) -> None:
    get(url, folder, cache=cache)


def test_two_processes_that_want_one_address_download_it_once(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", BODY * 10, slow=[0.3, 0.3])
    cache = tmp_path / "cache"
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=_get, args=(f"{site.address}/f.bin", tmp_path / run, cache))
        for run in "ab"
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert [(tmp_path / run / "f.bin").read_bytes() for run in "ab"] == [BODY * 10] * 2
    assert sorted(request["method"] for request in page.requests) == ["GET", "HEAD"]


# Offline


def test_offline_takes_from_the_run_and_the_cache_and_asks_nobody(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    url, cache = f"{site.address}/f.bin", tmp_path / "cache"
    get(url, tmp_path / "a", cache=cache)
    page.etag = '"v2"'
    get(url, tmp_path / "b", cache=cache, offline=True)
    assert (tmp_path / "b" / "f.bin").read_bytes() == BODY
    get(url, tmp_path / "b", cache=None, offline=True)
    assert len(page.requests) == 1


def test_offline_a_file_that_is_nowhere_is_an_error(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(OfflineError, match=re.escape(f"{site.address}/f.bin")):
            get(f"{site.address}/f.bin", tmp_path / "a", cache=cache, offline=True)
    assert page.requests == []


def test_the_environment_says_where_the_cache_is_and_whether_there_is_a_network(
    tmp_path: Path,
) -> None:
    found = access_from({"BERT_CACHE": str(tmp_path), "BERT_OFFLINE": "1"}, downloads=3)
    assert (found.cache, found.offline, found.downloads) == (tmp_path, True, 3)
    found = access_from({"BERT_CACHE": "", "BERT_OFFLINE": "0"}, downloads=1)
    assert (found.cache, found.offline) == (None, False)
    with pytest.raises(FetchError, match=r"BERT_OFFLINE is 'yes'; expected 1"):
        access_from({"BERT_OFFLINE": "yes"}, downloads=1)
    (tmp_path / "file").touch()
    with pytest.raises(FetchError, match=r"BERT_CACHE is .*not a folder"):
        access_from({"BERT_CACHE": str(tmp_path / "file")}, downloads=1)


# Disk


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(
    site: Site, tmp_path: Path
) -> None:
    site.put("/f.bin")
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot write .*file/f\.bin: File exists\. Put"):
        get(f"{site.address}/f.bin", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_an_error_with_advice(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin")
    (tmp_path / "d").mkdir(mode=0o555)
    with pytest.raises(DownloadError, match="Permission denied"):
        get(f"{site.address}/f.bin", tmp_path / "d")
