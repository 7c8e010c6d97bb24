"""A web server for one person: a page with a form, and a door that takes and gives JSON.

It listens on this machine alone unless told otherwise, and does nothing but answer: it reads no
file that a request names, keeps nothing, and starts nothing. A page of another site that is open
in the same browser can neither ask (JSON needs that site's permission, which is never given) nor
read, even where its name has been pointed at this machine (the `Host` of a request must be an
address or localhost, never a name that somebody else can point here).

| request | answer |
|---|---|
| GET / | the page |
| GET /page.css, /page.js | its style and its script |
| POST /predict, application/json | the answer as JSON; on an error {"error": what is wrong} |
"""

import ipaddress
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from bert.predict.requests import RequestError

logger = logging.getLogger(__name__)

# Two of the longest texts as the page sends them, four bytes a character at most.
MOST_BYTES = 2**20
# Of a request that is larger, so much is read and dropped, in pieces of so much.
_MOST_DROPPED = 2**24
_PIECE = 2**16
# What a connection may keep a thread waiting.
_PATIENCE_S = 30
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_JSON = "application/json; charset=utf-8"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# Plain data of a request to plain data of its answer.
Ask = Callable[[Any], Any]
# Path to its content type and its bytes.
Pages = dict[str, tuple[str, bytes]]


class _RefusedError(Exception):
    """What is wrong with a request, and its status."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


class PredictServer(ThreadingHTTPServer):
    """Connections have a thread each, the model has one for all of them."""

    daemon_threads = True

    def __init__(self, address: str, port: int, ask: Ask, pages: Pages) -> None:
        """Listens at once.

        Args:
            address: To listen on; 127.0.0.1 is heard by this machine alone.
            port: 0 takes a free one.
            ask: Answers a request; called by one thread, one request after another.
            pages: What GET gives, by path.

        Raises:
            OSError: The port is taken, or the address is not this machine's.
        """
        # Threads of a library for parallel loops belong to the thread that called it.
        self._model = ThreadPoolExecutor(max_workers=1)
        self._ask, self.pages = ask, pages
        super().__init__((address, port), _Handler)

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/"

    def answer(self, values: Any) -> Any:
        """The model's answer, in the order in which requests arrive."""
        return self._model.submit(self._ask, values).result()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Listens no more; what the model has begun is let go."""
        super().server_close()
        self._model.shutdown(wait=False, cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    server: PredictServer
    protocol_version = "HTTP/1.1"
    server_version = "predict"
    sys_version = ""
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        self._reply(self._page)

    def do_POST(self) -> None:
        self._reply(self._predict)

    def _reply(self, give: Callable[[], tuple[str, bytes]]) -> None:
        status = HTTPStatus.OK
        try:
            kind, body = give()
        except _RefusedError as refusal:
            status, kind, body = refusal.status, _JSON, _json({"error": str(refusal)})
            # The rest of a request that was too large may still be on its way.
            self.close_connection = True
        self.send_response(status)
        headers = _HEADERS | {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            known = name == "localhost" or bool(ipaddress.ip_address(name))
        except ValueError:
            known = False
        if not known:
            raise _RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This server is not {host or 'without a name'!r}; open it by its address or as "
                "localhost.",
            )

    def _page(self) -> tuple[str, bytes]:
        self._check_host()
        path = urlsplit(self.path).path
        if path == "/predict":
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "/predict takes POST, not GET.")
        if path not in self.server.pages:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "There is no such page; the form is at /.")
        return self.server.pages[path]

    def _predict(self) -> tuple[str, bytes]:
        # A browser hears a refusal only if what it sends was read.
        body = self._body()
        self._check_host()
        if self.path != "/predict":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "Only /predict takes POST.")
        if self.headers.get_content_type() != "application/json":
            found = self.headers.get("Content-Type", "not given")
            raise _RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type is {found}; expected application/json.",
            )
        try:
            values = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise _RefusedError(
                HTTPStatus.BAD_REQUEST, f"The request is not JSON: {error}."
            ) from None
        try:
            answer = self.server.answer(values)
        except RequestError as error:
            raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except Exception:
            logger.exception("A request failed")
            words = "The model failed; the terminal of the server shows why."
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, words) from None
        return _JSON, _json(answer)

    def _body(self) -> bytes:
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing; give it.")
        length = int(given[:15])
        if length <= MOST_BYTES:
            return self.rfile.read(length)
        for _ in range(min(length, _MOST_DROPPED) // _PIECE):
            self.rfile.read(_PIECE)
        raise _RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The request has {length:,} bytes; at most {MOST_BYTES:,} are taken.",
        )

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _json(values: Any) -> bytes:
    # Escapes hold even half a pair of surrogates, which a refused key may be.
    return json.dumps(values, allow_nan=False).encode("ascii")
