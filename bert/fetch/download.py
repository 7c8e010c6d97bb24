"""One file over HTTP(S): continued after a broken connection, never taken for whole when it is not.

The body goes into a part file; beside it lies a small JSON note of the address, the server's
validator (ETag or Last-Modified) and the promised length, by which a later connection, or a later
process, knows whether the part may be continued. Only the standard library is used; the proxy
variables of the environment (`http_proxy`, `https_proxy`, `no_proxy`) are honoured by `urllib`.
"""

import json
import logging
import os
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Event
from typing import NamedTuple

from bert.fetch.deadlinks import advice
from bert.fetch.headers import content_range, retry_after_s, total_length, validator
from bert.log import Progress, human_time
from bert.manifest import write_json

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MIB = 1 << 20
_SHOWN_MIB = 64  # smaller files need no progress of their own
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER_S = 3600.0


class DownloadError(OSError):
    """A download that failed for good; the message names the address and what to do."""


class StoppedError(Exception):
    """A download that was told to stop, because another one failed."""


class _BrokenError(Exception):
    """A connection that is worth another try, after a pause of at least `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Retry:
    """How patiently a download is repeated.

    Attributes:
        attempts: Tries in a row that bring no new byte before the download fails.
        first_wait_s: Pause before the second try in seconds; it doubles with each further one.
        longest_wait_s: Upper bound of the pause in seconds; a longer one that the server asks for
            with Retry-After is kept, up to an hour.
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


def download(url: str, part: Path, note: Path, *, checked: bool, retry: Retry, stop: Event) -> bool:
    """Downloads the whole body of `url` into `part`, continuing what lies there if it may.

    Args:
        url: An http or https address.
        part: The part file.
        note: The note beside it, see `Note`.
        checked: The caller compares a checksum afterwards, so a part may be continued even if
            the server gives no validator, or from another address.
        retry: How patiently to repeat.
        stop: Set by another thread to end this download soon; the part stays.

    Returns:
        Whether the body was put together from more than one connection.

    Raises:
        DownloadError: The server refuses, the disk is full or not writable, or all tries are
            used up.
        StoppedError: `stop` was set.
    """
    most, failures = _size(part), 0
    while True:
        try:
            return _continue(url, part, note, checked, retry, stop)
        except _BrokenError as error:
            # Counted against the best so far: a server that always breaks must not go on for ever.
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if stop.wait(_pause_or_fail(url, error, failures, retry)):
                raise StoppedError(url) from None
        except DownloadError:
            raise
        except OSError as error:  # those of the network are broken connections by now
            raise DownloadError(
                f"{url}: cannot write {part}: {error.strerror or error}. Make room, or put the "
                "results folder (and BERT_CACHE) where there is some and it can be written; then "
                "run again, the download goes on where it stopped."
            ) from error


def _pause_or_fail(url: str, error: _BrokenError, failures: int, retry: Retry) -> float:
    if failures >= retry.attempts or error.wait_s > _LONGEST_RETRY_AFTER_S:
        asked = f"; the server asks to wait {human_time(error.wait_s)}" if error.wait_s else ""
        raise DownloadError(
            f"{url}: {failures} tries in a row brought nothing new; the last one: {error}{asked}. "
            "Check the address and the network (https_proxy on a cluster; compute nodes often "
            "have none), run again to continue, or download the file by hand and give its local "
            f"path.{advice(url)}"
        ) from error
    own = min(retry.first_wait_s * 2.0 ** max(failures - 1, 0), retry.longest_wait_s)
    wait = max(own, error.wait_s)
    logger.warning("%s: %s; trying again in %s", url, error, human_time(wait))
    return wait


