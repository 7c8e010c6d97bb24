"""What the allocator takes from training on a CPU: time, page faults and memory, side by side.

    python benchmarks/allocator.py
    python benchmarks/allocator.py --preload tcmalloc=libtcmalloc_minimal.so.4

Variants, each a process of its own, started in turn, forwards and backwards:

glibc     as it is
kept      what `bert.devices.memory` sets: the pool
malloc    what it sets where there is no compiler
nommap    glibc that maps no block and gives nothing back (MALLOC_MMAP_MAX_=0 and others)
hugetlb   glibc with huge pages (GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
thp       torch's own switch for huge pages (THP_MEM_ALLOC_ENABLE=1)

A process computes a linear map and a sum with outputs of 32 and 64 MiB, again and again, and then
trains on micro-batches of 1,500 to 2,048 tokens, each of other lengths. Printed: medians over the
rounds of the times as ratios to the first variant's, page faults a micro-batch, and resident memory
after the last micro-batch.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bert.data.batches import segments_and_positions
from bert.devices.config import ComputeConfig
from bert.devices.device import DeviceBatch
from bert.devices.execution import prepare_model
from bert.devices.memory import keep_memory
from bert.devices.precision import autocast
from bert.kernels.compiled import use_kernels
from bert.kernels.pool import pool_bytes
from bert.model.attention import sequences_of
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.train.evaluate import losses, run_model
from bert.train.watch import resident_mb

VOCAB = 30_528
NO_CHANGE = {"MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": str(64 << 20)}
VARIANTS = {
    "glibc": {},
    "kept": {},
    "malloc": {"CXX": "absent"},
    "nommap": NO_CHANGE | {"MALLOC_MMAP_MAX_": "0"},
    "hugetlb": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "thp": {"THP_MEM_ALLOC_ENABLE": "1"},
}


def main() -> None:
    """Starts the processes, or is one of them."""
    args = parse_args()
    if args.worker:
        print(json.dumps(measure(args)))
        return
    preloads = dict(item.split("=", 1) for item in args.preload)
    variables = {name: VARIANTS[name] for name in args.variants}
    variables |= {name: {"LD_PRELOAD": file} for name, file in preloads.items()}
    results: dict[str, list[dict]] = {name: [] for name in variables}
    for number in range(args.rounds):
        for name in variables if number % 2 == 0 else reversed(variables):
            results[name].append(start(args, name, variables[name]))
    print_table(results)


def start(args: argparse.Namespace, name: str, variables: dict[str, str]) -> dict:
    """The figures of one process."""
    own = [str(Path(__file__).resolve()), "--worker", name]
    for option in ("threads", "hidden", "layers", "micro_batches", "precision", "kernels", "clock"):
        own += [f"--{option.replace('_', '-')}", str(getattr(args, option))]
    done = subprocess.run(
        [sys.executable, *own], stdout=subprocess.PIPE, text=True, check=True,
        env=os.environ | variables,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def print_table(results: dict[str, list[dict]]) -> None:
    """One line a variant."""
    first = next(iter(results.values()))
    times = ("linear_ms", "sum_ms", "micro_batch_ms")
    print(f"{'':10}{'linear':>9}{'sum':>9}{'step':>9}{'ms':>9}{'faults':>10}{'MB':>8}{'peak':>8}")
    for name, found in results.items():
        ratios = [
            statistics.median(a[key] / b[key] for a, b in zip(found, first, strict=True))
            for key in times
        ]
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        cells = [f"{ratio:9.2f}" for ratio in ratios] + [f"{middle['micro_batch_ms']:9.0f}"]
        cells += [f"{middle['faults']:10.0f}", f"{middle['mb']:8.0f}", f"{middle['peak_mb']:8.0f}"]
        print(f"{name:10}{''.join(cells)}   pool: {middle['pool_most']} {middle['pool_touched']}")


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Times in ms, page faults a micro-batch, and memory in MB of this process."""
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    runtime = ComputeConfig(
        device="cpu", precision=args.precision, instruction_set=None, execution="eager",
        kernels=args.kernels, ipex=False, activation_checkpointing=False,
    )  # fmt: skip
    if args.worker in ("kept", "malloc"):
        assert keep_memory(torch.device("cpu")) == {"kept": "pool"}.get(args.worker, args.worker)
        os.environ.pop("CXX", None)  # hidden from the pool alone, not from the kernels
    use_kernels(args.kernels)
    x, w = torch.randn(4096, 1024).bfloat16(), torch.randn(4096, 1024).bfloat16()
    large = F.linear(x, w)
    found = {
        "linear_ms": median_ms(lambda: F.linear(x, w), clock),
        "sum_ms": median_ms(lambda: large.float() + 1, clock),
    }
    return found | train(args, runtime, clock)


