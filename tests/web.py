"""A web server that misbehaves on demand, and small ways to name raw items, for the fetch tests."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any, ClassVar
from urllib.parse import urlsplit

from bert.fetch.acquire import Access, Wanted, acquire
from bert.fetch.checksums import Expected, FileDigest
from bert.fetch.download import Retry
from bert.fetch.rawfiles import RawFile

BODY = bytes(range(256)) * 1000
PAGE = b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head><body>no</body></html>"
QUICK = Retry(attempts=3, first_wait_s=0.0, longest_wait_s=0.0, timeout_s=5.0)


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
        self.retry_after: str | None = None  # sent with those
        self.promise: int | None = None  # a false Content-Length
        self.length = True
        self.chunked = False
        self.after: list[bytes] = []  # body of the later requests
        self.redirect: str | None = None
        self.type = "application/octet-stream"
        self.slow: list[float] = []  # seconds before the body, per request
        self.hold: Event | None = None  # half the body, then wait for this
        vars(self).update(changes)
        self.requests: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    site: ClassVar[dict[str, Behaviour]] = {}
    now = 0
    most = 0
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_HEAD(self) -> None:
        behaviour = self.site.get(self.path)
        if behaviour is None:
            self.send_error(404)
            return
        behaviour.requests.append({"method": "HEAD", **self.headers})
        self.send_response(200)
        self._describe(behaviour, len(behaviour.body))
        self.end_headers()

    def do_GET(self) -> None:
        behaviour = self.site.get(self.path)
        if behaviour is None:
            self.send_error(404)
            return
        behaviour.requests.append({"method": "GET", **self.headers})
        if behaviour.redirect:
            self.send_response(302)
            self.send_header("Location", behaviour.redirect)
            self.end_headers()
            return
        if behaviour.status:
            self.send_response(behaviour.status.pop(0))
            if behaviour.retry_after:
                self.send_header("Retry-After", behaviour.retry_after)
            self.end_headers()
            return
        with self.lock:
            Handler.now += 1
            Handler.most = max(Handler.most, Handler.now)
        try:
            self._send(behaviour)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone
        finally:
            with self.lock:
                Handler.now -= 1
        self.close_connection = True

    def _send(self, behaviour: Behaviour) -> None:
        start = self._start(behaviour)
        total = len(behaviour.body)
        if start > 0 and start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self._describe(behaviour, total - start)
        self.end_headers()
        if behaviour.slow:
            time.sleep(behaviour.slow.pop(0))
        end = start + behaviour.break_after.pop(0) if behaviour.break_after else total
        body = behaviour.body[start:end]
        if behaviour.chunked:
            body = b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if end == total else b"")
        if behaviour.hold:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            behaviour.hold.wait(30)
            body = body[len(body) // 2 :]
        self.wfile.write(body)
        if behaviour.after:
            behaviour.body = behaviour.after.pop(0)

    def _describe(self, behaviour: Behaviour, length: int) -> None:
        if behaviour.chunked:
            self.protocol_version = "HTTP/1.1"
            self.send_header("Transfer-Encoding", "chunked")
        elif behaviour.length:
            self.send_header("Content-Length", str(behaviour.promise or length))
        for name, value in (("ETag", behaviour.etag), ("Last-Modified", behaviour.modified)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", behaviour.type)

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

    @property
    def most_at_once(self) -> int:
        return Handler.most

    def index(self, folder: str, names: list[str]) -> Behaviour:
        """An index page as nginx writes it."""
        links = "".join(f'<a href="{name}">{name}</a> 1-Jan 2K\n' for name in ["../", *names])
        page = f"<html><head><title>Index of {folder}</title></head><pre>{links}</pre></html>"
        return self.put(folder, page.encode(), type="text/html")


@contextmanager
def serving() -> Iterator[Site]:
    Handler.site.clear()
    Handler.now = Handler.most = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Site(server.server_address[1])
    finally:
        server.shutdown()
        server.socket.close()
        thread.join()


def raw(location: object, **checks: Any) -> RawFile:
    return RawFile(location=str(location), **checks)


def access(**changes: Any) -> Access:
    return Access(cache=None, offline=False, downloads=2, retry=QUICK)._replace(**changes)


def get(url: str, folder: Path, *mirrors: str, **changes: Any) -> FileDigest:
    """Acquires one address as folder/<last part>; checks and access as keywords."""
    checks = {key: changes.pop(key) for key in Expected._fields if key in changes}
    target = folder / urlsplit(url).path.rpartition("/")[2]
    wanted = Wanted((url, *mirrors), Expected(**checks))
    return acquire(wanted, target, access(**changes), Event())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
