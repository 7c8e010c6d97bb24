"""What servers answer, and what becomes of it."""

import json
import socket
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from bert.fetch.download import DownloadError, Note, StoppedError, download, read_note, server_note
from bert.fetch.headers import retry_after_s
from tests.web import BODY, QUICK, Site, get, sha256


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
