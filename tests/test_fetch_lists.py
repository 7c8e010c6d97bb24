"""Files on the web, and lists of them."""

import json
import threading
from pathlib import Path

import pytest

from bert.fetch.download import DownloadError
from bert.fetch.fetched import FetchError
from bert.fetch.items import fetch
from bert.fetch.listing import ListingError
from tests.rawfolders import make_listed
from tests.web import BODY, Site, access, md5, raw, sha1, sha256

# Files on the web


def test_a_download_is_checked_named_read_only_and_listed(site: Site, tmp_path: Path) -> None:
    site.put("/some/raw%20file.bin?x=1")
    item = raw(f"{site.address}/some/raw%20file.bin?x=1", size=len(BODY), sha256=sha256(BODY))
    found = fetch([item], tmp_path / "d", access())
    target = tmp_path / "d" / "raw_file.bin"
    assert target.read_bytes() == BODY
    assert target.stat().st_mode & 0o777 == 0o444
    assert found.downloads == [target]
    assert found.files[0]["path"] == target.as_posix()
    assert found.inputs == {item.location: sha256(BODY)}
    assert [p.name for p in (tmp_path / "d").iterdir() if p.name.endswith(".part")] == []


def test_two_addresses_with_one_file_name_get_two_files(site: Site, tmp_path: Path) -> None:
    site.put("/a/f.bin", b"first")
    site.put("/b/f.bin", b"second")
    items = [raw(f"{site.address}/{folder}/f.bin") for folder in "ab"]
    fetch(items, tmp_path, access())
    assert (tmp_path / "000-f.bin").read_bytes() == b"first"
    assert (tmp_path / "001-f.bin").read_bytes() == b"second"


def test_files_come_several_at_a_time_but_no_more_than_allowed(site: Site, tmp_path: Path) -> None:
    for number in range(8):
        site.put(f"/{number}", str(number).encode(), slow=[0.05])
    items = [raw(f"{site.address}/{number}") for number in range(8)]
    found = fetch(items, tmp_path, access(downloads=3))
    assert site.most_at_once == 3
    assert [file["sha256"] for file in found.files] == [sha256(b"%d" % n) for n in range(8)]
    assert found.counts["unchecked"] == 8


def test_the_result_does_not_depend_on_how_the_files_came(site: Site, tmp_path: Path) -> None:
    for name in "abc":
        site.put(f"/{name}", name.encode())
    site.put("/b", b"b", break_after=[0], status=[503])
    items = [raw(f"{site.address}/{name}") for name in "cab"]
    cache = tmp_path / "cache"
    ways = [access(), access(downloads=1, cache=cache), access(cache=cache, offline=True)]
    results = []
    for number, way in enumerate(ways):
        found = fetch(items, tmp_path / str(number), way)
        names = [Path(file.pop("path")).name for file in found.files]
        results.append((names, found.files, found.inputs, found.counts))
    assert results[0] == results[1] == results[2]


