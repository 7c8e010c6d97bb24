"""One file of the web under its own name: from this run, the cache, the address or its mirrors.

Whatever the way, the bytes are checked before the file gets its name, read-only.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import NamedTuple
from urllib.parse import urlsplit

from bert.fetch.cache import Entry, lock_of, locked, look_up, store, take
from bert.fetch.checksums import Expected, FileDigest
from bert.fetch.download import (
    PATIENT,
    DownloadError,
    Note,
    Retry,
    download,
    read_note,
    server_note,
)
from bert.fetch.fetched import FetchError
from bert.manifest import fsync_directory, write_json

logger = logging.getLogger(__name__)


class OfflineError(FetchError):
    """A file that is needed but may not be downloaded."""


class Wanted(NamedTuple):
    """A file on the web.

    Attributes:
        urls: Its address, then its mirrors.
        expected: What is known of it.
        page: Whether it may be a web page; else one counts as an error page.
    """

    urls: tuple[str, ...]
    expected: Expected
    page: bool = False


class Access(NamedTuple):
    """How the web is reached: it decides how fast files come, never what they are.

    Attributes:
        cache: Folder shared between runs, see `bert.fetch.cache`; None = no cache.
        offline: Take files only from this run and the cache.
        downloads: Connections at a time.
        retry: How patiently a connection is repeated.
    """

    cache: Path | None
    offline: bool
    downloads: int
    retry: Retry


def access_from(environment: Mapping[str, str], *, downloads: int) -> Access:
    """The access that the variables BERT_CACHE and BERT_OFFLINE describe.

    Raises:
        FetchError: A variable has a value that cannot be used.
    """
    offline = environment.get("BERT_OFFLINE", "")
    if offline not in ("", "0", "1"):
        raise FetchError(f"BERT_OFFLINE is {offline!r}; expected 1 (no network) or 0 or nothing.")
    cache = environment.get("BERT_CACHE", "")
    if cache and Path(cache).exists() and not Path(cache).is_dir():
        raise FetchError(f"BERT_CACHE is {cache!r}, which is not a folder; expected a folder.")
    return Access(Path(cache) if cache else None, offline == "1", downloads, PATIENT)


def acquire(wanted: Wanted, target: Path, access: Access, stop: Event) -> FileDigest:
    """Makes `target` the wanted file and says what it is.

    Raises:
        FetchError: What came is not what was expected, from any address.
        OfflineError: It is neither here nor in the cache, and `access.offline` is set.
        DownloadError: No address can be downloaded, or the disk is full or not writable.
        StoppedError: `stop` was set.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if found := _already_here(wanted, target):
            return found
        if access.cache is None:
            return _from_web(wanted, target, access, stop)
        with locked(lock_of(access.cache, wanted.urls[0])):
            if found := _from_cache(access.cache, wanted, target, access):
                return found
            found = _from_web(wanted, target, access, stop)
            known = read_note(_note(target))
            version = known.validator if known and known.url == wanted.urls[0] else None
            store(access.cache, wanted.urls[0], target, found.sha256, version)
            return found
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{wanted.urls[0]}: cannot write {target}: {error.strerror or error}. Put the results "
            "folder where it can be written and has room, then run again."
        ) from error


def _already_here(wanted: Wanted, target: Path) -> FileDigest | None:
    if not target.exists():
        return None
    known = read_note(_note(target))
    found = wanted.expected.digest(target)
    if known and known.url in wanted.urls and not wanted.expected.mismatches(found):
        logger.info("%s is already here, from %s", target, known.url)
        return found
    target.unlink()
    return None


def _from_cache(cache: Path, wanted: Wanted, target: Path, access: Access) -> FileDigest | None:
    url = wanted.urls[0]
    entry = look_up(cache, url, wanted.expected)
    if entry is None or not _current(entry, wanted, access):
        return None
    found = take(cache, entry, target, wanted.expected)
    if found:
        logger.info("%s comes from the cache, sha256 %s", url, found.sha256)
        write_json(_note(target), Note(url, entry.validator, found.bytes)._asdict())
    return found


def _current(entry: Entry, wanted: Wanted, access: Access) -> bool:
    """Whether cached bytes may stand for the address: by checksum, else if the server agrees."""
    if access.offline or wanted.expected.checked:
        return True
    now = server_note(wanted.urls[0], access.retry)
    return now is not None and now.validator is not None and now.validator == entry.validator


def _from_web(wanted: Wanted, target: Path, access: Access, stop: Event) -> FileDigest:
    if access.offline:
        raise OfflineError(wanted.urls[0])
    for number, url in enumerate(wanted.urls, start=1):
        try:
            return _from_address(url, wanted, target, access.retry, stop)
        except (DownloadError, FetchError) as error:
            if number == len(wanted.urls):
                raise
            logger.warning("%s Trying the mirror %s", error, wanted.urls[number])
    raise AssertionError("a wanted file has at least one address")


def _from_address(url: str, wanted: Wanted, target: Path, retry: Retry, stop: Event) -> FileDigest:
    part = target.with_name(f"{target.name}.part")
    for _ in range(2):
        checked = wanted.expected.checked
        resumed = download(url, part, _note(target), checked=checked, retry=retry, stop=stop)
        found = wanted.expected.digest(part)
        wrong = wanted.expected.mismatches(found)
        wrong += [] if wanted.page else _html_instead(url, part)
        if not wrong:
            break
        part.unlink()
        # Two versions of the file may have been joined: once more, in one piece.
        if not resumed:
            raise _bad_download(url, wrong)
    else:
        raise _bad_download(url, wrong)
    part.chmod(0o444)
    part.replace(target)
    fsync_directory(target.parent)
    return found


def _note(target: Path) -> Path:
    return target.with_name(f".{target.name}.json")


def _html_instead(url: str, part: Path) -> list[str]:
    """A problem if the body is a web page although the address does not name one."""
    with part.open("rb") as stream:
        start = stream.read(4096).decode("utf-8", "replace")
    if not re.match(r"\s*<(!doctype html|html)", start, re.IGNORECASE):
        return []
    if urlsplit(url).path.lower().endswith((".html", ".htm")):
        return []
    title = re.search(r"<title[^>]*>\s*(.{0,80})", start, re.IGNORECASE)
    named = f" with the title {title[1].partition('<')[0].strip()!r}" if title else ""
    return [f"it is an HTML page{named} (a login, a quota or an error page?)"]


def _bad_download(url: str, wrong: list[str]) -> FetchError:
    return FetchError(
        f"{url}: what was downloaded is not what was meant: {'; '.join(wrong)}. "
        "Correct the address or the checksum in section `fetch` of the configuration, or download "
        "the file by hand and give its local path."
    )
