"""Lists of files: what each form says, without touching the network.

Forms, told apart by their content:

- checksum lines of md5sum, sha1sum, sha256sum, openssl or BSD: `<checksum>  <name>`,
  `MD5(<name>)= <checksum>`. A name may also be a whole address.
- names or addresses, one a line; empty lines and lines that begin with # are left out.
- Wikimedia's `dumpstatus.json`: address, size, md5 and sha1 of each file of a dated dump.
- Hugging Face's list of a repository's folder, `https://huggingface.co/api/datasets/<name>/tree/
  <revision>/<folder>`: path and size of each file, and sha256 of the large ones.
- an HTML index of a folder, as Apache, nginx and NCBI's server write it: its links to files of
  this folder. `<name>.md5`, `.sha1` or `.sha256` beside a file is its checksum, not a file.

Names are relative to the folder that the list lies in.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from bert.fetch.checksums import ALGORITHMS, Expected, checksum_line

_HUB_ADDRESS = re.compile(r"(https?://[^/]+/)api/(datasets/|models/)(.+?)/tree/([^/?]+)")
_HUB_MOST = 1000  # entries of one answer; more come in further ones
_SIDECARS = tuple(f".{name}" for name in ALGORITHMS.values())


class ListingError(ValueError):
    """A list of files that cannot be read, or names nothing that is wanted."""


class Listed(NamedTuple):
    """A file that a list names.

    Attributes:
        name: Path relative to the list's folder; of a whole address, its last part.
        place: The name again, percent-encoded if it stood so, or a whole address.
        expected: Size and digests that the list states.
        sidecar: Place of a file that holds the digest, or None.
        ready: False for a file that the server is still writing.
    """

    name: str
    place: str
    expected: Expected
    sidecar: str | None = None
    ready: bool = True


def parse_listing(text: str, base: str, where: str) -> list[Listed]:
    """The files that a list names, sorted by name.

    Args:
        text: The list.
        base: Address of its folder, ending in /; "" for a local one.
        where: Where it came from, for messages.

    Raises:
        ListingError: A line or name that cannot be used, a name twice, or no file at all.
    """
    if re.match(r"\s*<", text):
        listed = _from_index(text, base)
    elif text.lstrip().startswith("["):
        listed = _from_hub(text, where)
    elif text.lstrip().startswith("{"):
        listed = _from_dump_status(text, base, where)
    else:
        listed = _from_lines(text, where)
    if not listed:
        raise ListingError(f"{where} names no file; expected a list or a folder's index page.")
    for item in listed:
        parts = PurePosixPath(item.name).parts
        if not parts or ".." in parts or item.name.startswith("/") or not item.name.isprintable():
            raise ListingError(f"{where} names {item.name!r}; expected a path below its folder.")
    place, times = Counter(item.place for item in listed).most_common(1)[0]
    if times > 1:
        raise ListingError(f"{where} names {place} {times} times; expected each file once.")
    return sorted(listed)


def select(listed: Iterable[Listed], pattern: str | None, where: str) -> list[Listed]:
    """Those whose name matches a shell pattern: its last part, or all of it if the pattern has a /.

    Raises:
        ListingError: None matches, or one that does is not ready.
    """
    listed = list(listed)
    chosen = [item for item in listed if pattern is None or matches(item.name, pattern)]
    if not chosen:
        raise ListingError(
            f"none of the {len(listed)} files of {where} matches the pattern {pattern!r}; it has "
            f"{', '.join(item.name for item in listed[:5])}, ... Change `pattern`."
        )
    if unready := [item.name for item in chosen if not item.ready]:
        raise ListingError(
            f"{where} says that {len(unready)} files are not finished yet, such as {unready[0]}. "
            "Wait for it, or take an earlier dump."
        )
    return chosen


def matches(name: str, pattern: str) -> bool:
    """Whether a relative path matches a shell pattern, see `select`."""
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _from_lines(text: str, where: str) -> list[Listed]:
    listed = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        found = checksum_line(line)
        if found is None and re.search(r"\s", line):
            raise ListingError(
                f"{where}, line {number} is {line[:80]!r}; expected `<checksum>  <name>`, or one "
                "name or address without spaces."
            )
        name, digest = found or (line, None)
        expected = Expected().with_digest(digest) if digest else Expected()
        if "://" in name:
            last = unquote(urlsplit(name).path.rpartition("/")[2])
            listed.append(Listed(last, name, expected))
        else:
            name = PurePosixPath(name).as_posix()
            listed.append(Listed(name, quote(name), expected))
    return listed


def _from_dump_status(text: str, base: str, where: str) -> list[Listed]:
    """Wikimedia's status file, version 0.8: jobs -> files -> {size, url, md5, sha1}."""
    try:
        return [
            Listed(
                name,
                urljoin(base, entry.get("url") or quote(name)),
                Expected(size=entry.get("size"), md5=entry.get("md5"), sha1=entry.get("sha1")),
                ready=job["status"] == "done",
            )
            for job in json.loads(text)["jobs"].values()
            for name, entry in job.get("files", {}).items()
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ListingError(
            f"{where} looks like JSON but not like a dumpstatus.json ({error!r})."
        ) from None


def _from_hub(text: str, where: str) -> list[Listed]:
    """Hugging Face's tree list: [{type, path, size, lfs: {oid: sha256}}]."""
    address = _HUB_ADDRESS.match(where)
    if address is None:
        raise ListingError(
            f"{where} is a JSON array; expected one only from https://huggingface.co/api/datasets/"
            "<name>/tree/<revision>/<folder>."
        )
    host, kind, repository, revision = address.groups()
    base = f"{host}{kind.removeprefix('models/')}{repository}/resolve/{revision}/"
    try:
        entries = json.loads(text)
        listed = [
            Listed(
                entry["path"],
                base + quote(entry["path"]),
                Expected(size=entry["size"], sha256=entry.get("lfs", {}).get("oid")),
            )
            for entry in entries
            if entry["type"] == "file"
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ListingError(f"{where} is not a list of a repository's files ({error!r}).") from None
    if len(entries) >= _HUB_MOST:
        raise ListingError(
            f"{where} has {len(entries)} entries and may go on; expected fewer than {_HUB_MOST}. "
            "Name a folder further down, or write the addresses to a file, one a line."
        )
    return listed


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _from_index(text: str, base: str) -> list[Listed]:
    links = _Links()
    links.feed(text)
    names: dict[str, str] = {}
    for link in links.found:
        address = urljoin(base, link).partition("#")[0]
        last = address.removeprefix(base)
        if address.startswith(base) and last and not re.search(r"[/?]", last):
            names[unquote(last)] = last
    listed = []
    for name, place in names.items():
        if name.endswith(_SIDECARS) and name.rpartition(".")[0] in names:
            continue
        sidecar = next((place + end for end in _SIDECARS[::-1] if name + end in names), None)
        listed.append(Listed(name, place, Expected(), sidecar))
    return listed
