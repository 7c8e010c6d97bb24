"""Tar archives, plain or packed with xz, gzip or bzip2, read as streams, never unpacked to disk.

Archives are recognised by their bytes. Members come one at a time, in the archive's order, each
with a stream of its bytes, which may be an archive again; memory does not grow with the archive
nor with a member. An archive may come from anywhere, so what tar's data filter would refuse is
refused here, and links and devices with it. A damaged header, which `tarfile` takes for the end of
the archive, and an archive without its end mark are errors: a part must not pass for the whole.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from bert.text.unpacked import READ_BYTES, ArchiveError, Stream, packing, unpack

_BLOCK = tarfile.BLOCKSIZE
_LONGEST_HEADER = 1 << 20  # bytes; of a member's name and attributes, which tarfile reads at once


class Member(NamedTuple):
    """A file in an archive; its stream is valid until the next member is asked for."""

    name: str  # posix path, relative, without "." and ".."
    size: int  # bytes
    stream: Stream


def is_archive(stream: Stream) -> bool:
    """Whether a stream, unread so far, starts like a packed file or a tar archive."""
    start = stream.peek(_BLOCK)[:_BLOCK]
    return packing(start) != "" or _is_tar(start)


def read_members(stream: Stream, *, where: str) -> Iterator[Member]:
    """Yields the files of an archive that starts at the stream's position; folders are left out.

    Args:
        stream: Read forward only.
        where: What the archive is called, for messages.

    Raises:
        ArchiveError: It is no archive; it is damaged or cut off; it expands more than 300-fold;
            or a member is a link, a device, sparse, or has a name that leads out of the archive.
    """
    plain = unpack(stream, where=where)
    if not _is_tar(plain.peek(_BLOCK)[:_BLOCK]):
        raise ArchiveError(f"{where} holds no tar archive, or an empty one; expected .tar.")
    source = _TarSource(plain, where)
    try:
        with tarfile.open(fileobj=source, mode="r:") as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                archive.members.clear()
                _check_type(info, where)
                name = checked_name(info.name, where, folder=info.isdir())
                if info.isdir():
                    continue
                data = io.BufferedReader(_MemberBytes(source, info.size), READ_BYTES)
                yield Member(name, info.size, data)
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{where} is a damaged tar archive ({error}). Fetch it again.") from None
    if source.last != bytes(_BLOCK):
        raise ArchiveError(
            f"{where} stops at byte {source.position} without the two empty blocks that end a tar "
            "archive: it is cut off, or a header is damaged. Fetch it again."
        )
    while plain.read(READ_BYTES):  # checks the rest of the packed stream, too
        continue


def checked_name(name: str, where: str, *, folder: bool) -> str:
    """The relative path that a member's name stands for, without "." and empty parts.

    Raises:
        ArchiveError: It is absolute, leads out of the archive or holds odd characters.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    odd = name.startswith("/") or ".." in parts or "\\" in name
    if odd or not name.isprintable() or (not parts and not folder):
        raise ArchiveError(
            f"{where}: the name {name!r} is absolute, leads out of the archive or holds odd "
            "characters; expected a relative path. Pack the files again with plain names."
        )
    return "/".join(parts)


def _is_tar(start: bytes) -> bool:
    """Whether a block is a tar header: its checksum tells, also without the newer magic."""
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:  # zeros too: an archive without members is of no use
        return False
    return True


def _check_type(info: tarfile.TarInfo, where: str) -> None:
    if not (info.isreg() or info.isdir()) or info.issparse():
        raise ArchiveError(
            f"{where}: {info.name!r} is a link, a device or a sparse file; expected plain files "
            "and folders. Pack the files that are meant, without links."
        )


class _TarSource:
    """The file object that `tarfile` reads: forward only, headers of bounded size."""

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream, self._where = stream, where
        self.position = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        """What `tarfile` asks for: headers, and long names in blocks after them."""
        if size > _LONGEST_HEADER:
            raise ArchiveError(
                f"{self._where}: a header at byte {self.position} announces {size} bytes; expected "
                f"at most {_LONGEST_HEADER}. The archive is damaged or made to harm."
            )
        self.last = self.take(size)
        return self.last

    def take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        return data

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        """Skips what was not read of a member."""
        while self.position < position:
            if not self.take(min(READ_BYTES, position - self.position)):
                raise EOFError("it ends in the middle of a member")


class _MemberBytes(io.RawIOBase):
    """The bytes of one member; a member that ends too early is an error."""

    def __init__(self, source: _TarSource, size: int) -> None:
        self._source, self._start, self._end = source, source.position, source.position + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._start <= self._source.position <= self._end:
            raise ValueError("a member was read after the next one was asked for")
        size = min(len(buffer), self._end - self._source.position)
        data = self._source.take(size)
        if len(data) < size:
            raise ArchiveError(
                f"{self._source._where} ends in the middle of a member. Fetch it again."
            )
        buffer[:size] = data
        return size
