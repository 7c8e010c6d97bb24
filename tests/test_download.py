import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from bert.fetch.download import DownloadError, Note, StoppedError, download, read_note, server_note
from bert.fetch.headers import retry_after_s
from bert.manifest import ROOT
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


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    page = site.put("/busy.bin", status=[503, 429])
    get(f"{site.address}/busy.bin", tmp_path)
    assert len(page.requests) == 3
    page = site.put("/gone.bin", status=[404, 404])
    with pytest.raises(DownloadError, match=r"gone\.bin: the server answered 404 Not Found"):
        get(f"{site.address}/gone.bin", tmp_path)
    assert len(page.requests) == 1


def test_a_server_that_promises_more_than_it_has_fails_by_name(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", promise=len(BODY) + 10, ranges=False)
    with pytest.raises(DownloadError, match=rf"ended after {len(BODY)} of {len(BODY) + 10} bytes"):
        get(f"{site.address}/f.bin", tmp_path)
    assert not (tmp_path / "f.bin").exists()


def test_a_server_that_always_breaks_is_given_up(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", ranges=False, break_after=[500, 100, 400, 200, 300] * 4)
    with pytest.raises(DownloadError, match="3 tries in a row"):
        get(f"{site.address}/f.bin", tmp_path)
    assert len(page.requests) == 4


def test_a_body_without_a_length_is_taken_to_its_end(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", length=False)
    get(f"{site.address}/f.bin", tmp_path, sha256=sha256(BODY))
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_started_over(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin")
    (tmp_path / "f.bin.part").write_bytes(BODY + b"more")
    note = Note(f"{site.address}/f.bin", '"v1"', None)
    (tmp_path / ".f.bin.json").write_text(json.dumps(note._asdict()))
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 2


def test_a_closed_port_fails_with_the_address_and_advice(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/f.*https_proxy"):
        get("http://127.0.0.1:9/f.bin", tmp_path)


def test_a_full_disk_is_told_before_the_download(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", promise=1 << 60)
    with pytest.raises(DownloadError, match="bytes free"):
        get(f"{site.address}/f.bin", tmp_path)


def test_the_proxy_variable_is_honoured(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.address)
    page = site.put("http://example.invalid/f.bin")
    get("http://example.invalid/f.bin", tmp_path)
    assert page.requests[0]["Host"] == "example.invalid"


def test_a_note_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"url": 1, "other": 2}', "\x00"):
        (tmp_path / "note").write_text(text)
        assert read_note(tmp_path / "note") is None


def test_a_chunked_body_that_breaks_off_is_not_taken_for_whole(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", chunked=True, break_after=[1000])
    get(f"{site.address}/f.bin", tmp_path, sha256=sha256(BODY))
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 2


def test_a_server_that_is_silent_for_too_long_is_asked_again(site: Site, tmp_path: Path) -> None:
    page = site.put("/f.bin", slow=[2.0])
    get(f"{site.address}/f.bin", tmp_path, retry=replace(QUICK, timeout_s=0.2))
    assert (tmp_path / "f.bin").read_bytes() == BODY
    assert len(page.requests) == 2


def test_a_redirect_is_followed_and_a_loop_of_them_is_an_error(site: Site, tmp_path: Path) -> None:
    site.put("/old.bin", redirect=f"{site.address}/new.bin")
    site.put("/new.bin", break_after=[1000])
    get(f"{site.address}/old.bin", tmp_path, sha256=sha256(BODY))
    assert (tmp_path / "old.bin").read_bytes() == BODY
    site.put("/loop.bin", redirect=f"{site.address}/loop.bin")
    with pytest.raises(DownloadError, match=r"loop\.bin: the server answered 302.*infinite loop"):
        get(f"{site.address}/loop.bin", tmp_path)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_final_and_named(site: Site, tmp_path: Path, status: int) -> None:
    page = site.put("/f.bin", status=[status] * 3)
    with pytest.raises(DownloadError, match=f"the server answered {status}"):
        get(f"{site.address}/f.bin", tmp_path)
    assert len(page.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_of_the_server_is_waited_for(
    site: Site, tmp_path: Path, status: int
) -> None:
    page = site.put("/f.bin", status=[status] * 2)
    get(f"{site.address}/f.bin", tmp_path)
    assert len(page.requests) == 3


def test_the_pause_that_a_server_asks_for_is_kept(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", status=[429], retry_after="1")
    began = time.monotonic()
    get(f"{site.address}/f.bin", tmp_path)
    assert time.monotonic() - began >= 1.0


def test_a_pause_of_hours_is_not_waited_for_but_told(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", status=[503], retry_after="36000")
    with pytest.raises(DownloadError, match=r"answered 503.*asks to wait 10\.0 h"):
        get(f"{site.address}/f.bin", tmp_path)


def test_retry_after_may_be_a_date_and_nonsense_counts_as_nothing() -> None:
    def asked(value: str) -> float:
        return retry_after_s({"Retry-After": value})  # type: ignore[arg-type]

    assert 80 < asked(formatdate(time.time() + 90, usegmt=True)) <= 90
    assert asked(formatdate(time.time() - 90, usegmt=True)) == 0
    assert [asked(value) for value in ("17", "", "soon")] == [17, 0, 0]


def test_the_pauses_double_up_to_the_longest(site: Site, tmp_path: Path) -> None:
    class Stop(threading.Event):
        waits: list[float]

        def wait(self, timeout: float | None = None) -> bool:
            self.waits.append(timeout or 0.0)
            return False

    stop = Stop()
    stop.waits = []
    site.put("/f.bin", status=[503] * 5)
    patient = replace(QUICK, attempts=6, first_wait_s=1.0, longest_wait_s=5.0)
    part, note = tmp_path / "f.part", tmp_path / "f.json"
    download(f"{site.address}/f.bin", part, note, checked=False, retry=patient, stop=stop)
    assert stop.waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_download_that_is_told_to_stop_leaves_its_part(site: Site, tmp_path: Path) -> None:
    site.put("/f.bin", BODY * 20)
    stop = threading.Event()
    stop.set()
    part, note = tmp_path / "f.part", tmp_path / "f.json"
    with pytest.raises(StoppedError):
        download(f"{site.address}/f.bin", part, note, checked=False, retry=QUICK, stop=stop)
    assert part.read_bytes() == (BODY * 20)[: 1 << 20]


def test_a_server_tells_its_version_without_the_body(site: Site) -> None:
    site.put("/f.bin")
    url = f"{site.address}/f.bin"
    assert server_note(url, QUICK) == Note(url, '"v1"', len(BODY))
    assert server_note(f"{site.address}/none", QUICK) is None
    assert server_note("http://127.0.0.1:9/f", QUICK) is None


def test_servers_are_told_who_asks(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = site.put("/f.bin")
    monkeypatch.setenv("BERT_CONTACT", "someone@example.org")
    get(f"{site.address}/f.bin", tmp_path)
    assert page.requests[0]["User-Agent"].startswith("bert-pretraining-fetch/")
    assert "(someone@example.org)" in page.requests[0]["User-Agent"]


def test_an_https_address_goes_through_its_proxy_as_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(QUICK.attempts):
                connection, _address = server.accept()
                with connection:
                    asked.append(connection.recv(4096).split(b"\r\n")[0])
                    connection.sendall(b"HTTP/1.0 403 Not here\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(DownloadError, match="Tunnel connection failed: 403 Not here"):
            get("https://example.invalid/f.bin", tmp_path)
        thread.join()
    assert asked[0].startswith(b"CONNECT example.invalid:443 ")


def test_an_exception_from_the_proxy_is_honoured(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site.put("/f.bin")
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY


DOWNLOAD = (
    "import sys; from pathlib import Path; from tests.web import get; get(sys.argv[1], Path('.'))"
)


def start(url: str, folder: Path, **more: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DOWNLOAD, url]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, **more
    )  # type: ignore[call-overload, no-any-return]


def test_a_process_killed_in_the_middle_is_followed_by_one_that_goes_on(
    site: Site, tmp_path: Path
) -> None:
    body = BODY * 20
    page = site.put("/f.bin", body, hold=threading.Event())
    process = start(f"{site.address}/f.bin", tmp_path)
    part = tmp_path / "f.bin.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size >= 1 << 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "f.bin").exists()
    page.hold.set()
    page.hold = None
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == body
    assert page.requests[-1]["Range"].startswith("bytes=")


def test_a_disk_that_gets_full_is_told_and_the_part_goes_on_afterwards(
    site: Site, tmp_path: Path
) -> None:
    page = site.put("/f.bin", BODY * 20)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))

    process = start(f"{site.address}/f.bin", tmp_path, preexec_fn=limit)
    message = process.communicate()[1]
    assert process.returncode == 1
    assert "f.bin: cannot write f.bin.part: File too large. Make room" in message
    assert not (tmp_path / "f.bin").exists()
    assert (tmp_path / "f.bin.part").read_bytes() == (BODY * 20)[: 3 << 20]
    get(f"{site.address}/f.bin", tmp_path)
    assert (tmp_path / "f.bin").read_bytes() == BODY * 20
    assert page.requests[-1]["Range"] == f"bytes={3 << 20}-"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(site: Site, tmp_path: Path) -> None:
    # ru_maxrss would count the parent's memory at the fork.
    code = DOWNLOAD + "; print(Path('/proc/self/status').read_text())"
    peaks = []
    for times in (16, 128):  # 4 and 33 MB
        site.put(f"/{times}.bin", BODY * times)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, f"{site.address}/{times}.bin"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        peaks.append(int(re.search(r"VmHWM:\s*(\d+) kB", done.stdout)[1]))
    assert peaks[0] < 100 * 1024
    assert peaks[1] < peaks[0] + 4 * 1024
