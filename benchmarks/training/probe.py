"""What the machine can do right now: one matrix product, warm, again and again.

It stands before and after every step, because on a shared machine the load changes within minutes:
a step's share of the probe around it (MFU) can be compared where its seconds cannot.
"""

import statistics
import time
from collections.abc import Callable

import torch

M, K, N = 2048, 1024, 4096
_SECONDS, _FEWEST, _MOST = 0.05, 3, 50


def make_probe(dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """A function that measures FLOP/s of a product [2048, 1024] x [1024, 4096] once.

    The median of at least 3 products, of as many as take 50 ms; on a GPU of 50 at a time, which is
    waited for once. Operands and result stay allocated, so that no allocator is measured.
    """
    together = 1 if device.type == "cpu" else 50
    a = torch.ones(M, K, dtype=dtype, device=device)
    b = torch.ones(N, K, dtype=dtype, device=device).t()
    out = torch.empty(M, N, dtype=dtype, device=device)

    def product() -> float:
        start = time.perf_counter()
        for _ in range(together):
            torch.mm(a, b, out=out)
        wait(device)
        return (time.perf_counter() - start) / together

    def probe() -> float:
        product()  # wakes the threads
        times: list[float] = []
        while len(times) < _MOST and (len(times) < _FEWEST or together * sum(times) < _SECONDS):
            times.append(product())
        return 2 * M * K * N / statistics.median(times)

    return probe


def wait(device: torch.device) -> None:
    """Until all that was started on the device has ended."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
