"""Memory of a CPU process: large tensors that are not mapped and zeroed anew at each use.

glibc asks the kernel for every block from 32 MiB on, and gives the end of its heap back and takes
it again. A page that comes from the kernel is faulted in and zeroed, which takes longer than most
operations on it. So large tensors come from `bert.kernels.pool`, which keeps its pages. Without a
compiler glibc is told to keep the end of its heap. Telling it to map nothing would go further, but
an aligned block does not fit the gap that one of its size has left: the heap doubles.
docs/devices.md has figures.

Sources: mallopt(3); oneDNN developer guide, "Primitive cache".
"""

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import Literal

import torch

from bert.kernels.build import BuildError
from bert.kernels.pool import start_pool

logger = logging.getLogger(__name__)

# Parameters of mallopt, from malloc.h. To set one ends the adaption of the others, so that the
# first stands where it would have come to: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD.
_MALLOC = {-3: 32 << 20, -1: -1, -2: 64 << 20}
_SET_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")

# oneDNN keeps what it compiled for the last shapes, some 0.5 MB each, 1,024 of them by default. A
# ragged micro-batch has some 100 shapes, equal in all layers, and shares few with the next one.
_SHAPES = 256


def keep_memory(device: torch.device) -> Literal["pool", "malloc"] | None:
    """Makes this process keep freed memory for its next large tensors.

    Call it before the first matrix product. The allocator stays as it is where it is not the C
    library's own (tcmalloc or jemalloc preloaded), where the environment sets it (MALLOC_...,
    GLIBC_TUNABLES), and outside Linux. What is set once stays for the process.

    Args:
        device: Where tensors live; nothing happens but on a CPU.

    Returns:
        Who keeps it; None where nothing was changed.
    """
    if device.type != "cpu":
        return None
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_SHAPES))
    if why := _reason_against():
        logger.debug("the allocator is left as it is: %s", why)
        return None
    if _start_pool():
        return "pool"
    if hasattr(_LIBC, "gnu_get_libc_version"):
        if all(_LIBC.mallopt(name, value) for name, value in _MALLOC.items()):
            return "malloc"
        logger.debug("mallopt refuses its settings; the allocator is left as it is")
    else:
        logger.debug("the C library is not glibc; its allocator is left as it is")
    return None


_LIBC = ctypes.CDLL(None)


def _start_pool() -> bool:
    try:
        return start_pool()
    except BuildError as error:
        logger.debug("large tensors come from malloc: %s", error)
        return False


def _reason_against() -> str | None:
    if sys.platform != "linux":
        return f"this is {sys.platform}, not Linux"
    owner = _owner_of_malloc()
    if not owner.startswith(("libc", "ld-musl")):
        return f"malloc is that of {owner}"
    found = [name for name in _SET_BY_USER if name in os.environ]
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        found.append("GLIBC_TUNABLES")
    return f"the environment sets {', '.join(found)}" if found else None


class _Symbol(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def _owner_of_malloc() -> str:
    """Name of the file that `malloc` comes from: a preloaded library stands before the C's."""
    symbol = _Symbol()
    _LIBC.dladdr(ctypes.cast(_LIBC.malloc, ctypes.c_void_p), ctypes.byref(symbol))
    return Path(os.fsdecode(symbol.file or b"")).name
