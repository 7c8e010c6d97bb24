"""Zip archives, read with the same distrust as tar archives in `bert.text.archives`.

A zip file ends in a list of its members, so all names and sizes are checked before the first byte
is unpacked.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bert.text.archives import Member, checked_name
from bert.text.unpacked import READ_BYTES, ArchiveError, check_expansion

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # bit of a member's flags
_PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)  # types of a member; 0 where no Unix wrote it
_UNIX_MODE = 16  # bits below the Unix mode in a member's attributes


def read_zip(archive: Path) -> Iterator[Member]:
    """Yields the files of a zip archive in its order; folders are left out.

    Raises:
        ArchiveError: It is no whole zip file; it expands more than 300-fold; or a member is
            damaged, a link, a device, encrypted, packed in an unusual way, or has a name that
            leads out of the archive.
    """
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(archive, error) from None
    with opened:
        members = opened.infolist()
        names = [_checked(info, archive) for info in members]
        size = sum(info.file_size for info in members)
        check_expansion(archive.stat().st_size, size, where=str(archive))
        for info, name in zip(members, names, strict=True):
            if info.is_dir():
                continue
            try:
                raw = opened.open(info)
            except (zipfile.BadZipFile, NotImplementedError) as error:
                raise _damaged(archive, error) from None
            with raw:
                stream = io.BufferedReader(_MemberBytes(raw, archive), READ_BYTES)
                yield Member(name, info.file_size, stream)


def _checked(info: zipfile.ZipInfo, archive: Path) -> str:
    kind = stat.S_IFMT(info.external_attr >> _UNIX_MODE)
    if kind not in _PLAIN or info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise ArchiveError(
            f"{archive}: {info.filename!r} is a link or a device, encrypted, or packed by another "
            "method than deflate; expected plain files and folders. Pack the files that are meant."
        )
    return checked_name(info.orig_filename, str(archive), folder=info.is_dir())


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{archive} is no whole plain zip file ({error}). Fetch it again.")


class _MemberBytes(io.RawIOBase):
    """The bytes of one member; that they are whole is checked at their end."""

    def __init__(self, source: IO[bytes], archive: Path) -> None:
        self._source, self._archive = source, archive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._source.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise _damaged(self._archive, error) from None
        buffer[: len(data)] = data
        return len(data)
