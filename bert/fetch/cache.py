"""Downloads shared between runs and users: a folder of files by their sha256.

    <cache>/files/<2 digits>/<sha256>       the bytes, read-only
    <cache>/addresses/<sha256 of it>.json   address -> sha256, with the server's validator

A file enters whole, by a link or a rename, and is digested each time it is taken: a damaged one is
thrown away. So two runs may share a cache at once, on any file system; where `flock` works, the
second to want an address waits for the first instead of downloading it again. A cache may be
read-only, and may be deleted at any time: runs keep their own link or copy.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from bert.fetch.checksums import Expected, FileDigest
from bert.manifest import fsync_directory

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """What the cache knows of an address: its bytes' sha256 and the server's validator."""

    sha256: str
    validator: str | None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`, waiting for it; it ends with the process.

    Where the file cannot be made or the file system has no locks, goes on without one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError:
        yield
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another process that holds %s", path)
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            logger.info("%s: no locks here (%s)", path, errno.errorcode.get(error.errno or 0))
        yield


def lock_of(cache: Path, url: str) -> Path:
    """Lock file of an address."""
    return _address(cache, url).with_suffix(".lock")


def look_up(cache: Path, url: str, expected: Expected) -> Entry | None:
    """What the cache has for an address, or for an expected sha256 whatever its address."""
    if expected.sha256 is not None:
        return Entry(expected.sha256, None) if _file(cache, expected.sha256).is_file() else None
    try:
        values = json.loads(_address(cache, url).read_text("utf-8"))
        entry = Entry(str(values["sha256"]), values["validator"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return entry if _file(cache, entry.sha256).is_file() else None


def take(cache: Path, entry: Entry, target: Path, expected: Expected) -> FileDigest | None:
    """Puts the file of an entry at `target`, as a hard link if that works, else as a copy.

    Returns:
        What it is, or None when the cached file was damaged or is not what is expected.

    Raises:
        OSError: The copy cannot be written.
    """
    source = _file(cache, entry.sha256)
    temporary = target.with_name(f".{target.name}.cached")
    temporary.unlink(missing_ok=True)
    _link_or_copy(source, temporary)
    try:
        found = expected.digest(temporary)
        if found.sha256 != entry.sha256:
            logger.warning("%s is damaged (its sha256 is %s); ignoring it", source, found.sha256)
            with suppress(OSError):
                source.unlink()
            return None
        if expected.mismatches(found):
            return None
        temporary.replace(target)
        return found
    finally:
        temporary.unlink(missing_ok=True)


def store(cache: Path, url: str, file: Path, sha256: str, validator: str | None) -> None:
    """Adds a checked file under its address; a cache that cannot be written is only warned of."""
    note = json.dumps({"url": url, "sha256": sha256, "validator": validator})
    target = _file(cache, sha256)
    try:
        if not target.exists():
            with _entering(target) as temporary:
                _link_or_copy(file, temporary)
        with _entering(_address(cache, url)) as temporary:
            temporary.write_text(note, "utf-8")
    except OSError as error:
        logger.warning("%s was not added to the cache %s: %s", url, cache, error)


@contextmanager
def _entering(target: Path) -> Iterator[Path]:
    """Yields a name that no other process uses; afterwards the file there becomes `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(target)
        fsync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links, or too many of them
        shutil.copyfile(source, target)
        with target.open("rb+") as stream:
            os.fsync(stream.fileno())
        target.chmod(0o444)


def _file(cache: Path, sha256: str) -> Path:
    return cache / "files" / sha256[:2] / sha256


def _address(cache: Path, url: str) -> Path:
    return cache / "addresses" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
