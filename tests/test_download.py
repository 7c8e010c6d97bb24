"""Downloads that break off and go on."""

import json
import shutil
import ssl
import subprocess
import threading
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from bert.fetch.download import DownloadError, Note
from tests.web import BODY, QUICK, Handler, Site, get, md5, sha256


def test_a_broken_connection_is_continued_where_it_broke(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000, 50_000])
    get(f"{site.address}/f.bin", tmp_path, sha256=sha256(BODY))
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert [r.get("Range") for r in page.requests] == [None, "bytes=1000-", "bytes=51000-"]
    assert page.requests[1]["If-Range"] == '"v1"'


def test_a_killed_download_is_continued_by_the_next_process(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000, 0])
    once = replace(QUICK, attempts=1)
    with pytest.raises(DownloadError, match="1 tries in a row brought nothing new"):
        get(f"{site.address}/f.bin", tmp_path, retry=once)
    assert not (tmp_path / "f.bin").exists()
    get(f"{site.address}/f.bin", tmp_path, retry=once)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert page.requests[-1]["Range"] == "bytes=1000-"


def test_a_part_that_was_whole_when_the_process_died_is_not_fetched_again(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(BODY)
    note = Note(f"{site.address}/f.bin", '"v1"', len(BODY))
    (tmp_path / ".f.bin.json").write_text(json.dumps(note._asdict()))
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert page.requests == []


def test_a_part_of_another_address_is_thrown_away(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(b"other")
    (tmp_path / ".f.bin.json").write_text(json.dumps(Note("http://x/f.bin", '"v1"', 9)._asdict()))
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert "Range" not in page.requests[0]


def test_a_server_that_ignores_range_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", ranges=False, break_after=[1000])
    get(f"{site.address}/f.bin", tmp_path, sha256=sha256(BODY))
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
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY[::-1]
    assert page.requests[1]["Range"] == "bytes=1000-"


def test_a_continuation_from_another_place_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", break_after=[1000], shift=5)
    get(f"{site.address}/f.bin", tmp_path)
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
        url = f"https://127.0.0.1:{server.server_address[1]}/f.bin"
        try:
            with pytest.raises(DownloadError, match="certificate is not trusted"):
                get(url, tmp_path / "d")
        finally:
            server.shutdown()
            thread.join()


def test_without_a_validator_a_part_is_continued_only_if_a_checksum_is_compared(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin", etag=None, break_after=[1000])
    get(f"{site.address}/f.bin", tmp_path / "a")
    assert "Range" not in page.requests[1]
    page = site.put("/f.bin", etag=None, break_after=[1000])
    get(f"{site.address}/f.bin", tmp_path / "b", md5=md5(BODY))
    assert page.requests[1]["Range"] == "bytes=1000-"
    assert "If-Range" not in page.requests[1]


def test_last_modified_serves_where_the_etag_is_weak(site: Site, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    page = site.put("/f.bin", etag='W/"v1"', modified=date, break_after=[1000])
    get(f"{site.address}/f.bin", tmp_path)
    assert page.requests[1]["If-Range"] == date
