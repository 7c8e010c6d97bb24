"""The files on the web that items stand for, and how they come: several at a time, checked."""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from threading import Event
from typing import NamedTuple
from urllib.parse import quote, urljoin

from bert.fetch.acquire import Access, OfflineError, Wanted, acquire
from bert.fetch.checksums import Expected, FileDigest, bare_checksum
from bert.fetch.download import check_disk
from bert.fetch.fetched import FetchError
from bert.fetch.listing import Listed, parse_listing, select
from bert.fetch.rawfiles import RawFile, address_problem, file_name
from bert.log import Progress

logger = logging.getLogger(__name__)

_LISTS = ".lists"
_SHOWN = 5


class WebFile(NamedTuple):
    """A file to download.

    Attributes:
        item: Place of its item in the configuration's list.
        name: Its path relative to its list; of a single file, its name.
        wanted: Its addresses, and what is known of it.
        sidecar: Address of a file that states its digest, or None.
    """

    item: int
    name: str
    wanted: Wanted
    sidecar: str | None = None

    @property
    def checked(self) -> bool:
        """Whether a digest is known or will be."""
        return self.sidecar is not None or self.wanted.expected.checked


def single(number: int, item: RawFile) -> WebFile:
    """The file of an item that is one address."""
    urls = (item.location, *item.mirrors)
    return WebFile(number, file_name(item.location), Wanted(urls, item.expected))


def read_list(item: RawFile, folder: Path, access: Access) -> list[Listed]:
    """The files that an item's list names and its pattern chooses; places are whole addresses.

    A name in a local list that is no address stays a local path.

    Raises:
        FetchError: The list is missing, or names an address that cannot be used.
        ListingError: The list cannot be read, or names nothing that is wanted.
    """
    place = item.location
    if not item.is_url:
        if not Path(place).is_file():
            raise FetchError(f"{place} is not a file; expected a list of files (`listing`).")
        text, base = Path(place).read_text("utf-8", "replace"), ""
    else:
        text, base = _page(place, folder, access), urljoin(place, ".")
        if place.endswith(".uri"):  # MLCommons: an address of a folder; its list lies beside
            base = text.strip().rstrip("/") + "/"
            if problem := address_problem(base):
                raise FetchError(f"{place} should hold the address of a folder: {problem}")
            place = place.removesuffix(".uri") + ".md5"
            text = _page(place, folder, access)
    listed = select(parse_listing(text, base, place), item.pattern, place)
    return [one._replace(place=urljoin(base, one.place)) if base else one for one in listed]


def web_file(number: int, item: RawFile, listed: Listed) -> WebFile:
    """The download of a file that a list names.

    Raises:
        FetchError: Its address cannot be used.
    """
    if problem := address_problem(listed.place):
        raise FetchError(f"{item.location}: {problem}")
    # A mirror is trusted for its speed only: without a digest it is left alone.
    checked = listed.expected.checked or listed.sidecar is not None
    mirrors = [base + quote(listed.name) for base in item.mirrors] if checked else []
    wanted = Wanted((listed.place, *mirrors), listed.expected)
    sidecar = urljoin(listed.place, listed.sidecar) if listed.sidecar else None
    return WebFile(number, listed.name, wanted, sidecar)


def targets(files: Sequence[WebFile], folder: Path) -> list[Path]:
    """Where the files go; those whose names clash get their number in front."""
    names = [
        "/".join(file_name(quote(part)) or "_" for part in PurePosixPath(file.name).parts)
        for file in files
    ]
    times = Counter(names)
    return [
        folder / (f"{i:03d}-{name.replace('/', '-')}" if times[name] > 1 else name)
        for i, name in enumerate(names)
    ]


def acquire_all(
    files: Sequence[WebFile], folder: Path, access: Access
) -> list[tuple[Path, FileDigest]]:
    """Downloads the files, `access.downloads` at a time; (path, what it is) in their order.

    The first failure stops the others, whose parts stay for the next start.

    Raises:
        FetchError, DownloadError: See `bert.fetch.acquire.acquire`. Offline, all that is missing
            is told at once.
    """
    paths = targets(files, folder)
    _check_room(files, paths, folder)
    stop = Event()
    with ThreadPoolExecutor(access.downloads) as pool:
        work = [
            pool.submit(_acquire_one, file, path, access, stop)
            for file, path in zip(files, paths, strict=True)
        ]
        try:
            _watch(work, offline=access.offline)
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return [(path, one.result()) for path, one in zip(paths, work, strict=True)]


def _watch(work: Sequence[Future[FileDigest]], *, offline: bool) -> None:
    progress = Progress("files", len(work)) if len(work) > 1 else None
    waiting: set[Future[FileDigest]] = set(work)
    while waiting:
        done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
        for one in done:
            if not (offline and isinstance(one.exception(), OfflineError)):
                one.result()
        if progress:
            progress.update(len(work) - len(waiting), partial(_left, len(waiting)), log=False)
    if progress:
        progress.close()
    missing = [str(one.exception()) for one in work if one.exception() is not None]
    if missing:
        more = f", and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise OfflineError(
            f"BERT_OFFLINE is set, and {len(missing)} of {len(work)} files are neither in this "
            f"run nor in the cache (BERT_CACHE): {', '.join(missing[:_SHOWN])}{more}. Fetch them "
            "where there is a network, with the same BERT_CACHE: snakemake --until fetch; or "
            "download them by hand and give their local paths."
        )


def _left(files: int) -> str:
    return f"{files} to come"


def _acquire_one(file: WebFile, path: Path, access: Access, stop: Event) -> FileDigest:
    wanted = file.wanted
    if file.sidecar is not None:
        text = _small(file.sidecar, path.parent / _LISTS, access, stop)
        digest = bare_checksum(text)
        if digest is None:
            raise FetchError(f"{file.sidecar} is {text[:80]!r}; expected one checksum.")
        wanted = wanted._replace(expected=wanted.expected.with_digest(digest))
    return acquire(wanted, path, access, stop)


def _page(url: str, folder: Path, access: Access) -> str:
    """A list or index page as it is now; offline, as it was."""
    target = folder / _LISTS / _list_name(url)
    if not access.offline:
        target.unlink(missing_ok=True)
    return _small(url, folder / _LISTS, access, Event())


def _small(url: str, folder: Path, access: Access, stop: Event) -> str:
    target = folder / _list_name(url)
    acquire(Wanted((url,), Expected(), page=True), target, access, stop)
    return target.read_text("utf-8", "replace")


def _list_name(url: str) -> str:
    return f"{sha256(url.encode()).hexdigest()[:12]}-{file_name(url) or 'index'}"


def _check_room(files: Sequence[WebFile], paths: Sequence[Path], folder: Path) -> None:
    """Refuses before the first byte when the sizes that are known do not fit the disk."""
    needed = 0
    for file, path in zip(files, paths, strict=True):
        size = file.wanted.expected.size
        if size is not None and not path.exists():
            with suppress(FileNotFoundError):
                size -= path.with_name(f"{path.name}.part").stat().st_size
            needed += size
    if needed:
        folder.mkdir(parents=True, exist_ok=True)
        check_disk(folder, needed, f"{folder.name}, {len(files)} files")
