"""Training speed and losses of execution modes and precisions, side by side on this machine.

    python benchmarks/devices.py --variants fp32.eager bf16.eager bf16.graph bf16.ipex
    python benchmarks/devices.py --python other/bin/python --variants bf16.eager bf16.ipex

A variant is precision.execution, execution being eager, graph, trace, lazy, checkpointing, ipex, or
native (eager with the native kernels).
Each variant is one process, started in turn with the others, forwards and backwards; a process
trains on the same random micro-batches of ragged lengths as all others and reports the median time
of its later steps. Times are of the processor (--clock cpu, right for one thread beside other work)
or of the wall. Printed: the median over rounds of each variant's ratio to the first, its slowest
step (which holds compilation), and the losses.
"""

import argparse
import json
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
from bert.devices.device import choose_device, describe_device
from bert.devices.execution import end_step, prepare_model
from bert.devices.precision import autocast
from bert.model.attention import sequences_of
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.config import LambConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate

VOCAB = 8000


def main() -> None:
    """Starts the processes, or is one of them."""
    args = parse_args()
    if args.worker:
        print(json.dumps(train(args, args.variants[0])))
        return
    runs = [(python, variant) for python in args.python for variant in args.variants]
    results: dict[tuple[str, str], list[dict]] = {run: [] for run in runs}
    for number in range(args.rounds):
        for run in runs if number % 2 == 0 else reversed(runs):
            results[run].append(start(args, *run))
    for run, found in results.items():
        ratios = [a["median"] / b["median"] for a, b in zip(found, results[runs[0]], strict=True)]
        print(f"{run[1]}, torch {found[0]['device']['torch']}, on {found[0]['device']['device']}")
        print(f"  step / first variant's: {statistics.median(ratios):.2f} {sorted(ratios)}")
        print(f"  median step {found[0]['median']:.3f} s, slowest {found[0]['slowest']:.2f} s")
        print(f"  product bits {found[0]['device']['product_bits']}", end=", ")
        print(f"kernels {found[0]['device'].get('product_kernels')}")
        print("  losses", *(f"{loss:.5f}" for loss in found[0]["losses"]))


def start(args: argparse.Namespace, python: str, variant: str) -> dict:
    """The figures of one process."""
    own = [str(Path(__file__).resolve()), "--worker", "--variants", variant]
    for name in ("threads", "steps", "hidden", "layers", "tokens", "dropout", "device", "clock"):
        own += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run([python, *own], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(args: argparse.Namespace, variant: str) -> dict:
    """Trains on random micro-batches: losses, times, and what computed."""
    torch.set_num_threads(args.threads)
    precision, _, execution = variant.partition(".")
    config = ComputeConfig(
        device=args.device,
        precision=precision,
        instruction_set=None,
        execution="eager" if execution in ("ipex", "checkpointing", "native") else execution,
        kernels="native" if execution == "native" else "torch",
        ipex=execution == "ipex",
        activation_checkpointing=execution == "checkpointing",
    )
    device = choose_device(config, 0)
    model = make_model(args).to(device).train()
    prepare_model(model, config, device)
    optimizer = make_optimizer(model.named_parameters(), LAMB)
    set_learning_rate(optimizer, 2e-3)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    losses, times = [], []
    for step in range(args.steps):
        torch.manual_seed(step)
        inputs, ids, labels = make_batch(step, args.tokens, device)
        begin = clock()
        optimizer.zero_grad(set_to_none=True)
        with autocast(config, device):
            logits = model(*inputs)
        loss = F.cross_entropy(logits.mlm_logits.float(), ids)
        loss = loss + F.cross_entropy(logits.nsp_logits.float(), labels)
        loss.backward()
        optimizer.step()
        end_step(config, device)
        losses.append(float(loss.detach()))  # waits for the device
        times.append(clock() - begin)
    later = times[args.steps // 2 :]
    return {
        "losses": losses,
        "median": statistics.median(later),
        "slowest": max(times),
        "device": describe_device(device, config),
    }


LAMB = LambConfig(
    name="lamb",
    variant="nvidia",
    beta1=0.9,
    beta2=0.999,
    eps=1e-6,
    weight_decay=0.01,
    max_grad_norm=1.0,
)


def make_model(args: argparse.Namespace) -> BertForPretraining:
    """A BERT of the asked width and depth, heads of 64."""
    config = ModelConfig(
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        intermediate_size=4 * args.hidden,
        hidden_act="gelu",
        hidden_dropout_prob=args.dropout,
        attention_probs_dropout_prob=args.dropout,
        max_position_embeddings=128,
        type_vocab_size=2,
        initializer_range=0.02,
        positions="learned",
        position_init="normal",
        norm="post",
        layer_norm_eps=1e-12,
        vocab_multiple=8,
        next_sentence=True,
    )
    model = BertForPretraining(config, VOCAB)
    initialize(model, 0.02, torch.Generator().manual_seed(1))
    return model


def make_batch(seed: int, tokens: int, device: torch.device) -> tuple:
    """Sequences of 16 to 128 random tokens, `tokens` or a few more in all, and their targets."""
    rng = np.random.default_rng(seed)
    lengths: list[int] = []
    while sum(lengths) < tokens:
        lengths.append(int(rng.integers(16, 129)))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.array(lengths, np.uint16) // 2
    segments, positions = segments_and_positions(ends, starts)
    count = int(ends[-1])
    masked = np.sort(rng.choice(count, count * 15 // 100, replace=False))
    streams = [rng.integers(5, VOCAB, count), segments, positions]
    moved = [torch.from_numpy(x.astype(np.int64)).to(device) for x in [*streams, masked]]
    ids = torch.from_numpy(rng.integers(5, VOCAB, len(masked))).to(device)
    labels = torch.from_numpy(rng.integers(0, 2, len(lengths))).to(device)
    return (*moved[:3], sequences_of(lengths, device), moved[3]), ids, labels


def parse_args() -> argparse.Namespace:
    """What to compare, on what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["fp32.eager", "bf16.eager"])
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=512, help="of a micro-batch")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--worker", action="store_true", help="be one process; prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
