"""One file over HTTP(S): continued after a broken connection, never taken for whole when it is not.

The body goes into a part file; beside it lies a small JSON note of the address, the server's
validator (ETag or Last-Modified) and the promised length, by which a later connection, or a later
process, knows whether the part may be continued. Only the standard library is used; the proxy
variables of the environment (`http_proxy`, `https_proxy`, `no_proxy`) are honoured by `urllib`.
"""

import json
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple

from bert.log import Progress, human_time
from bert.manifest import write_json

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MIB = 1 << 20
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(OSError):
    """A download that failed for good; the message names the address and what to do."""


class _BrokenError(Exception):
    """A connection that is worth another try."""


_TRANSIENT = (
    _BrokenError,
    urllib.error.URLError,
    HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


@dataclass(frozen=True)
class Retry:
    """How patiently a download is repeated.

    Attributes:
        attempts: Tries in a row that bring no new byte before the download fails.
        first_wait_s: Pause before the second try in seconds; it doubles with each further one.
        longest_wait_s: Upper bound of the pause in seconds.
        timeout_s: Seconds without an answer or a byte after which a connection counts as broken.
    """

    attempts: int
    first_wait_s: float
    longest_wait_s: float
    timeout_s: float


PATIENT = Retry(attempts=8, first_wait_s=1.0, longest_wait_s=120.0, timeout_s=60.0)


class Note(NamedTuple):
    """What is known of the server's file: address, ETag or Last-Modified, length in bytes."""

    url: str
    validator: str | None
    total: int | None


def read_note(path: Path) -> Note | None:
    """The note at `path`, or None when there is none that can be read."""
    try:
        return Note(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def download(url: str, part: Path, note: Path, *, checked: bool, retry: Retry) -> bool:
    """Downloads the whole body of `url` into `part`, continuing what lies there if it may.

    Args:
        url: An http or https address.
        part: The part file.
        note: The note beside it, see `Note`.
        checked: The caller compares a checksum afterwards, so a part may be continued even if
            the server gives no validator.
        retry: How patiently to repeat.

    Returns:
        Whether the body was put together from more than one connection.

    Raises:
        DownloadError: The server refuses, the disk is too small, or all tries are used up.
    """
    most, failures = _size(part), 0
    while True:
        try:
            return _continue(url, part, note, checked, retry)
        except _TRANSIENT as error:
            reason = getattr(error, "reason", None)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DownloadError(f"{url}: {reason}. The certificate is not trusted.") from None
            # Counted against the best so far: a server that always breaks must not go on for ever.
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            _wait_or_fail(url, error, failures, retry)


def _wait_or_fail(url: str, error: Exception, failures: int, retry: Retry) -> None:
    if failures >= retry.attempts:
        raise DownloadError(
            f"{url}: {failures} tries in a row brought nothing new; the last one: {error}. Check "
            "the address and the network (https_proxy on a cluster; compute nodes often have "
            "none), run again to continue, or download the file by hand and give its local path."
        ) from error
    wait = min(retry.first_wait_s * 2 ** max(failures - 1, 0), retry.longest_wait_s)
    logger.warning("%s: %s; trying again in %s", url, error, human_time(wait))
    time.sleep(wait)


def _continue(url: str, part: Path, note: Path, checked: bool, retry: Retry) -> bool:
    """One connection; returns whether it continued earlier bytes. Raises if the body is short."""
    known = read_note(note)
    if known is None or known.url != url:
        part.unlink(missing_ok=True)
        known = None
    have = _size(part)
    if known is not None and have > 0 and have == known.total:
        return True
    headers = _range_headers(known, have, checked)
    with _open(url, part, headers, retry) as response:
        start = _start(response, known, have if headers else 0, part)
        found = Note(url, _validator(response.headers), _total(response, start))
        write_json(note, found._asdict())
        _check_disk(url, part, found.total, start)
        _receive(response, part, start, found.total)
    if found.total is not None and _size(part) != found.total:
        raise _BrokenError(f"the connection ended after {_size(part)} of {found.total} bytes")
    return start > 0


def _range_headers(known: Note | None, have: int, checked: bool) -> dict[str, str]:
    if known is None or not have or not (known.validator or checked):
        return {}
    condition = {"If-Range": known.validator} if known.validator else {}
    return {"Range": f"bytes={have}-", **condition}


def _open(url: str, part: Path, headers: dict[str, str], retry: Retry) -> HTTPResponse:
    # `identity`: the bytes and their length must be those of the file, not of a compressed copy.
    fixed = {"User-Agent": "bert-pretraining fetch", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=fixed | headers)
    # A new opener each time: `urlopen` would keep the proxy variables of its first call.
    opener = urllib.request.build_opener()
    try:
        response: HTTPResponse = opener.open(request, timeout=retry.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _BrokenError(f"{answer} to a continuation; starting over") from None
        if error.code in _BUSY:
            raise _BrokenError(answer) from None
        raise DownloadError(
            f"{url}: {answer}. Check the address, or download the file by hand and give its "
            "local path."
        ) from None
    return response


def _start(response: HTTPResponse, known: Note | None, asked: int, part: Path) -> int:
    """Offset of the first byte of this answer: `asked`, or 0 when the server sends everything."""
    if response.status == 200:
        return 0
    first, total = _content_range(response.headers)
    validator = _validator(response.headers)
    changed = known is not None and (
        (known.total is not None and total is not None and known.total != total)
        or bool(known.validator and validator and known.validator != validator)
    )
    if response.status != 206 or first != asked or changed:
        part.unlink(missing_ok=True)
        raise _BrokenError(
            f"the server answered {response.status} with bytes from {first} of {total}, "
            f"asked for bytes from {asked}; starting over"
        )
    return asked


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        return None, None
    return int(found[1]), int(found[2]) if found[2] != "*" else None


def _total(response: HTTPResponse, start: int) -> int | None:
    total = _content_range(response.headers)[1]
    length = response.headers.get("Content-Length", "")
    if total is None and length.isdigit():
        total = start + int(length)
    return total


def _validator(headers: Message) -> str | None:
    etag = headers.get("ETag")
    # A weak ETag promises an equal meaning, not equal bytes, and may not stand in If-Range.
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _check_disk(url: str, part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free + (_size(part) - start)
    if total is not None and total - start > free:
        raise DownloadError(
            f"{url}: {total - start} bytes are to come, but {part.parent} has {free} bytes free. "
            "Free some space, or put the results folder on a larger disk."
        )


def _receive(response: HTTPResponse, part: Path, start: int, total: int | None) -> None:
    progress = Progress(f"{part.stem} (MiB)", total // _MIB, start=start // _MIB) if total else None
    done = start
    with part.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        while chunk := response.read(_CHUNK_BYTES):
            stream.write(chunk)
            done += len(chunk)
            if progress:
                left = partial(human_time, progress.eta_s(done // _MIB))
                progress.update(done // _MIB, left, log=False)
        stream.flush()
        os.fsync(stream.fileno())
    if progress:
        progress.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
