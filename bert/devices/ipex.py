"""Intel's extension for PyTorch, whose CPU kernels and autocast take the place of torch's own.

Its last release is 2.8.0, for torch 2.8 alone (the extra `ipex`). Loading it is all: the weights
stay fp32 and keep their names, and the optimizer stays this project's own. `ipex.optimize` would
hold the weights of linear maps a second time in bf16, out of sight of gradient sums, clipping and
checkpoints; docs/devices.md has what that brings.
"""

import importlib
import importlib.metadata
import importlib.util

import torch

_NAME = "intel_extension_for_pytorch"


def load_ipex(device: torch.device) -> None:
    """Loads the extension into this process.

    Raises:
        ValueError: It is not installed, does not fit this torch, or the device is no CPU.
    """
    if device.type != "cpu":
        raise ValueError(f"runtime.ipex is true, but the device is {device.type}; write false.")
    if importlib.util.find_spec(_NAME) is None:
        raise ValueError(
            f"runtime.ipex is true, but {_NAME} is not installed; it needs torch 2.8 (this is "
            f"{torch.__version__}): make an environment of its own with pip install "
            "'bert-pretraining[ipex]', or write false, which reaches AMX as well."
        )
    try:
        importlib.import_module(_NAME)
    except (ImportError, OSError, AttributeError) as error:
        raise ValueError(
            f"runtime.ipex is true, but {_NAME} {ipex_version()} does not load with torch "
            f"{torch.__version__} ({error}); the two must have the same first two numbers."
        ) from error


def ipex_version() -> str:
    """Version of the installed extension."""
    return importlib.metadata.version(_NAME)
