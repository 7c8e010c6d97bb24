import hashlib
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bert.checksums import ChecksumError, digest_file, read_md5_list
from bert.config import ConfigError, Section
from bert.download import DownloadError, Note, Retry, read_note
from bert.fetch import FetchError, RawFile, fetch, fetched_files, load_raw_files
from bert.manifest import ROOT, write_manifest

BODY = bytes(range(256)) * 1000
QUICK = Retry(attempts=3, first_wait_s=0.0, longest_wait_s=0.0, timeout_s=5.0)
PAGE = b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head><body>no</body></html>"


class Behaviour:
    """What the server does with one path; a test changes it between requests."""

    def __init__(self, body: bytes, **changes: Any) -> None:
        self.body = body
        self.etag: str | None = '"v1"'
        self.modified: str | None = None
        self.ranges = True
        self.conditions = True  # False: If-Range is ignored, as some proxies do
        self.shift = 0  # added to the first byte that a continuation was asked for
        self.break_after: list[int] = []  # bytes sent before the connection is cut, per request
        self.status: list[int] = []  # answers sent before the body is
        self.promise: int | None = None  # a false Content-Length
        self.length = True
        self.after: list[bytes] = []  # body of the later requests
        self.type = "application/octet-stream"
        vars(self).update(changes)
        self.requests: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    site: ClassVar[dict[str, Behaviour]] = {}

    def do_GET(self) -> None:
        behaviour = self.site[self.path]
        behaviour.requests.append(dict(self.headers))
        if behaviour.status:
            self.send_error(behaviour.status.pop(0))
            return
        start = self._start(behaviour)
        total = len(behaviour.body)
        if start > 0 and start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if behaviour.length:
            self.send_header("Content-Length", str(behaviour.promise or total - start))
        for name, value in (("ETag", behaviour.etag), ("Last-Modified", behaviour.modified)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", behaviour.type)
        self.end_headers()
        end = start + behaviour.break_after.pop(0) if behaviour.break_after else total
        self.wfile.write(behaviour.body[start:end])
        if behaviour.after:
            behaviour.body = behaviour.after.pop(0)
        self.close_connection = True

    def _start(self, behaviour: Behaviour) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition in (None, behaviour.etag, behaviour.modified) or not behaviour.conditions
        return int(wanted[1]) + behaviour.shift if wanted and behaviour.ranges and same else 0

    def log_message(self, *args: Any) -> None:
        """Keeps the tests quiet."""


class Site:
    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def put(self, path: str, body: bytes = BODY, **changes: Any) -> Behaviour:
        Handler.site[path] = Behaviour(body, **changes)
        return Handler.site[path]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.site.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Site(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join()


def raw(location: object, **checks: Any) -> RawFile:
    nothing = dict.fromkeys(("size", "sha256", "md5", "md5_list"))
    return RawFile(location=str(location), **(nothing | checks))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# Local files and folders


def test_a_local_file_is_used_in_place_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "raw.bin"
    file.write_bytes(BODY)
    before = file.stat()
    checks = {"size": len(BODY), "sha256": sha256(BODY).upper(), "md5": md5(BODY).upper()}
    found = fetch([raw(file, **checks)], tmp_path / "downloads")
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
        fetch([raw(tmp_path / "raw.bin", **checks)], tmp_path)
    assert "raw.bin" in str(caught.value)
    assert "get it again" in str(caught.value)


def test_missing_and_empty_local_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="does not exist; expected a file or folder"):
        fetch([raw(tmp_path / "nowhere")], tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(FetchError, match="it is empty"):
        fetch([raw(tmp_path / "empty")], tmp_path)


def test_a_device_is_not_a_raw_file(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="neither a file nor a folder"):
        fetch([raw("/dev/null")], tmp_path)


def test_a_folder_lists_its_files_sorted_and_counts_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", ".hidden", ".git/config", "b/.DS_Store"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / name).write_text(name)
    found = fetch([raw(tmp_path / "raw")], tmp_path / "downloads")
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
        digests += fetch([raw(tmp_path / folder)], tmp_path).inputs.values()
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / ".hidden").touch()
    with pytest.raises(FetchError, match=r"holds no file \(1 hidden"):
        fetch([raw(tmp_path / "raw")], tmp_path)


def test_links_to_folders_and_broken_links_are_refused_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    with pytest.raises(ChecksumError, match="loop is a link to a folder"):
        fetch([raw(tmp_path / "raw")], tmp_path)


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "real.txt").write_text("text")
    (tmp_path / "raw" / "link.txt").symlink_to(tmp_path / "real.txt")
    found = fetch([raw(tmp_path / "raw")], tmp_path)
    assert found.files[0]["sha256"] == sha256(b"text")


