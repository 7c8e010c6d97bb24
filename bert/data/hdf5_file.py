"""New HDF5 files that fail as other files do: on a full disk with one error that names the file.

Left to write by itself, the HDF5 library cannot give up a file whose last bytes have no room: its
errors have many lines, closing the file fails, and the process may crash when it ends. So it
writes through a file object of ours, which keeps the first error and takes all that follows as
written. That object locks nothing, so file systems without locks will do, too.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _Disk(io.RawIOBase):
    """A new file, as h5py's driver `fileobj` wants it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._file.readinto(buffer) or 0

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self.error is None:
                done += self._file.write(view[done:]) or 0
        except OSError as error:
            self._keep(error)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._keep(error)
            return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()

    def _keep(self, error: OSError) -> None:
        self.error = OSError(error.errno, error.strerror, str(self._path))


@contextmanager
def create_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Yields a new, empty HDF5 file, without time stamps or the library's banner.

    Args:
        path: The file; one that is there is written anew.
        options: Further options of h5py.File.

    Raises:
        OSError: There is no room, or another error of the file system.
    """
    disk = _Disk(path)
    try:
        with h5py.File(disk, "w", libver="earliest", **options) as file:
            yield file
    except Exception:
        # What was not written cannot be read back, so that the library stumbles is no wonder.
        if disk.error is not None:
            raise disk.error from None
        raise
    finally:
        disk.close()
    if disk.error is not None:
        raise disk.error
