"""The compiled kernels in this process: whether they are used, and how one is called.

A kernel takes addresses of tensors and numbers and returns nothing; the modules beside this one
give it checked tensors. The library shares torch's OpenMP threads: torch is loaded first.
"""

import ctypes
import logging
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from bert.kernels.build import BuildError, build

logger = logging.getLogger(__name__)

DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}
_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "u": ctypes.c_uint64, "f": ctypes.c_float}
_switch = {"on": False}


def use_kernels(wanted: str) -> bool:
    """Switches the kernels on or off for this process.

    Args:
        wanted: "torch", off; "native", on; "auto", on where they can be compiled.

    Returns:
        Whether they are on.

    Raises:
        BuildError: They are wanted and cannot be compiled.
    """
    _switch["on"] = False
    if wanted == "torch":
        return False
    try:
        _library()
    except BuildError as error:
        if wanted == "native":
            raise BuildError(f"runtime.kernels is native, but {error}") from error
        logger.warning("the native kernels are off, training is slower: %s", error)
        return False
    _switch["on"] = True
    return True


def kernels_on() -> bool:
    """Whether `use_kernels` has switched them on."""
    return _switch["on"]


@cache
def kernel(name: str, kinds: str) -> Callable[..., None]:
    """A function of the library.

    Args:
        name: As in `source/`.
        kinds: One letter an argument: p, a tensor or None; i, an int64; u, a uint64; f, a float.
    """
    function = getattr(_library(), name)
    function.argtypes = [_KINDS[kind] for kind in kinds]
    function.restype = None
    places = [place for place, kind in enumerate(kinds) if kind == "p"]

    def call(*arguments: Tensor | int | float | None) -> None:
        values: list[Tensor | int | float | None] = list(arguments)
        for place in places:
            values[place] = _address(values[place])
        function(*values)

    return call


def _address(tensor: Tensor | int | float | None) -> int | None:
    if tensor is None:
        return None
    if not isinstance(tensor, Tensor) or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise TypeError(
            f"{type(tensor)} is no contiguous tensor of the CPU; a kernel takes no other."
        )
    return tensor.data_ptr()


@cache
def _library() -> ctypes.CDLL:
    file = build()
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise BuildError(f"{file} does not load ({error}); delete it to build it anew.") from error
