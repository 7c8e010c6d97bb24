"""Raw items of a source: where they lie or come from, and that they are the bytes that were meant.

A local file or folder is used in place, never copied and never changed. An http(s) address is
downloaded (see `bert.download`), checked, and only then given its name, read-only. Nothing is
unpacked or converted here. The manifest of an item has the extra key `files`:
`[{"path", "sha256", "bytes"}, ...]`, sorted by path, paths as usable from the working directory.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import model_validator

from bert.checksums import FileDigest, check_listed, digest_file, folder_files, read_md5_list
from bert.config import Section, check, knob, load_values
from bert.download import PATIENT, Retry, download, read_note
from bert.manifest import fsync_directory, read_manifest, sha256_json

logger = logging.getLogger(__name__)


class FetchError(ValueError):
    """A raw item that is missing or is not what the configuration says it is."""


class RawFile(Section):
    """One raw item: a local file, a local folder, or a file on the web.

    What is not known of it may be left out: an item is replaced as a whole by an overlay, so its
    absent keys cannot hide a value that stands elsewhere.
    """

    location: str = knob(
        "local path of a file or folder, relative to the working directory, or an http(s) address",
        min_length=1,
    )
    size: int | None = knob("size of the file in bytes", ge=1, default=None)
    sha256: str | None = knob(
        "sha256 of the file in hexadecimal", pattern=r"^[0-9a-fA-F]{64}$", default=None
    )
    md5: str | None = knob(
        "md5 of the file in hexadecimal, as many sites publish it",
        pattern=r"^[0-9a-fA-F]{32}$",
        default=None,
    )
    md5_list: str | None = knob(
        "path, relative to the folder, of an md5sum list of its files", min_length=1, default=None
    )

    @property
    def is_url(self) -> bool:
        """Whether the item comes from the web."""
        return "://" in self.location

    @model_validator(mode="after")
    def _location_is_usable(self) -> Self:
        if not self.is_url:
            return self
        address = urlsplit(self.location)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{self.location!r} must be http://, https:// or a local path.")
        if address.username or address.password:
            raise ValueError("the address holds a user name; secrets do not belong in config.")
        if not re.fullmatch(r"[!-~]+", self.location):
            raise ValueError(f"{self.location!r} must be percent-encoded ASCII without spaces.")
        if not _url_file_name(self.location):
            raise ValueError(f"{self.location!r} must end in the name of a file.")
        if self.md5_list is not None:
            raise ValueError("md5_list is for a local folder; give md5 for an address.")
        return self


class _FetchSection(Section):
    fetch: dict[str, list[RawFile]]


class Fetched(NamedTuple):
    """Result of `fetch`: what goes into the manifest.

    Attributes:
        files: The manifest's key `files`.
        inputs: Location to sha256; of a folder, the digest of its sorted (name, sha256) pairs.
        counts: Number of files, bytes, downloads, hidden files skipped, files named or not named
            in an md5 list.
        downloads: The files that were downloaded, which are this stage's outputs.
    """

    files: list[dict[str, Any]]
    inputs: dict[str, str]
    counts: dict[str, int]
    downloads: list[Path]


def load_raw_files(file: Path) -> list[RawFile]:
    """Reads the list of raw items of one name from `config/fetch.<name>.json`.

    Raises:
        ConfigError: Lists every problem of the list.
        FileNotFoundError: The file is missing.
        FetchError: The list is empty.
    """
    name = file.stem.removeprefix("fetch.")
    values = {"fetch": {name: load_values(file)}}
    items = check(_FetchSection, values, where=str(file)).fetch[name]
    if not items:
        raise FetchError(f"fetch.{name} is an empty list; expected at least one location.")
    return items


def fetch(items: Sequence[RawFile], folder: Path, *, retry: Retry = PATIENT) -> Fetched:
    """Checks the local items, downloads the others into `folder`, and lists all their files.

    Raises:
        FetchError: An item is missing, empty, listed twice, or not what the config says.
        DownloadError: An address cannot be downloaded.
    """
    targets = _target_names(items)
    found: dict[str, FileDigest] = {}
    inputs: dict[str, str] = {}
    downloads: list[Path] = []
    counts = dict.fromkeys(("hidden_skipped", "md5_listed", "md5_unlisted"), 0)
    for item, target in zip(items, targets, strict=True):
        path = Path(item.location)
        if item.is_url:
            downloads.append(folder / target)
            new = {folder / target: _fetch_url(item, folder / target, retry)}
        elif path.is_dir():
            new = _check_folder(item, path, counts)
        else:
            new = {path: _check_file(item, path)}
        twice = sorted(file.as_posix() for file in new if file.as_posix() in found)
        if twice:
            raise FetchError(f"{twice[0]} is named by two items of this list; remove one.")
        found |= {file.as_posix(): digest for file, digest in new.items()}
        inputs[item.location] = _item_digest(path, new)
    files = [{"path": p, "sha256": d.sha256, "bytes": d.bytes} for p, d in sorted(found.items())]
    totals = {"files": len(files), "bytes": sum(d.bytes for d in found.values())}
    return Fetched(files, inputs, totals | {"downloads": len(downloads)} | counts, downloads)


def fetched_files(manifest: Path) -> list[Path]:
    """The files of a raw item, for the stages behind: each exists and has the recorded size.

    Raises:
        FileNotFoundError: The manifest or a file is missing.
        FetchError: A file has another size than when it was fetched.
    """
    paths = []
    for entry in read_manifest(manifest, stage="fetch")["files"]:
        path = Path(entry["path"])
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}, listed in {manifest}, is missing; put it back, or delete the manifest "
                "and run the rule `fetch` again."
            )
        if path.stat().st_size != entry["bytes"]:
            raise FetchError(
                f"{path} has {path.stat().st_size} bytes, {manifest} recorded {entry['bytes']}: "
                "it changed. Delete the manifest and run the rule `fetch` again."
            )
        paths.append(path)
    return paths


def _check_file(item: RawFile, path: Path) -> FileDigest:
    if item.md5_list is not None:
        raise FetchError(f"{path} is not a folder; md5_list is for folders, give md5 instead.")
    if not path.is_file():
        kind = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise FetchError(f"{path} {kind}; expected a file or folder (from {Path.cwd()}).")
    found = digest_file(path, md5=item.md5 is not None)
    if wrong := _mismatches(item, found):
        raise FetchError(
            f"{path}: {'; '.join(wrong)}. The file is damaged or another version: get it again, "
            "or correct section `fetch` of the configuration."
        )
    return found


def _mismatches(item: RawFile, found: FileDigest) -> list[str]:
    wrong = []
    if found.bytes == 0:
        wrong.append("it is empty")
    for name, value, expected in (
        ("size", found.bytes, item.size),
        ("sha256", found.sha256, item.sha256 and item.sha256.lower()),
        ("md5", found.md5, item.md5 and item.md5.lower()),
    ):
        if expected is not None and value != expected:
            wrong.append(f"{name} is {value}, expected {expected}")
    return wrong


def _check_folder(item: RawFile, folder: Path, counts: dict[str, int]) -> dict[Path, FileDigest]:
    given = [name for name in ("size", "sha256", "md5") if getattr(item, name) is not None]
    if given:
        raise FetchError(f"{folder} is a folder; {given[0]} is for a file, use md5_list.")
    paths, hidden = folder_files(folder)
    listed: dict[Path, str] = {}
    if item.md5_list is not None:
        if not (folder / item.md5_list).is_file():
            raise FetchError(f"{folder / item.md5_list} does not exist; it is the md5_list.")
        listed = {folder / n: md5 for n, md5 in read_md5_list(folder / item.md5_list).items()}
        paths = [path for path in paths if path != folder / item.md5_list]
    if not paths:
        raise FetchError(f"{folder} holds no file ({hidden} hidden ones); expected raw files.")
    found = {path: digest_file(path, md5=path in listed) for path in paths}
    check_listed(folder, found, listed)
    counts["hidden_skipped"] += hidden
    counts["md5_listed"] += len(listed)
    counts["md5_unlisted"] += len(found) - len(listed) if listed else 0
    return found


def _item_digest(path: Path, found: dict[Path, FileDigest]) -> str:
    if len(found) == 1 and not path.is_dir():
        return next(iter(found.values())).sha256
    return sha256_json([[f.relative_to(path).as_posix(), d.sha256] for f, d in found.items()])


def _target_names(items: Sequence[RawFile]) -> list[str]:
    """Name in the download folder of each item; names that clash get their place in front."""
    names = [_url_file_name(item.location) if item.is_url else "" for item in items]
    return [f"{i:03d}-{n}" if n and names.count(n) > 1 else n for i, n in enumerate(names)]


def _url_file_name(url: str) -> str:
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^\w.+-]", "_", last, flags=re.ASCII).lstrip(".")


def _fetch_url(item: RawFile, target: Path, retry: Retry) -> FileDigest:
    """Downloads one address to `target`, unless the checked file already lies there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    note = target.with_name(f".{target.name}.json")
    part = target.with_name(f"{target.name}.part")
    with_md5 = item.md5 is not None
    if target.exists():
        known = read_note(note)
        found = digest_file(target, md5=with_md5)
        if known and known.url == item.location and not _mismatches(item, found):
            logger.info("%s is already here, from %s", target, item.location)
            return found
        target.unlink()
    for _ in range(2):
        checked = item.sha256 is not None or item.md5 is not None
        resumed = download(item.location, part, note, checked=checked, retry=retry)
        found = digest_file(part, md5=with_md5)
        wrong = _mismatches(item, found) + _html_instead(item, part)
        if not wrong:
            break
        part.unlink()
        # Two versions of the file may have been joined: once more, in one piece.
        if not resumed:
            raise _bad_download(item, wrong)
    else:
        raise _bad_download(item, wrong)
    part.chmod(0o444)
    part.replace(target)
    fsync_directory(target.parent)
    return found


def _html_instead(item: RawFile, part: Path) -> list[str]:
    """A problem if the body is a web page although the address does not name one."""
    with part.open("rb") as stream:
        start = stream.read(4096).decode("utf-8", "replace")
    if not re.match(r"\s*<(!doctype html|html)", start, re.IGNORECASE):
        return []
    if urlsplit(item.location).path.lower().endswith((".html", ".htm")):
        return []
    title = re.search(r"<title[^>]*>\s*(.{0,80})", start, re.IGNORECASE)
    named = f" with the title {title[1].partition('<')[0].strip()!r}" if title else ""
    return [f"it is an HTML page{named} (a login, a quota or an error page?)"]


def _bad_download(item: RawFile, wrong: list[str]) -> FetchError:
    return FetchError(
        f"{item.location}: what was downloaded is not what was meant: {'; '.join(wrong)}. "
        "Correct the address or the checksum in section `fetch` of the configuration, or download "
        "the file by hand and give its local path."
    )
