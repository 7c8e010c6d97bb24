"""One variant in a process of its own: builds it, then takes steps when it is told to.

The driver writes JSON lines to standard input, the first one the order: the fields of the case and
of the variant, and `folder` of the shards, `vocab_size`, `device`, `precision`. Each line after it
names a method of `Worker`, and one JSON line answers it on standard output. Between two lines the
worker waits and computes nothing. Whatever else is printed goes to standard error.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

import psutil
import torch
from after_backward import watch_backward
from instances import FILES
from memory import peak_mb, reset_peak, resident_mb
from probe import make_probe
from subject import Subject

from bert.data.batches import Reading, StepBatch, read_steps
from bert.data.corpus import Corpus
from bert.devices.device import training_flops
from bert.model.config import ModelConfig

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_SEED = 42


def main() -> None:
    """Answers until standard input ends."""
    answers = _take_standard_output()
    worker = Worker(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(getattr(worker, json.loads(line))()), file=answers, flush=True)


class Worker:
    """A variant, its batches, and the clock around its steps."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Imports what the variant needs, then builds it."""
        self._order = order
        module = importlib.import_module("own" if order["own"] else "peer")
        before = resident_mb(torch.device("cpu"))
        self._subject: Subject = module.make(order)
        device = self._subject.device
        # A GPU holds nothing yet after an import.
        self._imported_mb = before if device.type == "cpu" else 0.0
        self._probe = make_probe(_DTYPES[order["precision"]], device)
        self._batches = _batches(order, padded=order["own"] and order["padded"])
        self._plain = _batches(order, padded=False)
        self._end_of_step = watch_backward(device)
        reset_peak(device)

    def describe(self) -> dict[str, Any]:
        """What computes, and the memory that is free for computing, in MB."""
        device = self._subject.device
        free = psutil.virtual_memory().available
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
        return self._subject.described | {"free_mb": free / 1e6}

    def step(self) -> dict[str, Any]:
        """Takes a step between two probes.

        Returns:
            seconds; probes, FLOP/s before and after; optimizer_s, from the end of the backward pass
            to that of the step; loss in nats; imported_mb and peak_mb, memory after imports and
            most so far; and of the batch sequences, tokens, predicted tokens and useful flops.
        """
        batch, plain = next(self._batches), next(self._plain)
        prepared = self._subject.prepare(batch)
        before = self._probe()
        start = time.perf_counter()
        loss = self._subject.step(prepared)
        optimizer_s = self._end_of_step()
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "probes": [before, self._probe()],
            "optimizer_s": optimizer_s,
            "loss": float(loss),
            "imported_mb": self._imported_mb,
            "peak_mb": peak_mb(self._subject.device),
            **_useful(self._order, plain),
        }

    def around(self) -> dict[str, float] | None:
        """Seconds a step of loading and of logging; None where it is not ours to say."""
        return self._subject.around() if self._subject.around else None


def _batches(order: dict[str, Any], *, padded: bool) -> Iterator[StepBatch]:
    """The same instances in the same steps for every variant, one micro-batch each."""
    corpus = Corpus([Path(order["folder"]) / FILES[padded]])
    reading = Reading(_SEED, 1, order["sequences"], None, order["positions"], 0, 1)
    return (next(read_steps(corpus, range(step, step + 1), reading)) for step in count(1))


def _useful(order: dict[str, Any], batch: StepBatch) -> dict[str, float]:
    """What a step is worth: its real tokens, whoever fills them up."""
    (stream,) = batch.micro_batches
    lengths = tuple((stream.cu_seqlens[1:] - stream.cu_seqlens[:-1]).tolist())
    shape = ModelConfig.model_construct(
        hidden_size=order["hidden"], intermediate_size=order["intermediate"],
        num_hidden_layers=order["layers"],
    )  # fmt: skip
    masked = len(stream.masked_lm_ids)
    return {
        "sequences": len(lengths),
        "tokens": sum(lengths),
        "predicted": masked,
        "flops": training_flops(shape, order["vocab_size"], lengths, masked),
    }


def _take_standard_output() -> IO[str]:
    """A stream to the driver; what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
