"""Arrays with a value a document, in files: memory that the system can take back."""

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

_BLOCK = 1 << 20


def map_zeros(path: Path, dtype: type[Number], count: int) -> NDArray[Number]:
    """A new array of `count` zeros, 1 or more, in a file that is mapped into memory.

    The file is written first: a disk that is full is then an error here, and not a fault when a
    page of the array cannot be written later.

    Raises:
        OSError: There is no room for the file.
    """
    left = count * np.dtype(dtype).itemsize
    with path.open("wb") as stream:
        while left > 0:
            left -= stream.write(bytes(min(left, _BLOCK)))
    return np.asarray(np.memmap(path, dtype, "r+", shape=(count,)))
