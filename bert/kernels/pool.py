"""A heap of its own for torch's large CPU tensors (torch_source/pool.cpp).

torch takes an allocator by `c10::SetCPUAllocator`, a C++ class; so this one source includes torch's
headers, and the library is for the very torch that runs. Values do not depend on who allocates.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from bert.kernels.build import BuildError, build

SOURCE = Path(__file__).parent / "torch_source"
_started = {"yes": False}


class PoolBytes(NamedTuple):
    """What the pool holds, in bytes."""

    in_use: int
    most: int  # that was ever in use
    touched: int  # the most pages that it can hold of the machine's memory


def start_pool() -> bool:
    """Makes torch take CPU tensors from 256 KiB on from the pool; those that it has stay.

    Returns:
        Whether it does; not where the system refuses to reserve a range of addresses.

    Raises:
        BuildError: It cannot be compiled here.
    """
    if not _started["yes"]:
        function = _library().pool_start
        function.restype = ctypes.c_int64
        _started["yes"] = function() == 1
    return _started["yes"]


def give_back_pool() -> None:
    """Returns the pages of free blocks to the system; nothing where there is no pool."""
    if _started["yes"]:
        _library().pool_give_back()


def pool_bytes() -> PoolBytes:
    """The pool's size; zeros where there is none."""
    numbers = (ctypes.c_int64 * 3)()
    if _started["yes"]:
        _library().pool_numbers(numbers)
    return PoolBytes(*numbers)


@cache
def _library() -> ctypes.CDLL:
    torch_folder = Path(torch.__file__).parent
    path = build(
        SOURCE,
        (
            f"-I{torch_folder / 'include'}",
            f"-L{torch_folder / 'lib'}",
            "-lc10",
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
            f'-DTORCH_OF_THE_POOL="{torch.__version__}"',  # another torch is another library
        ),
    )
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"{path} does not load ({error}); delete it.") from error
