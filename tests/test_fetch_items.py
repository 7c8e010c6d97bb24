import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bert.fetch.acquire import OfflineError
from bert.fetch.checksums import ChecksumError
from bert.fetch.download import DownloadError
from bert.fetch.fetched import FetchError, fetched_files
from bert.fetch.items import fetch
from bert.fetch.listing import ListingError
from bert.manifest import ROOT, write_manifest
from tests.web import BODY, Site, access, md5, raw, sha1, sha256

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


def make_listed(folder: Path) -> Path:
    folder.mkdir()
    for name in ("part-0", "part-1", "extra"):
        (folder / name).write_text(name)
    lines = [f"{md5(b'part-0')}  part-0", f"{md5(b'part-1').upper()} *./part-1", ""]
    (folder / "all.md5").write_text("\n".join(lines))
    return folder


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


# Offline and cache


def test_offline_all_that_is_missing_is_told_at_once_with_the_remedy(
    site: Site, tmp_path: Path
) -> None:
    for name in "ab":
        site.put(f"/{name}", name.encode())
    cache = tmp_path / "cache"
    fetch([raw(f"{site.address}/a")], tmp_path / "first", access(cache=cache))
    items = [raw(f"{site.address}/{name}") for name in "abcdefgh"]
    with pytest.raises(OfflineError, match=r"7 of 8 files are neither") as caught:
        fetch(items, tmp_path / "second", access(cache=cache, offline=True))
    assert f"{site.address}/b, {site.address}/c" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert "snakemake --until fetch" in str(caught.value)


def test_offline_a_list_comes_from_the_cache_too(site: Site, tmp_path: Path) -> None:
    site.index("/d/", ["a", "a.md5"])
    site.put("/d/a", b"a")
    site.put("/d/a.md5", md5(b"a").encode())
    item, cache = raw(f"{site.address}/d/"), tmp_path / "cache"
    fetch([item], tmp_path / "first", access(cache=cache))
    pages = [site.put(path, b"") for path in ("/d/", "/d/a", "/d/a.md5")]
    found = fetch([item], tmp_path / "second", access(cache=cache, offline=True))
    assert (tmp_path / "second" / "a").read_bytes() == b"a"
    assert (len(found.files), [page.requests for page in pages]) == (1, [[], [], []])
    with pytest.raises(OfflineError, match="/d/"):
        fetch([item], tmp_path / "third", access(offline=True))


def test_local_paths_need_neither_network_nor_cache(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    assert len(fetch([raw(tmp_path / "a")], tmp_path, access(offline=True)).files) == 1


# The stages behind, the script


def write_fetch_manifest(folder: Path, files: list[dict[str, Any]]) -> Path:
    write_manifest(
        folder / "wiki.json",
        stage="fetch",
        config=[],
        inputs={},
        counts={},
        outputs=[],
        files=files,
    )
    return folder / "wiki.json"


def test_the_stages_behind_get_the_files_only_if_they_are_still_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    manifest = write_fetch_manifest(
        tmp_path, fetch([raw(tmp_path / "a")], tmp_path, access()).files
    )
    assert fetched_files(manifest) == [tmp_path / "a"]
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(FetchError, match=r"has 4 bytes, .*recorded 3"):
        fetched_files(manifest)
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match=r"listed in .* is missing"):
        fetched_files(manifest)


def config_file(folder: Path, items: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "fetch.wiki.json").write_text(json.dumps(items))


def script() -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "fetch.py"), "--log", "log.txt"]
    command += ["--downloads", "2"]
    return [*command, "--config", "fetch.wiki.json", "--output", "out/wiki.json"]


def test_the_script_writes_the_manifest_and_one_line_for_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"abc")
    command = script()
    config_file(tmp_path, [raw("raw").model_dump()])
    subprocess.run(command, cwd=tmp_path, check=True)
    manifest = json.loads((tmp_path / "out" / "wiki.json").read_text())
    assert manifest["files"] == [{"path": "raw", "sha256": sha256(b"abc"), "bytes": 3}]
    assert manifest["config"] == [raw("raw").model_dump()]
    config_file(tmp_path, [raw("raw", size=4).model_dump()])
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("ERROR raw: size is 3, expected 4.")
    assert len(failed.stderr.splitlines()) == 1
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_script_killed_while_it_downloads_goes_on_when_started_again(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/big", BODY * 20, hold=threading.Event())
    site.put("/small", b"small")
    config_file(tmp_path, [{"location": f"{site.address}/{name}"} for name in ("small", "big")])
    process = subprocess.Popen(script(), cwd=tmp_path)
    part = tmp_path / "out" / "wiki" / "big.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size >= 1 << 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    page.hold.set()
    page.hold = None
    assert not (tmp_path / "out" / "wiki.json").exists()
    subprocess.run(script(), cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "wiki" / "big").read_bytes() == BODY * 20
    assert page.requests[-1]["Range"]
    assert len(json.loads((tmp_path / "out" / "wiki.json").read_text())["files"]) == 2


def _fetch_into(url: str, folder: Path) -> None:
    fetch([raw(url)], folder, access())


def test_two_processes_at_once_on_one_folder_take_turns(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", BODY * 10, slow=[0.3, 0.3])
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=_fetch_into, args=(f"{site.address}/f.bin", tmp_path / "d"))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "d" / "f.bin").read_bytes() == BODY * 10
    assert len(page.requests) == 1


def test_runs_share_a_cache_by_the_environment_and_their_manifests_do_not_tell(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    environment = os.environ | {"BERT_CACHE": str(tmp_path / "cache")}
    for run, offline in (("a", "0"), ("b", "1")):
        config_file(tmp_path / run, [{"location": f"{site.address}/f.bin"}])
        more = environment | {"BERT_OFFLINE": offline}
        subprocess.run(script(), cwd=tmp_path / run, env=more, check=True)
    manifests = [(tmp_path / run / "out" / "wiki.json").read_bytes() for run in "ab"]
    assert manifests[0] == manifests[1]
    assert len(page.requests) == 1
