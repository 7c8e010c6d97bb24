"""A raw item that is one archive of files, such as Google's checkpoints in a .zip.

A stage that needs the files in a folder reads such an item as if it were that folder. An archive is
known by its name here, not by its bytes: a .pt file of torch is a zip file, too.
"""

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bert.manifest import sha256_file
from bert.text.archives import Member, read_members
from bert.text.unpacked import READ_BYTES, ArchiveError, open_stream
from bert.text.zips import read_zip

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")


class Item(NamedTuple):
    """The files of a raw item.

    Attributes:
        files: As a stage reads them, sorted; those of an archive are there until it is closed.
        archive: The archive that they are from; None if there is none.
        folder: Where an archive is unpacked.
        left: Members that were not unpacked: hidden ones, and those not asked for.
    """

    files: list[Path]
    archive: Path | None
    folder: Path
    left: list[str]

    def digests(self, used: Sequence[Path]) -> dict[str, str]:
        """Name to sha256 for a receipt: of the files used, and of the archive they are from."""
        if self.archive is None:
            return {file.name: sha256_file(file) for file in used}
        names = [file.relative_to(self.folder).as_posix() for file in used]
        members = dict(zip(names, map(sha256_file, used), strict=True))
        return {self.archive.name: sha256_file(self.archive)} | {
            f"{self.archive.name}/{name}": digest for name, digest in members.items()
        }


@contextmanager
def open_item(
    files: Sequence[Path], beside: Path, names: Collection[str] | None = None
) -> Iterator[Item]:
    """The files as they are, or if the only one is an archive, its files in a temporary folder.

    Hidden members are left out, as `fetch` leaves out the hidden files of a folder.

    Args:
        files: All files of the item.
        beside: The temporary folder lies beside this path; it is removed in the end.
        names: Names of the files to unpack; None = all.

    Raises:
        ArchiveError: It is no archive, damaged, or made to harm (see `read_members`, `read_zip`);
            it holds nothing to unpack, or two members of one name.
    """
    folder = beside.with_name(f".{beside.name}.unpacked.tmp")
    if len(files) != 1 or not files[0].name.lower().endswith((".zip", *_TAR)):
        yield Item(list(files), None, folder, [])
        return
    (archive,) = files
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        unpacked, left = _unpack(archive, folder, names)
        yield Item(unpacked, archive, folder, left)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(
    archive: Path, folder: Path, names: Collection[str] | None
) -> tuple[list[Path], list[str]]:
    """The unpacked files, and the names of the members that were left."""
    unpacked: list[Path] = []
    left: list[str] = []
    for member in _members(archive):
        path = PurePosixPath(member.name)
        hidden = any(part.startswith(".") for part in path.parts)
        if hidden or (names is not None and path.name not in names):
            left.append(member.name)
            continue
        _write(member, folder / path, archive)
        unpacked.append(folder / path)
    if not unpacked:
        raise ArchiveError(
            f"{archive} holds {len(left)} files ({', '.join(left[:5])}); expected "
            f"{' or '.join(names) if names is not None else 'one that is not hidden'}."
        )
    return sorted(unpacked), left


def _members(archive: Path) -> Iterator[Member]:
    if archive.name.lower().endswith(".zip"):
        yield from read_zip(archive)
        return
    with open_stream(archive) as stream:
        yield from read_members(stream, where=str(archive))


def _write(member: Member, target: Path, archive: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            while data := member.stream.read(READ_BYTES):
                out.write(data)
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(
            f"{archive}: {member.name!r} is there twice, or as a file and as a folder; expected "
            "each name once. Pack the files again."
        ) from None
