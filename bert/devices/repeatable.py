"""Sums on a GPU in one order, so that an interrupted run ends as one that was not, bit for bit."""

import os

import torch


def compute_repeatably(device: torch.device) -> None:
    """Takes from CUDA the freedom to add in whatever order its threads come; nothing elsewhere.

    Two things of a training step have it: the gradient of the query in flash attention's backward
    pass, where a sequence has several blocks of keys (more than 128 tokens), and cuBLAS with
    several streams. All else that a step does is in order already or has a form that is; an
    operation without one raises. Call it before the first matrix product: cuBLAS reads its setting
    from the environment then. Source: torch's notes on reproducibility.
    """
    if device.type != "cuda":
        return
    # Eight buffers of 4 MiB, what torch takes on Hopper; below, cuBLAS gives no such promise.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Otherwise each new tensor would be written twice, the first time with NaN.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