def _continue(url: str, part: Path, note: Path, checked: bool, retry: Retry, stop: Event) -> bool:
    """One connection; returns whether it continued earlier bytes. Raises if the body is short."""
    known = read_note(note)
    if known is not None and known.url != url:
        # Of a mirror only the checksum says that it has the same bytes.
        known = Note(url, None, known.total) if checked else None
    if known is None:
        part.unlink(missing_ok=True)
    have = _size(part)
    if known is not None and have > 0 and have == known.total:
        return True
    headers = _range_headers(known, have, checked)
    with _open(url, part, headers, retry) as response:
        start = _start(response, known, have if headers else 0, part)
        found = Note(url, validator(response.headers), total_length(response.headers, start))
        write_json(note, found._asdict())
        if found.total is not None:
            check_disk(part.parent, found.total - _size(part), url)
        _receive(response, part, start, found.total, stop)
    if found.total is not None and _size(part) != found.total:
        raise _BrokenError(f"the connection ended after {_size(part)} of {found.total} bytes")
    return start > 0


def _range_headers(known: Note | None, have: int, checked: bool) -> dict[str, str]:
    if known is None or not have or not (known.validator or checked):
        return {}
    condition = {"If-Range": known.validator} if known.validator else {}
    return {"Range": f"bytes={have}-", **condition}


def _request(url: str, headers: dict[str, str], retry: Retry, method: str) -> HTTPResponse:
    # Wikimedia turns away clients that do not say who they are.
    contact = os.environ.get("BERT_CONTACT") or "no contact given"
    agent = f"bert-pretraining-fetch/1.0 ({contact}) Python-urllib"
    # `identity`: the bytes and their length must be those of the file, not of a compressed copy.
    fixed = {"User-Agent": agent, "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=fixed | headers, method=method)
    # A new opener each time: `urlopen` would keep the proxy variables of its first call.
    response: HTTPResponse = urllib.request.build_opener().open(request, timeout=retry.timeout_s)
    return response


def server_note(url: str, retry: Retry) -> Note | None:
    """What the server says of its file now, without its body; None if it does not answer."""
    try:
        with _request(url, {}, retry, "HEAD") as response:
            return Note(url, validator(response.headers), total_length(response.headers, 0))
    except (OSError, HTTPException):
        return None


def _open(url: str, part: Path, headers: dict[str, str], retry: Retry) -> HTTPResponse:
    try:
        return _request(url, headers, retry, "GET")
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _BrokenError(f"{answer} to a continuation; starting over") from None
        if error.code in _BUSY:
            raise _BrokenError(answer, retry_after_s(error.headers)) from None
        raise DownloadError(
            f"{url}: {answer}. Check the address, or download the file by hand and give its "
            f"local path.{advice(url)}"
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: {reason}. The certificate is not trusted.") from None
        raise _BrokenError(str(error)) from error


def _start(response: HTTPResponse, known: Note | None, asked: int, part: Path) -> int:
    """Offset of the first byte of this answer: `asked`, or 0 when the server sends everything."""
    if response.status == 200:
        return 0
    first, total = content_range(response.headers)
    now = validator(response.headers)
    changed = known is not None and (
        (known.total is not None and total is not None and known.total != total)
        or bool(known.validator and now and known.validator != now)
    )
    if response.status != 206 or first != asked or changed:
        part.unlink(missing_ok=True)
        raise _BrokenError(
            f"the server answered {response.status} with bytes from {first} of {total}, "
            f"asked for bytes from {asked}; starting over"
        )
    return asked


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuses when `folder` has fewer than `needed` bytes free.

    Raises:
        DownloadError: The disk is too small; names `what` was to be written.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{what}: {needed} bytes are to come, but {folder} has {free} bytes free. "
            "Free some space, or put the results folder on a larger disk."
        )


def _receive(
    response: HTTPResponse, part: Path, start: int, total: int | None, stop: Event
) -> None:
    shown = total is not None and total >= _SHOWN_MIB * _MIB
    name = f"{part.stem} (MiB)"
    progress = Progress(name, (total or 0) // _MIB, start=start // _MIB) if shown else None
    done = start
    with part.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        while chunk := _read(response):
            stream.write(chunk)
            done += len(chunk)
            if progress:
                left = partial(human_time, progress.eta_s(done // _MIB))
                progress.update(done // _MIB, left, log=False)
            if stop.is_set():
                raise StoppedError(part.name)
        stream.flush()
        os.fsync(stream.fileno())
    if progress:
        progress.close()


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"the connection broke: {error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
