"""Checksums of raw files: of one file, of a folder, and against a published md5 list."""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

_MD5SUM_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)|MD5 ?\((.+)\) ?= ?([0-9a-fA-F]{32})")
_SHOWN_PROBLEMS = 5


class ChecksumError(ValueError):
    """A file that is not what its checksum says, or a checksum list that cannot be read."""


class FileDigest(NamedTuple):
    """What was found in a file; `md5` is taken only where it is compared."""

    bytes: int
    sha256: str
    md5: str | None


def digest_file(path: Path, *, md5: bool) -> FileDigest:
    """Size, sha256 and, if asked for, md5 of a file, in one pass of 1 MiB pieces."""
    sha256_hash = hashlib.sha256()
    md5_hash = hashlib.md5(usedforsecurity=False) if md5 else None
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            size += len(chunk)
            sha256_hash.update(chunk)
            if md5_hash:
                md5_hash.update(chunk)
    return FileDigest(size, sha256_hash.hexdigest(), md5_hash.hexdigest() if md5_hash else None)


def read_md5_list(path: Path) -> dict[str, str]:
    """File name to md5 (lower-case hex), from lines of `md5sum` or of `openssl md5` and BSD.

    Raises:
        ChecksumError: A line of another form, a name listed twice, or no line at all.
    """
    listed: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = _MD5SUM_LINE.fullmatch(line.rstrip())
        if not match:
            raise ChecksumError(
                f"{path}, line {number} is {line[:80]!r}; expected `<32 hex digits>  <name>`."
            )
        name = Path(match[2] or match[3]).as_posix()
        if name in listed:
            raise ChecksumError(f"{path}, line {number}: {name} is listed twice.")
        listed[name] = (match[1] or match[4]).lower()
    if not listed:
        raise ChecksumError(f"{path} lists no file; expected lines `<32 hex digits>  <name>`.")
    return listed


def folder_files(folder: Path) -> tuple[list[Path], int]:
    """All files below `folder`, sorted, without hidden ones, and how many hidden names there are.

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


def check_listed(folder: Path, found: dict[Path, FileDigest], listed: dict[Path, str]) -> None:
    """Compares the files of a folder with its md5 list; a file that is not listed is no problem.

    Raises:
        ChecksumError: Listed files are missing or differ; names the first few and the number.
    """
    wrong = [
        f"{path} has md5 {found[path].md5}, listed {md5}" if path in found else f"{path} is missing"
        for path, md5 in sorted(listed.items())
        if path not in found or found[path].md5 != md5
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN_PROBLEMS} more" if len(wrong) > _SHOWN_PROBLEMS else ""
        raise ChecksumError(
            f"{len(wrong)} of the {len(listed)} files that the md5 list of {folder} names are not "
            f"right: {'; '.join(wrong[:_SHOWN_PROBLEMS])}{more}. Get them again."
        )
