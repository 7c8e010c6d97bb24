"""Raw items of a source: where they lie or come from, and that they are the bytes that were meant.

A local file or folder is used in place, never copied and never changed. What lies on the web is
downloaded (see `bert.fetch.acquire`), checked, and only then given its name, read-only. A list or a
folder's index page stands for the files that it names. Nothing is unpacked or converted here. The
manifest of an item has the extra key `files`: `[{"path", "sha256", "bytes"}, ...]`, sorted by path,
paths as usable from the working directory.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from bert.fetch.acquire import Access
from bert.fetch.cache import locked
from bert.fetch.checksums import (
    ALGORITHMS,
    Expected,
    FileDigest,
    check_listed,
    digest_file,
    folder_files,
    read_checksums,
)
from bert.fetch.fetched import FetchError
from bert.fetch.listing import Listed, matches
from bert.fetch.rawfiles import RawFile
from bert.fetch.webfiles import WebFile, acquire_all, read_list, single, web_file
from bert.manifest import sha256_json

_COUNTS = ("hidden_skipped", "unmatched", "listed", "unlisted", "unchecked")


class Fetched(NamedTuple):
    """Result of `fetch`: what goes into the manifest.

    Attributes:
        files: The manifest's key `files`.
        inputs: Location to sha256; of a folder or list, the digest of its sorted (name, sha256)
            pairs.
        counts: Number of files, bytes, downloads, hidden files skipped, files of a folder that
            `pattern` left out, files whose digest a list gave, files of a folder that its list
            does not name, downloads without any digest to check.
        downloads: The files that were downloaded, which are this stage's outputs.
    """

    files: list[dict[str, Any]]
    inputs: dict[str, str]
    counts: dict[str, int]
    downloads: list[Path]


class _File(NamedTuple):
    """A file of an item: its name there (the same on every machine), its path, what it is."""

    item: int
    name: str
    path: Path
    digest: FileDigest


def fetch(items: Sequence[RawFile], folder: Path, access: Access) -> Fetched:
    """Checks the local items, downloads the others into `folder`, and lists all their files.

    Raises:
        FetchError: An item is missing, empty, listed twice, or not what the config says.
        ChecksumError: Files of a folder are not what its list says.
        DownloadError: An address cannot be downloaded.
        ListingError: A list of files cannot be read, or names nothing that is wanted.
    """
    online = any(item.is_url or item.listing for item in items)
    with locked(folder / ".lock") if online else nullcontext():
        counts = Counter(dict.fromkeys(_COUNTS, 0))
        local: list[_File] = []
        web: list[WebFile] = []
        for number, item in enumerate(items):
            if item.is_list:
                for listed in read_list(item, folder, access):
                    if "://" in listed.place:
                        web.append(web_file(number, item, listed))
                    else:
                        local.append(_listed_file(number, item, listed))
                    counts["listed"] += listed.sidecar is not None or listed.expected.checked
            elif item.is_url:
                web.append(single(number, item))
            else:
                local += _local_files(number, item, counts)
        counts["unchecked"] = sum(not file.checked for file in web)
        acquired = acquire_all(web, folder, access)
    files = local + [
        _File(file.item, file.name, path, digest)
        for file, (path, digest) in zip(web, acquired, strict=True)
    ]
    return _summary(items, files, counts, [path for path, _ in acquired])


def _summary(
    items: Sequence[RawFile], files: Sequence[_File], counts: Counter[str], downloads: list[Path]
) -> Fetched:
    path, times = Counter(file.path.as_posix() for file in files).most_common(1)[0]
    if times > 1:
        raise FetchError(f"{path} is named by two items of this list; remove one.")
    listed = sorted((file.path.as_posix(), file.digest) for file in files)
    totals = {
        "files": len(files),
        "bytes": sum(file.digest.bytes for file in files),
        "downloads": len(downloads),
    }
    return Fetched(
        [{"path": path, "sha256": d.sha256, "bytes": d.bytes} for path, d in listed],
        {
            item.location: _item_digest(item, [file for file in files if file.item == number])
            for number, item in enumerate(items)
        },
        totals | dict(counts),
        downloads,
    )


def _item_digest(item: RawFile, files: Sequence[_File]) -> str:
    if not item.is_list and not Path(item.location).is_dir():
        return files[0].digest.sha256
    return sha256_json(sorted([file.name, file.digest.sha256] for file in files))


def _local_files(number: int, item: RawFile, counts: Counter[str]) -> list[_File]:
    path = Path(item.location)
    if path.is_dir():
        return _folder_files(number, item, path, counts)
    if item.checksums is not None or item.pattern is not None:
        raise FetchError(
            f"{path} is not a folder; `checksums` and `pattern` are for folders, give sha256 or "
            "md5 instead."
        )
    return [_File(number, path.name, path, _check_file(path, item.expected))]


def _listed_file(number: int, item: RawFile, listed: Listed) -> _File:
    path = Path(item.location).parent / listed.name
    return _File(number, listed.name, path, _check_file(path, listed.expected))


def _check_file(path: Path, expected: Expected) -> FileDigest:
    if not path.is_file():
        kind = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise FetchError(f"{path} {kind}; expected a file or folder (from {Path.cwd()}).")
    found = expected.digest(path)
    if wrong := expected.mismatches(found):
        raise FetchError(
            f"{path}: {'; '.join(wrong)}. The file is damaged or another version: get it again, "
            "or correct section `fetch` of the configuration."
        )
    return found


def _folder_files(number: int, item: RawFile, folder: Path, counts: Counter[str]) -> list[_File]:
    given = [name for name, value in item.expected._asdict().items() if value is not None]
    if given:
        raise FetchError(f"{folder} is a folder; {given[0]} is for a file, use `checksums`.")
    paths, hidden = folder_files(folder)
    listed = _folder_checksums(item, folder)
    if item.checksums is not None:
        paths = [path for path in paths if path != folder / item.checksums]
    chosen = [path for path in paths if _is_wanted(path, folder, item)]
    if not chosen:
        of = f" that matches {item.pattern!r}, of {len(paths)}" if item.pattern else ""
        raise FetchError(f"{folder} holds no file{of} ({hidden} hidden); expected raw files.")
    found = {}
    for path in chosen:
        name = ALGORITHMS[len(listed[path])] if path in listed else "sha256"
        found[path] = digest_file(path, {name} - {"sha256"})
    check_listed(folder, found, listed)
    counts["hidden_skipped"] += hidden
    counts["unmatched"] += len(paths) - len(chosen)
    counts["listed"] += len(listed)
    counts["unlisted"] += len(found) - len(listed) if listed else 0
    return [
        _File(number, path.relative_to(folder).as_posix(), path, digest)
        for path, digest in found.items()
    ]


def _folder_checksums(item: RawFile, folder: Path) -> dict[Path, str]:
    if item.checksums is None:
        return {}
    file = folder / item.checksums
    if not file.is_file():
        raise FetchError(f"{file} does not exist; it is the list named by `checksums`.")
    listed = {folder / name: digest for name, digest in read_checksums(file).items()}
    return {path: digest for path, digest in listed.items() if _is_wanted(path, folder, item)}


def _is_wanted(path: Path, folder: Path, item: RawFile) -> bool:
    return item.pattern is None or matches(path.relative_to(folder).as_posix(), item.pattern)
