"""The library in which the ranks' tensors meet."""

import importlib
import importlib.util

import torch
import torch.distributed as dist

_OF_DEVICE = {"cuda": "nccl", "xpu": "xccl", "hpu": "hccl"}
# Backends that are known to torch once their module is imported.
_PLUGINS = {
    "ccl": "oneccl_bindings_for_pytorch",
    "hccl": "habana_frameworks.torch.distributed.hccl",
}


def choose_backend(backend: str, device: torch.device) -> str:
    """Name for `init_process_group`.

    Args:
        backend: As `runtime.launch.backend`; auto takes the device's own, and gloo on a CPU.
        device: Of this rank.

    Returns:
        The backend; for accelerators with gloo beside it, for numbers on the CPU: a sum of counts
        or losses then waits neither for the device's work nor in its queue.

    Raises:
        ValueError: torch lacks the backend here.
    """
    chosen = _OF_DEVICE.get(device.type, "gloo") if backend == "auto" else backend
    plugin = _PLUGINS.get(chosen)
    if plugin is not None and importlib.util.find_spec(plugin.split(".", maxsplit=1)[0]):
        importlib.import_module(plugin)
    if not dist.is_backend_available(chosen):
        need = f"the package {plugin}" if plugin else f"a torch that was built with {chosen}"
        raise ValueError(
            f"runtime.launch.backend is {backend}, which is {chosen} on {device.type}, but torch "
            f"{torch.__version__} has no {chosen} here; install {need}, or write gloo."
        )
    if device.type != "cpu" and chosen not in ("gloo", "mpi"):
        return f"cpu:gloo,{device.type}:{chosen}"
    return chosen
