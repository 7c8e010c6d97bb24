"""Section `fetch`: how a raw item is named in the configuration."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import model_validator

from bert.config import Section, check, knob, load_values
from bert.fetch.checksums import Expected
from bert.fetch.deadlinks import replacement
from bert.fetch.fetched import FetchError

_FILE_KEYS = ("size", "sha256", "sha1", "md5")  # what is known of a single file


class RawFile(Section):
    """One raw item: a file or folder, local or on the web, or a list of files.

    What is not known of it may be left out: an item is replaced as a whole by an overlay, so its
    absent keys cannot hide a value that stands elsewhere.
    """

    location: str = knob(
        "local path of a file or folder, relative to the working directory, or an http(s) address "
        "of a file; an address that ends in / is a folder with an index page",
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
    sha1: str | None = knob(
        "sha1 of the file in hexadecimal, as some sites publish it",
        pattern=r"^[0-9a-fA-F]{40}$",
        default=None,
    )
    listing: bool = knob(
        "true: the location is not data but a list of the files: checksum lines, names or "
        "addresses a line, a dumpstatus.json, MLCommons' .uri, Hugging Face's tree, an HTML index",
        default=False,
    )
    pattern: str | None = knob(
        "shell pattern of the names that are taken from a folder or list; null = all",
        min_length=1,
        default=None,
    )
    checksums: str | None = knob(
        "path, relative to a local folder, of an md5sum, sha1sum or sha256sum list of its files",
        min_length=1,
        default=None,
    )
    mirrors: list[str] = knob(
        "further addresses of the same file (of the same folder, for a list), tried in turn when "
        "the location fails; they need a checksum",
        default=[],
    )

    @property
    def is_url(self) -> bool:
        """Whether the item comes from the web."""
        return "://" in self.location

    @property
    def is_list(self) -> bool:
        """Whether the location tells of many files on the web or of a list of them."""
        return self.listing or (self.is_url and self.location.endswith("/"))

    @property
    def expected(self) -> Expected:
        """What the configuration says of the file."""
        digests = [value and value.lower() for value in (self.sha256, self.md5, self.sha1)]
        return Expected(self.size, *digests)

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        addresses = [*([self.location] if self.is_url else []), *self.mirrors]
        problems = [problem for url in addresses if (problem := address_problem(url))]
        if self.is_list and (given := [key for key in _FILE_KEYS if getattr(self, key)]):
            problems.append(f"{self.location!r} stands for many files; {given[0]} is for one.")
        if (self.is_url or self.listing) and self.checksums is not None:
            problems.append("checksums is for a local folder; name a list as `listing: true`.")
        if self.is_url and not self.is_list and self.pattern is not None:
            problems.append("pattern is for folders and lists; this location is one file.")
        problems += self._mirror_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _mirror_problems(self) -> list[str]:
        if not self.mirrors:
            return []
        if not self.is_url and not self.listing:
            return ["mirrors are for addresses; this location is a local path."]
        if not self.is_list and not self.expected.checked:
            return ["mirrors need a sha256, sha1 or md5, to tell that they have the same file."]
        kind = "a folder, ending in /" if self.is_list else "a file, not ending in /"
        return [
            f"the mirror {url!r} must be {kind}."
            for url in self.mirrors
            if url.endswith("/") != self.is_list
        ]


def address_problem(url: str) -> str | None:
    """What is wrong with an http(s) address, in a sentence; None if nothing is."""
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        hint = " Most ftp servers answer to https:// as well." if address.scheme == "ftp" else ""
        return f"{url!r} must be http://, https:// or a local path.{hint}"
    if address.username or address.password:
        return "the address holds a user name; secrets do not belong in config."
    if not re.fullmatch(r"[!-~]+", url):
        return f"{url!r} must be percent-encoded ASCII without spaces."
    if not url.endswith("/") and not file_name(url):
        return f"{url!r} must end in the name of a file, or in / for a folder."
    if instead := replacement(url):
        return f"{url!r} is a dead address: {instead}; see docs/data.md."
    return None


def file_name(url: str) -> str:
    """Name for the file of an address: its last part, safe for any file system."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^\w.+-]", "_", last, flags=re.ASCII).lstrip(".")


class _FetchSection(Section):
    fetch: dict[str, list[RawFile]]


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