def test_checks_of_a_file_are_refused_for_a_folder_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a").write_text("a")
    with pytest.raises(FetchError, match="is a folder; sha256 is for a file"):
        fetch([raw(tmp_path / "raw", sha256="0" * 64)], tmp_path)
    with pytest.raises(FetchError, match="md5_list is for folders"):
        fetch([raw(tmp_path / "raw" / "a", md5_list="x.md5")], tmp_path)


def test_a_file_named_by_two_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(FetchError, match="named by two items"):
        fetch([raw(tmp_path / "a"), raw(tmp_path / "." / "a")], tmp_path)


# md5 lists


def make_listed(folder: Path) -> Path:
    folder.mkdir()
    for name in ("part-0", "part-1", "extra"):
        (folder / name).write_text(name)
    lines = [f"{md5(b'part-0')}  part-0", f"{md5(b'part-1').upper()} *./part-1", ""]
    (folder / "all.md5").write_text("\n".join(lines))
    return folder


def test_every_file_of_an_md5_list_is_checked_and_the_others_are_counted(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    found = fetch([raw(folder, md5_list="all.md5")], tmp_path)
    assert [Path(file["path"]).name for file in found.files] == ["extra", "part-0", "part-1"]
    assert found.counts["md5_listed"] == 2
    assert found.counts["md5_unlisted"] == 1


def test_a_list_beside_the_folder_works_too(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    (folder / "all.md5").rename(tmp_path / "all.md5")
    assert fetch([raw(folder, md5_list="../all.md5")], tmp_path).counts["md5_listed"] == 2


def test_all_wrong_and_missing_files_of_a_list_are_named_at_once(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    (folder / "part-0").write_text("other")
    (folder / "part-1").unlink()
    with pytest.raises(ChecksumError, match="2 of the 2 files") as caught:
        fetch([raw(folder, md5_list="all.md5")], tmp_path)
    assert f"part-0 has md5 {md5(b'other')}, listed {md5(b'part-0')}" in str(caught.value)
    assert "part-1 is missing" in str(caught.value)


def test_many_wrong_files_are_shown_as_a_few_and_a_number(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a").touch()
    lines = [f"{i:032x}  missing-{i}" for i in range(9)]
    (tmp_path / "raw" / "all.md5").write_text("\n".join(lines))
    with pytest.raises(ChecksumError, match=r"missing-4 is missing; and 4 more\. Get"):
        fetch([raw(tmp_path / "raw", md5_list="all.md5")], tmp_path)


def test_md5_lists_of_md5sum_openssl_and_bsd_are_read(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 2
    lines = [f"{digest}  a b", f"{digest} *b", f"MD5(c)= {digest}", f"MD5 (d) = {digest}"]
    (tmp_path / "list").write_text("\n".join(lines) + "\n")
    assert read_md5_list(tmp_path / "list") == dict.fromkeys(("a b", "b", "c", "d"), digest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no file"),
        ("not a list\n", "line 1 is 'not a list'"),
        (f"{'0' * 32}  a\n{'1' * 32}  ./a\n", "line 2: a is listed twice"),
        (f"{'0' * 40}  a\n", "expected `<32 hex digits>"),
    ],
)
def test_a_bad_md5_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ChecksumError, match=re.escape(message)):
        read_md5_list(tmp_path / "list")


def test_a_missing_md5_list_is_refused(tmp_path: Path) -> None:
    folder = make_listed(tmp_path / "raw")
    with pytest.raises(FetchError, match=r"nope does not exist; it is the md5_list"):
        fetch([raw(folder, md5_list="nope")], tmp_path)


def test_digests_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = b"x" * ((1 << 20) + 7)
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f", md5=True) == (len(data), sha256(data), md5(data))
    assert digest_file(tmp_path / "f", md5=False).md5 is None


# Downloads


def test_a_download_is_checked_named_read_only_and_listed(site: Site, tmp_path: Path) -> None:
    site.put("/some/raw%20file.bin?x=1")
    item = raw(f"{site.address}/some/raw%20file.bin?x=1", size=len(BODY), sha256=sha256(BODY))
    found = fetch([item], tmp_path / "d", retry=QUICK)
    target = tmp_path / "d" / "raw_file.bin"
    assert target.read_bytes() == BODY
    assert target.stat().st_mode & 0o777 == 0o444
    assert found.downloads == [target]
    assert found.files[0]["path"] == target.as_posix()
    assert found.inputs == {item.location: sha256(BODY)}
    assert [p.name for p in (tmp_path / "d").iterdir() if p.name.endswith(".part")] == []


def test_a_broken_connection_is_continued_where_it_broke(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000, 50_000])
    fetch([raw(f"{site.address}/f.bin", sha256=sha256(BODY))], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert [r.get("Range") for r in page.requests] == [None, "bytes=1000-", "bytes=51000-"]
    assert page.requests[1]["If-Range"] == '"v1"'


def test_a_killed_download_is_continued_by_the_next_process(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000, 0])
    once = Retry(attempts=1, first_wait_s=0.0, longest_wait_s=0.0, timeout_s=5.0)
    item = raw(f"{site.address}/f.bin")
    with pytest.raises(DownloadError, match="1 tries in a row brought nothing new"):
        fetch([item], tmp_path, retry=once)
    assert not (tmp_path / "f.bin").exists()
    fetch([item], tmp_path, retry=once)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert page.requests[-1]["Range"] == "bytes=1000-"


def test_a_part_that_was_whole_when_the_process_died_is_not_fetched_again(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(BODY)
    note = Note(f"{site.address}/f.bin", '"v1"', len(BODY))
    (tmp_path / ".f.bin.json").write_text(json.dumps(note._asdict()))
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert page.requests == []


def test_a_part_of_another_address_is_thrown_away(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(b"other")
    (tmp_path / ".f.bin.json").write_text(json.dumps(Note("http://x/f.bin", '"v1"', 9)._asdict()))
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert "Range" not in page.requests[0]


def test_a_server_that_ignores_range_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", ranges=False, break_after=[1000])
    fetch([raw(f"{site.address}/f.bin", sha256=sha256(BODY))], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert page.requests[1]["Range"] == "bytes=1000-"


@pytest.mark.parametrize("conditions", [True, False])
def test_a_file_that_changes_on_the_server_is_never_joined_from_two_versions(
    site: Site, tmp_path: Path, conditions: bool
) -> None:
    page = site.put("/f.bin", break_after=[1000], after=[BODY[::-1]], conditions=conditions)

    class Requests(list[dict[str, str]]):
        def append(self, request: dict[str, str]) -> None:
            super().append(request)
            page.etag = '"v1"' if len(self) == 1 else '"v2"'

    page.requests = Requests()
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]
    assert page.requests[1]["Range"] == "bytes=1000-"


def test_a_continuation_from_another_place_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000], shift=5)
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert [r.get("Range") for r in page.requests] == [None, "bytes=1000-", None]


def test_a_certificate_that_is_not_trusted_is_final(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout"
    subprocess.run([*make.split(), key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        item = raw(f"https://127.0.0.1:{server.server_address[1]}/f.bin")
        try:
            with pytest.raises(DownloadError, match="certificate is not trusted"):
                fetch([item], tmp_path / "d", retry=QUICK)
        finally:
            server.shutdown()
            thread.join()


def test_without_a_validator_a_part_is_continued_only_if_a_checksum_is_compared(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin", etag=None, break_after=[1000])
    fetch([raw(f"{site.address}/f.bin")], tmp_path / "a", retry=QUICK)
    assert "Range" not in page.requests[1]
    page = site.put("/f.bin", etag=None, break_after=[1000])
    fetch([raw(f"{site.address}/f.bin", md5=md5(BODY))], tmp_path / "b", retry=QUICK)
    assert page.requests[1]["Range"] == "bytes=1000-"
    assert "If-Range" not in page.requests[1]


def test_two_versions_joined_without_a_validator_are_found_and_fetched_in_one_piece(
    site: Site, tmp_path: Path
) -> None:
    site.put("/f.bin", etag=None, break_after=[1000], after=[BODY[::-1]])
    item = raw(f"{site.address}/f.bin", sha256=sha256(BODY[::-1]))
    fetch([item], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]


def test_last_modified_serves_where_the_etag_is_weak(site: Site, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    page = site.put("/f.bin", etag='W/"v1"', modified=date, break_after=[1000])
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert page.requests[1]["If-Range"] == date


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    page = site.put("/busy.bin", status=[503, 429])
    fetch([raw(f"{site.address}/busy.bin")], tmp_path, retry=QUICK)
    assert len(page.requests) == 3
    page = site.put("/gone.bin", status=[404, 404])
    with pytest.raises(DownloadError, match=r"gone\.bin: the server answered 404 Not Found"):
        fetch([raw(f"{site.address}/gone.bin")], tmp_path, retry=QUICK)
    assert len(page.requests) == 1


def test_a_server_that_promises_more_than_it_has_fails_by_name(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", promise=len(BODY) + 10, ranges=False)
    with pytest.raises(DownloadError, match=rf"ended after {len(BODY)} of {len(BODY) + 10} bytes"):
        fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert not (tmp_path / "f.bin").exists()


def test_a_server_that_promises_less_than_it_has_fails_the_size_check(
    site: Site, tmp_path: Path
) -> None:
    site.put("/f.bin", promise=100)
    with pytest.raises(FetchError, match=f"size is 100, expected {len(BODY)}"):
        fetch([raw(f"{site.address}/f.bin", size=len(BODY))], tmp_path, retry=QUICK)
    assert not (tmp_path / "f.bin").exists()


def test_a_server_that_always_breaks_is_given_up(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", ranges=False, break_after=[500, 100, 400, 200, 300] * 4)
    with pytest.raises(DownloadError, match="3 tries in a row"):
        fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert len(page.requests) == 4


def test_a_body_without_a_length_is_taken_to_its_end(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", length=False)
    fetch([raw(f"{site.address}/f.bin", sha256=sha256(BODY))], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(BODY + b"more")
    note = Note(f"{site.address}/f.bin", '"v1"', None)
    (tmp_path / ".f.bin.json").write_text(json.dumps(note._asdict()))
    fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 2


def test_a_closed_port_fails_with_the_address_and_advice(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/f.*https_proxy"):
        fetch([raw("http://127.0.0.1:9/f.bin")], tmp_path, retry=QUICK)


def test_a_full_disk_is_told_before_the_download(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", promise=1 << 60)
    with pytest.raises(DownloadError, match="bytes free"):
        fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)


def test_a_web_page_instead_of_data_is_named_with_its_title(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", PAGE, type="text/html")
    item = raw(f"{site.address}/f.bin", size=5)
    with pytest.raises(FetchError, match="HTML page with the title 'Quota exceeded'") as caught:
        fetch([item], tmp_path, retry=QUICK)
    assert f"size is {len(PAGE)}, expected 5" in str(caught.value)
    with pytest.raises(FetchError, match="HTML page"):
        fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)
    assert not (tmp_path / "f.bin").exists()


def test_a_web_page_that_was_asked_for_is_data(site: Site, tmp_path: Path) -> None:
    site.put("/book.htm", PAGE)
    fetch([raw(f"{site.address}/book.htm")], tmp_path, retry=QUICK)
    assert (tmp_path / "book.htm").read_bytes() == PAGE


@pytest.mark.parametrize("check", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"size": 1}])
def test_a_wrong_download_never_gets_its_name(
    site: Site, tmp_path: Path, check: dict[str, Any]
) -> None:
    site.put("/f.bin")
    with pytest.raises(FetchError, match=f"not what was meant: {next(iter(check))} is"):
        fetch([raw(f"{site.address}/f.bin", **check)], tmp_path, retry=QUICK)
    assert [p.name for p in tmp_path.iterdir()] == [".f.bin.json"]


def test_an_empty_download_is_refused(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", b"")
    with pytest.raises(FetchError, match="it is empty"):
        fetch([raw(f"{site.address}/f.bin")], tmp_path, retry=QUICK)


def test_a_checked_download_is_not_repeated_unless_its_address_or_checksum_changes(
    site: Site, tmp_path: Path
) -> None:
    old, new = site.put("/a/f.bin"), site.put("/b/f.bin", BODY[::-1])
    first = fetch([raw(f"{site.address}/a/f.bin")], tmp_path, retry=QUICK)
    again = fetch([raw(f"{site.address}/a/f.bin")], tmp_path, retry=QUICK)
    assert again == first
    assert len(old.requests) == 1
    fetch([raw(f"{site.address}/b/f.bin")], tmp_path, retry=QUICK)
    assert len(new.requests) == 1
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]
    with pytest.raises(FetchError, match="sha256 is"):
        fetch([raw(f"{site.address}/b/f.bin", sha256="0" * 64)], tmp_path, retry=QUICK)


def test_two_addresses_with_one_file_name_get_two_files(site: Site, tmp_path: Path) -> None:
    site.put("/a/f.bin", b"first")
    site.put("/b/f.bin", b"second")
    items = [raw(f"{site.address}/{folder}/f.bin") for folder in "ab"]
    fetch(items, tmp_path, retry=QUICK)
    assert (tmp_path / "000-f.bin").read_bytes() == b"first"
    assert (tmp_path / "001-f.bin").read_bytes() == b"second"


def test_the_proxy_variable_is_honoured(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.address)
    page = site.put("http://example.invalid/f.bin")
    fetch([raw("http://example.invalid/f.bin")], tmp_path, retry=QUICK)
    assert page.requests[0]["Host"] == "example.invalid"


def test_a_note_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"url": 1, "other": 2}', "\x00"):
        (tmp_path / "note").write_text(text)
        assert read_note(tmp_path / "note") is None


# Configuration, manifest, script


def config_file(folder: Path, values: Any) -> Path:
    file = folder / "fetch.wiki.json"
    file.write_text(json.dumps(values))
    return file


def test_the_items_of_one_name_are_read_from_a_json_list(tmp_path: Path) -> None:
    items = [raw("a").model_dump(), raw("https://x.org/b").model_dump()]
    assert load_raw_files(config_file(tmp_path, items)) == [raw("a"), raw("https://x.org/b")]


def test_all_problems_of_a_list_are_told_with_their_places(tmp_path: Path) -> None:
    good = raw("a").model_dump()
    bad = [good | {"size": 0}, good | {"sha265": "0"}, {"size": 3}]
    with pytest.raises(ConfigError) as caught:
        load_raw_files(config_file(tmp_path, bad))
    assert "fetch.wiki.0.size is 0" in str(caught.value)
    assert "fetch.wiki.1.sha265 is not a known key; did you mean `sha256`?" in str(caught.value)
    assert "fetch.wiki.2.location is missing" in str(caught.value)


def test_an_empty_and_a_missing_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"fetch\.wiki is an empty list"):
        load_raw_files(config_file(tmp_path, []))
    with pytest.raises(FileNotFoundError, match="rule `section` writes it"):
        load_raw_files(tmp_path / "fetch.none.json")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("ftp://x.org/f", "must be http://, https:// or a local path"),
        ("https:///f", "must be http://, https:// or a local path"),
        ("https://me:secret@x.org/f", "secrets do not belong in config"),
        ("https://x.org/a file", "percent-encoded"),
        ("https://x.org/folder/", "must end in the name of a file"),
        ("https://x.org/..", "must end in the name of a file"),
        ("", "at least 1 character"),
    ],
)
def test_an_unusable_location_is_refused(tmp_path: Path, location: str, message: str) -> None:
    values = raw("a").model_dump() | {"location": location}
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_raw_files(config_file(tmp_path, [values]))


def test_an_md5_list_for_an_address_is_refused(tmp_path: Path) -> None:
    values = raw("a").model_dump() | {"location": "https://x.org/f", "md5_list": "all.md5"}
    with pytest.raises(ConfigError, match="md5_list is for a local folder"):
        load_raw_files(config_file(tmp_path, [values]))


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
    manifest = write_fetch_manifest(tmp_path, fetch([raw(tmp_path / "a")], tmp_path).files)
    assert fetched_files(manifest) == [tmp_path / "a"]
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(FetchError, match=r"has 4 bytes, .*recorded 3"):
        fetched_files(manifest)
    (tmp_path / "a").unlink()
    with pytest.raises(FileNotFoundError, match=r"listed in .* is missing"):
        fetched_files(manifest)


def test_the_script_writes_the_manifest_and_one_line_for_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"abc")
    command = [sys.executable, str(ROOT / "scripts" / "fetch.py"), "--log", "log.txt"]
    command += ["--config", "fetch.wiki.json", "--output", "out/wiki.json"]
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


def test_a_raw_file_is_a_section() -> None:
    assert issubclass(RawFile, Section)
    assert all(field.description for field in RawFile.model_fields.values())
