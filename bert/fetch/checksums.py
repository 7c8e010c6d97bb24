"""Checksums of raw files: of one file, of a folder, and against a published list."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}  # hexadecimal digits -> name
_HEX = r"[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}"
_GNU_LINE = re.compile(rf"({_HEX}) [ *](.+)")
_BSD_LINE = re.compile(rf"(?:MD5|SHA1|SHA256|SHA2-256) ?\((.+)\) ?= ?({_HEX})")
_SHOWN_PROBLEMS = 5


class ChecksumError(ValueError):
    """A file that is not what its checksum says, or a checksum list that cannot be read."""


class FileDigest(NamedTuple):
    """What was found in a file; md5 and sha1 are taken only where they are compared."""

    bytes: int
    sha256: str
    md5: str | None = None
    sha1: str | None = None


class Expected(NamedTuple):
    """What a file should be, as far as it is known; digests in lower-case hexadecimal."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    sha1: str | None = None

    def with_digest(self, digest: str) -> "Expected":
        """The same with a digest, whose length tells the algorithm."""
        changes: dict[str, Any] = {ALGORITHMS[len(digest)]: digest}
        return self._replace(**changes)

    @property
    def checked(self) -> bool:
        """Whether a digest is known, so that equal bytes can be told from other bytes."""
        return bool(self.sha256 or self.md5 or self.sha1)

    def digest(self, path: Path) -> FileDigest:
        """Digests of a file, with the algorithms that are compared here."""
        return digest_file(path, [name for name in ("md5", "sha1") if getattr(self, name)])

    def mismatches(self, found: FileDigest) -> list[str]:
        """What is wrong with a file, in words; empty if nothing is."""
        wrong = ["it is empty"] if found.bytes == 0 else []
        pairs = zip(
            ("size", "sha256", "md5", "sha1"),
            (found.bytes, found.sha256, found.md5, found.sha1),
            self,
            strict=True,
        )
        return wrong + [
            f"{name} is {value}, expected {expected}"
            for name, value, expected in pairs
            if expected is not None and value != expected
        ]


def digest_file(path: Path, also: Collection[str]) -> FileDigest:
    """Size, sha256 and the algorithms in `also` of a file, in one pass of 1 MiB pieces."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in ("sha256", *also)}
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            size += len(chunk)
            for one in hashes.values():
                one.update(chunk)
    return FileDigest(size, **{name: one.hexdigest() for name, one in hashes.items()})


def checksum_line(line: str) -> tuple[str, str] | None:
    """(name, digest) of a line of md5sum, sha1sum, sha256sum, openssl or BSD; None for others."""
    if match := _GNU_LINE.fullmatch(line.rstrip()):
        return match[2], match[1].lower()
    if match := _BSD_LINE.fullmatch(line.rstrip()):
        return match[1], match[2].lower()
    return None


def bare_checksum(text: str) -> str | None:
    """The digest that a checksum file beside a single file states, with or without its name."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    if re.fullmatch(_HEX, lines[0].strip()):
        return lines[0].strip().lower()
    found = checksum_line(lines[0])
    return found[1] if found else None


def read_checksums(path: Path) -> dict[str, str]:
    """File name to digest (md5, sha1 or sha256, told apart by length), from a checksum list.

    Raises:
        ChecksumError: A line of another form, a name listed twice, or no line at all.
    """
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        found = checksum_line(line)
        if not found:
            raise ChecksumError(
                f"{path}, line {number} is {line[:80]!r}; expected `<md5, sha1 or sha256>  <name>`."
            )
        name = Path(found[0]).as_posix()
        if name in listed:
            raise ChecksumError(f"{path}, line {number}: {name} is listed twice.")
        listed[name] = found[1]
    if not listed:
        raise ChecksumError(f"{path} lists no file; expected lines `<checksum>  <name>`.")
    return listed


def folder_files(folder: Path) -> tuple[list[Path], int]:
    """All files below `folder`, sorted, without hidden ones, and how many hidden names there are.

    A link to a file counts as the file.

    Raises:
        OSError: A folder cannot be read.
        ChecksumError: A link to a folder, a broken link, or a special file.
    """
    paths, hidden = [], 0
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        here = [Path(parent, name) for name in [*folders, *names]]
        hidden += sum(path.name.startswith(".") for path in here)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (path for path in here if not path.name.startswith(".")):
            if path.is_file():
                paths.append(path)
            elif path.is_symlink() or not path.is_dir():
                raise ChecksumError(
                    f"{path} is a link to a folder, a broken link or a special file; expected "
                    "plain files. Name what it leads to as an item of its own, or remove it."
                )
    return sorted(paths), hidden


def _refuse(error: OSError) -> None:
    raise error


def check_listed(
    folder: Path, found: Mapping[Path, FileDigest], listed: Mapping[Path, str]
) -> None:
    """Compares the files of a folder with its list; a file that is not listed is no problem.

    Raises:
        ChecksumError: Listed files are missing or differ; names the first few and the number.
    """
    wrong = []
    for path, digest in sorted(listed.items()):
        name = ALGORITHMS[len(digest)]
        if path not in found:
            wrong.append(f"{path} is missing")
        elif (value := getattr(found[path], name)) != digest:
            wrong.append(f"{path} has {name} {value}, listed {digest}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN_PROBLEMS} more" if len(wrong) > _SHOWN_PROBLEMS else ""
        raise ChecksumError(
            f"{len(wrong)} of the {len(listed)} files that the checksum list of {folder} names are "
            f"not right: {'; '.join(wrong[:_SHOWN_PROBLEMS])}{more}. Get them again."
        )