def test_the_first_failure_stops_the_others_and_they_go_on_later(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/big", BODY * 20, hold=threading.Event())
    items = [raw(f"{site.address}/{name}") for name in ("big", "none")]
    threading.Timer(0.3, page.hold.set).start()
    with pytest.raises(DownloadError, match=r"/none: the server answered 404"):
        fetch(items, tmp_path, access())
    page.hold = None
    assert (tmp_path / "big.part").stat().st_size >= 1 << 20
    site.put("/none")
    fetch(items, tmp_path, access())
    assert (tmp_path / "big").read_bytes() == BODY * 20
    assert page.requests[-1]["Range"]


def test_files_that_do_not_fit_the_disk_are_refused_before_the_first_byte(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    items = [raw(f"{site.address}/f.bin", size=1 << 59), raw(f"{site.address}/g", size=1 << 59)]
    with pytest.raises(DownloadError, match=rf"{1 << 60} bytes are to come"):
        fetch(items, tmp_path, access())
    assert page.requests == []


# Lists


def test_an_index_page_brings_its_files_each_with_its_checksum_file(
    site: Site, tmp_path: Path
) -> None:
    names = ["n1.xml.gz", "n1.xml.gz.md5", "n2.xml.gz", "n2.xml.gz.md5", "n3.xml.gz", "README"]
    site.index("/baseline/", names)
    for name in ("n1.xml.gz", "n2.xml.gz", "n3.xml.gz"):
        site.put(f"/baseline/{name}", name.encode())
        site.put(f"/baseline/{name}.md5", f"MD5({name})= {md5(name.encode())}\n".encode())
    item = raw(f"{site.address}/baseline/", pattern="n*.xml.gz")
    found = fetch([item], tmp_path, access())
    assert [Path(file["path"]).name for file in found.files] == [
        *("n1.xml.gz", "n2.xml.gz", "n3.xml.gz")
    ]
    assert found.counts["listed"] == 2
    assert found.counts["unchecked"] == 1
    assert list(found.inputs) == [item.location]
    site.put("/baseline/n2.xml.gz", b"other")
    (tmp_path / "n2.xml.gz").unlink()
    with pytest.raises(FetchError, match=rf"n2\.xml\.gz: .* md5 is {md5(b'other')}, expected"):
        fetch([item], tmp_path, access())
    site.put("/baseline/n2.xml.gz.md5", b"<html>sorry</html>")
    with pytest.raises(FetchError, match=r"n2\.xml\.gz\.md5 is '<html>sorry.*expected one check"):
        fetch([item], tmp_path / "again", access())


def test_a_new_file_on_the_server_is_seen_by_the_next_start(site: Site, tmp_path: Path) -> None:
    first = site.put("/d/a", b"a")
    site.put("/d/b", b"b")
    site.index("/d/", ["a"])
    item = raw(f"{site.address}/d/")
    assert len(fetch([item], tmp_path, access()).files) == 1
    site.index("/d/", ["a", "b"])
    assert len(fetch([item], tmp_path, access()).files) == 2
    assert len(first.requests) == 1


def test_a_dated_dump_is_named_by_its_dumpstatus(site: Site, tmp_path: Path) -> None:
    name = "w-20260401-pages-articles1.xml-p1p9.bz2"
    entry = {"size": 3, "url": f"/w/20260401/{name}", "md5": md5(b"abc"), "sha1": sha1(b"abc")}
    status = {"jobs": {"articlesdump": {"status": "done", "files": {name: entry}}}}
    site.put("/w/20260401/dumpstatus.json", json.dumps(status).encode())
    site.put(f"/mirror/w/20260401/{name}", b"abc")
    item = raw(
        f"{site.address}/w/20260401/dumpstatus.json",
        listing=True,
        pattern="*-pages-articles*.bz2",
        mirrors=[f"{site.address}/mirror/w/20260401/"],
    )
    found = fetch([item], tmp_path, access())
    assert found.files == [{"path": f"{tmp_path}/{name}", "sha256": sha256(b"abc"), "bytes": 3}]


def test_a_checksum_list_on_the_web_names_files_beside_it(site: Site, tmp_path: Path) -> None:
    site.put("/d/sums.txt", f"{sha1(b'abc')}  sub/a b.txt\n{sha1(b'x')}  other\n".encode())
    site.put("/d/sub/a%20b.txt", b"abc")
    item = raw(f"{site.address}/d/sums.txt", listing=True, pattern="sub/*")
    found = fetch([item], tmp_path, access())
    assert found.downloads == [tmp_path / "sub" / "a_b.txt"]


def test_a_local_list_of_pinned_addresses_is_downloaded(site: Site, tmp_path: Path) -> None:
    for folder in "ab":
        site.put(f"/{folder}/f.bin", folder.encode())
    lines = [f"{sha256(folder.encode())}  {site.address}/{folder}/f.bin" for folder in "ab"]
    (tmp_path / "pinned.sha256").write_text("\n".join(lines))
    found = fetch([raw(tmp_path / "pinned.sha256", listing=True)], tmp_path / "d", access())
    assert [path.name for path in found.downloads] == ["000-f.bin", "001-f.bin"]
    assert found.counts["listed"] == 2


def test_a_local_list_of_names_is_about_the_files_beside_it(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    found = fetch([raw(folder / "all.md5", listing=True)], tmp_path / "d", access())
    assert [Path(file["path"]).name for file in found.files] == ["part-0", "part-1"]
    (folder / "part-1").write_text("other")
    with pytest.raises(FetchError, match="part-1: md5 is"):
        fetch([raw(folder / "all.md5", listing=True)], tmp_path / "d", access())
    with pytest.raises(FetchError, match="is not a file; expected a list"):
        fetch([raw(folder, listing=True)], tmp_path / "d", access())


def test_the_metadata_file_of_mlcommons_leads_to_its_list_and_folder(
    site: Site, tmp_path: Path
) -> None:
    site.put("/metadata/set.uri", f"{site.address}/bucket/set\n".encode())
    site.put("/metadata/set.md5", f"{md5(b'abc')}  ./results/part-0\n".encode())
    site.put("/bucket/set/results/part-0", b"abc")
    found = fetch([raw(f"{site.address}/metadata/set.uri", listing=True)], tmp_path, access())
    assert found.downloads == [tmp_path / "results" / "part-0"]
    site.put("/metadata/set.uri", b"<html>log in</html>")
    with pytest.raises(FetchError, match="should hold the address of a folder"):
        fetch([raw(f"{site.address}/metadata/set.uri", listing=True)], tmp_path, access())


@pytest.mark.parametrize("line", ["file:///etc/passwd", "ftp://x.org/f", "https://x.org/a%20b/.."])
def test_a_list_cannot_lead_anywhere_else(tmp_path: Path, line: str) -> None:
    (tmp_path / "list").write_text(line)
    with pytest.raises((FetchError, ListingError)):
        fetch([raw(tmp_path / "list", listing=True)], tmp_path / "d", access())
