"""One rank of benchmarks/scaling.py, which starts it; writes what it measured as JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bert import log
from bert.config import check
from bert.data.batches import StepBatch, read_steps
from bert.data.corpus import Corpus
from bert.devices.device import choose_device, describe_device, probe_flops
from bert.model.config import ModelConfig
from bert.ranks.failing import failing
from bert.ranks.placement import place, share_threads
from bert.ranks.ranks import Ranks, find_ranks, join, leave
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.setup import Setup, build
from bert.train.step import train_step

# Bytes of a message: two numbers, and buckets of several sizes.
SIZES = (8, 2**16, 2**20, 2**22, 25 * 2**20, 100 * 2**20)


def main() -> None:
    """Joins the ranks, measures all variants in turns, and lets rank 0 write."""
    order = json.loads(Path(sys.argv[1]).read_text())
    ranks = find_ranks()
    log.setup(None, rank=ranks.rank)
    runtime = check(RuntimeConfig, order["runtime"], where=sys.argv[1])
    with failing(ranks):
        share_threads()
        device = choose_device(runtime, ranks.local_rank)
        join(ranks, device, backend=runtime.launch.backend, timeout_s=runtime.launch.timeout_s)
        place(runtime.launch, ranks, device)
        found: dict[str, Any] = {"device": describe_device(device, runtime)}
        found["rank_flops"] = statistics.median(together(ranks, device, runtime))
        found["variants"] = measure_variants(order, ranks, device)
        if ranks.world > 1:
            found["all_reduce"] = [
                time_message(size, dtype, ranks, device)
                for dtype in (torch.float32, torch.bfloat16)
                for size in SIZES
            ]
        if ranks.rank == 0:
            Path(sys.argv[2]).write_text(json.dumps(found))
        leave(ranks)


def together(ranks: Ranks, device: torch.device, runtime: RuntimeConfig) -> list[float]:
    """FLOP/s of each rank's matrix product while all ranks compute."""
    ranks.barrier()
    return by_rank(probe_flops(device, runtime), ranks, device)


def by_rank(value: float, ranks: Ranks, device: torch.device) -> list[float]:
    """A number of each rank, known to all."""
    return ranks.sum([value if rank == ranks.rank else 0.0 for rank in range(ranks.world)], device)


def measure_variants(
    order: dict[str, Any], ranks: Ranks, device: torch.device
) -> dict[str, list[dict[str, Any]]]:
    """Steps of each variant, in turns, the order reversed every other time."""
    names = order["variants"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(order["turns"]):
        for name in names if turn % 2 == 0 else reversed(names):
            found[name].append(measure(name, order, ranks, device))
    return found


def measure(name: str, order: dict[str, Any], ranks: Ranks, device: torch.device) -> dict[str, Any]:
    """Median seconds of a step and of its parts, after one step to warm up.

    `reduce` is what a step waits for the sum of the gradients, of the rank that waited least: the
    others also wait for slower ranks. `optimizer` has the new weights that sharded ranks exchange.
    """
    setup = make_setup(name, order, ranks, device)
    learner = build(setup)
    reduce = timed(learner.gradients, "reduce")
    update = timed(learner.optimizer, "step")
    batches = list(read_steps(setup.train, range(1, order["steps"] + 2), setup.reading()))
    times = []
    for batch in batches:
        ranks.barrier()
        begin = time.perf_counter()
        train_step(setup, learner, batch, 1e-5)
        times.append(time.perf_counter() - begin)
    return {
        "step": statistics.median(times[1:]),
        "reduce": min(by_rank(statistics.median(reduce[1:]), ranks, device)),
        "optimizer": max(by_rank(statistics.median(update[1:]), ranks, device)),
        "micro_batches": len(batches[0].micro_batches),
        "tokens": int(ranks.sum([count_tokens(batches[0])], device)[0]),
        "parameters": sum(p.numel() for p in learner.network.parameters()),
        "bucket_elements": learner.gradients.bucket_elements,
    }


def make_setup(name: str, order: dict[str, Any], ranks: Ranks, device: torch.device) -> Setup:
    """A phase as configured, its gradients summed as the variant says."""
    dtype, *switches = name.split(".")
    reduce = order["runtime"]["all_reduce"] | {"dtype": dtype, "overlap": "late" not in switches}
    runtime = order["runtime"] | {"all_reduce": reduce, "shard_optimizer": "sharded" in switches}
    corpus = Corpus([Path(order["corpus"])])
    return Setup(
        1,
        check(PhaseConfig, order["phase"], where="the benchmark"),
        check(ModelConfig, order["model"], where="the benchmark"),
        check(RuntimeConfig, runtime, where="the benchmark"),
        corpus,
        corpus,
        ranks,
        device,
    )


def timed(thing: object, name: str) -> list[float]:
    """From now on the seconds of each call of a method are added to the list."""
    seconds: list[float] = []
    method: Callable[..., Any] = getattr(thing, name)

    def call(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        result = method(*arguments, **named)
        seconds.append(time.perf_counter() - begin)
        return result

    setattr(thing, name, call)
    return seconds


def count_tokens(batch: StepBatch) -> int:
    """Tokens of this rank's share."""
    return sum(len(micro.input_ids) for micro in batch.micro_batches)


def time_message(
    size: int, dtype: torch.dtype, ranks: Ranks, device: torch.device
) -> dict[str, Any]:
    """Median seconds in which a message of `size` bytes is summed over all ranks."""
    message = torch.ones(max(1, size // dtype.itemsize), dtype=dtype, device=device)
    times = []
    for _ in range(21 if size < 2**20 else 7):
        ranks.barrier()
        begin = time.perf_counter()
        dist.all_reduce(message)
        times.append(time.perf_counter() - begin)
        message.fill_(1)
    return {"bytes": size, "dtype": str(dtype), "seconds": statistics.median(times)}


if __name__ == "__main__":
    main()
