"""Files of torch.save, read by the loader that makes tensors and plain values and runs no code."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from bert.convert.found import WeightsError


def load_torch_file(path: Path) -> Any:
    """Content of a file, tensors on the CPU.

    Raises:
        WeightsError: It is damaged, or holds objects, which only running its code could make.
    """
    mapped = zipfile.is_zipfile(path)  # the format before torch 1.6 cannot be mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError:
        raise
    except Exception as error:  # torch has no error of its own for bad files
        first = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} cannot be read ({first}): it is damaged, or holds objects besides tensors and "
            "plain values, and making those would run code from the file. Copy it again; or, where "
            "it was written, load it and save its state_dict alone."
        ) from None