def train(args: argparse.Namespace, runtime: ComputeConfig, clock) -> dict[str, float]:
    """Forward and backward passes on ragged micro-batches, without an update."""
    model = make_model(args)
    prepare_model(model, runtime, cpu := torch.device("cpu"))
    batches = [make_batch(seed) for seed in range(args.micro_batches)]
    times, before = [], 0
    for number, batch in enumerate(batches):
        if number == len(batches) // 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        begin = clock()
        with autocast(runtime, cpu):
            logits = run_model(model, batch)
        sum(losses(logits, batch)).backward()
        del logits
        times.append((clock() - begin) * 1e3)
    usage, pool = resource.getrusage(resource.RUSAGE_SELF), pool_bytes()
    later = len(batches) - len(batches) // 2
    return {
        "micro_batch_ms": statistics.median(times[-later:]),
        "faults": (usage.ru_minflt - before) / later,
        "mb": resident_mb(),
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,
        "pool_most": pool.most >> 20,
        "pool_touched": pool.touched >> 20,
    }


def median_ms(work, clock) -> float:
    """Median time of nine calls, after two more."""
    found = []
    for _ in range(11):
        begin = clock()
        work()
        found.append((clock() - begin) * 1e3)
    return statistics.median(found[2:])


def make_model(args: argparse.Namespace) -> BertForPretraining:
    """A BERT of the asked width and depth, heads of 64."""
    config = ModelConfig(
        hidden_size=args.hidden, num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64, intermediate_size=4 * args.hidden,
        hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        max_position_embeddings=512, type_vocab_size=2, initializer_range=0.02,
        positions="learned", position_init="normal", norm="post", layer_norm_eps=1e-12,
        vocab_multiple=8, next_sentence=True,
    )  # fmt: skip
    model = BertForPretraining(config, VOCAB)
    initialize(model, 0.02, torch.Generator().manual_seed(1))
    return model.train()


def make_batch(seed: int) -> DeviceBatch:
    """Sequences of 16 to 512 random tokens, 1,500 to 2,048 in all, 15 % of them predicted."""
    rng = np.random.default_rng(seed)
    left, lengths = int(rng.integers(1500, 2049)), []
    while left:
        lengths.append(min(int(rng.integers(16, 513)), left))
        left -= lengths[-1]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    segments, positions = segments_and_positions(ends, np.array(lengths, np.uint16) // 2)
    count = int(ends[-1])
    masked = np.sort(rng.choice(count, count * 15 // 100, replace=False))
    arrays = [
        rng.integers(5, VOCAB, count), segments, positions, masked,
        rng.integers(5, VOCAB, len(masked)), rng.integers(0, 2, len(lengths)),
    ]  # fmt: skip
    ids, *others = (torch.from_numpy(array.astype(np.int64)) for array in arrays)
    return DeviceBatch(ids, *others[:2], sequences_of(lengths), *others[2:])


def parse_args() -> argparse.Namespace:
    """What to compare, on what."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--preload", nargs="*", default=[], help="NAME=LIBRARY, further variants")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--micro-batches", type=int, default=200)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--kernels", choices=["native", "torch"], default="native")
    parser.add_argument(
        "--clock", choices=["cpu", "wall"], default="wall",
        help="cpu: processor time, for one thread on a busy machine",
    )  # fmt: skip
    parser.add_argument("--worker", help="be the process of this variant; prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
