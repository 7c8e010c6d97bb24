"""A model of the cost of a step against nodes: compute, the sum of the gradients, the optimizer.

    python benchmarks/scaling_model.py --machine cpu
    python benchmarks/scaling_model.py --machine gpu --batch 65536 --nodes 1 2 8 64 512
    python benchmarks/scaling_model.py --measured scaling.json     beside what scaling.py measured

docs/scaling.md derives the formulas, names the sources of the numbers, and says where they err.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple


class Machine(NamedTuple):
    """A cluster of equal nodes; rates of a rank are those it reaches, not those of a data sheet."""

    ranks: int  # of a node
    flops: float  # useful FLOP/s of a rank
    memory: float  # bytes/s of a rank's memory, reading and writing together
    local: float  # bytes/s that a sum of gradients passes from rank to rank inside a node
    network: float  # bytes/s of a node's network, in one direction
    hop: float  # seconds that a message takes from rank to rank
    tree: bool  # whether small messages go along trees (NCCL), or always around the ring (gloo)


class Work(NamedTuple):
    """A step of training."""

    parameters: float
    flops: float  # of an instance, forward and backward
    batch: int  # instances of a step, over all ranks
    micro_batch: int  # most instances that go through the model at once
    wire: int  # bytes of a gradient on its way
    bucket: float  # bytes of a bucket on its way
    overlap: bool
    update: float  # bytes of memory that the optimizer and clipping move for a parameter
    sharded: bool


class Step(NamedTuple):
    """Seconds of a step and of its parts."""

    compute: float
    sum: float  # of the gradients, had it to be waited for
    exposed: float  # what of it is waited for
    update: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return self.compute + self.exposed + self.update


# BERT-large at 128 tokens, 20 of them predicted: see docs/scaling.md for the sources.
MACHINES = {
    "cpu": Machine(2, 16e12, 240e9, 1.2e9, 12.5e9, 50e-6, tree=False),
    "gpu": Machine(8, 0.45 * 989e12, 0.8 * 4.8e12, 450e9, 400e9, 10e-6, tree=True),
}
LARGE = Work(336e6, 240.6e9, 65_536, 128, 4, 25 * 2**20, True, 52, False)


def predict(work: Work, machine: Machine, nodes: int) -> Step:
    """The step on so many nodes."""
    ranks = nodes * machine.ranks
    own = math.ceil(work.batch / ranks)
    compute = own * work.flops / machine.flops
    total = all_reduce(work.parameters * work.wire, work.bucket, machine, nodes)
    # A backward pass is two thirds of a step's products; only the last one has sums beside it.
    backward = compute * min(work.micro_batch, own) / own * 2 / 3
    last = all_reduce(min(work.bucket, work.parameters * work.wire), work.bucket, machine, nodes)
    exposed = max(last, total - backward) if work.overlap else total
    update = work.parameters * work.update / machine.memory
    if work.sharded and ranks > 1:
        update = update / ranks + exchange(work.parameters * 4, machine, nodes)
    return Step(compute, total, exposed, update)


def all_reduce(size: float, bucket: float, machine: Machine, nodes: int) -> float:
    """Seconds of a sum of `size` bytes over all ranks, in buckets, one behind the other.

    Around a ring every rank sends 2 (R - 1) / R of the bytes, and each bucket takes 2 (R - 1) hops.
    """
    ranks = nodes * machine.ranks
    if ranks == 1:
        return 0.0
    hops = 2 * (math.ceil(math.log2(ranks)) if machine.tree else ranks - 1)
    volume = 2 * (ranks - 1) / ranks * size / bandwidth(machine, nodes)
    return volume + math.ceil(size / bucket) * hops * machine.hop


def exchange(size: float, machine: Machine, nodes: int) -> float:
    """Seconds in which each rank gives its share of the weights to all others, owner by owner.

    A broadcast sends the share once to each rank, along a tree, one level behind the other.
    """
    levels = math.ceil(math.log2(nodes * machine.ranks))
    volume = size * (1 if machine.tree else levels) / bandwidth(machine, nodes)
    return volume + nodes * machine.ranks * levels * machine.hop


def bandwidth(machine: Machine, nodes: int) -> float:
    """Bytes/s of the slowest link of the ring; a node alone has no network."""
    if nodes == 1:
        return machine.local
    return min(machine.local, machine.network) if machine.ranks > 1 else machine.network


def table(work: Work, machine: Machine, nodes: list[int]) -> str:
    """A line for each number of nodes; efficiency is that beside the first."""
    lines = [
        "| nodes | ranks | instances a rank | compute s | sum s | waited for s | optimizer s | "
        "step s | instances/s | efficiency |",
        "|--:" * 10 + "|",
    ]
    first = 0.0
    for count in nodes:
        step = predict(work, machine, count)
        rate = work.batch / step.seconds
        first = first or rate / count
        own = math.ceil(work.batch / (count * machine.ranks))
        parts = (step.compute, step.sum, step.exposed, step.update, step.seconds)
        numbers = " | ".join(f"{part:.3g}" for part in parts)
        lines.append(
            f"| {count} | {count * machine.ranks} | {own} | {numbers} | {rate:,.0f} | "
            f"{rate / count / first:.0%} |"
        )
    return "\n".join(lines)


def check(found: dict[str, Any]) -> str:
    """Predicted and measured steps of several processes on one machine's cores.

    Known to the model are the parts of the step of one process, the speed of a matrix product
    alone and beside others, and the sum of a message of a bucket's size. The ranks share cores and
    memory: products slow down as the probe does, each rank updates all parameters at its share of
    the memory's speed, and a sum takes the cores from the products beside it, so none is hidden.
    """
    jobs = found["processes"]
    (alone,) = jobs["1"]["variants"].values()
    lines = ["| processes | variant | predicted s | measured s | error |", "|--:|:--|--:|--:|--:|"]
    for count, job in jobs.items():
        for name, one in job["variants"].items() if count != "1" else []:
            ranks = int(count)
            slower = jobs["1"]["rank_flops"] / (ranks * job["rank_flops"])
            compute = (alone["step"] - alone["optimizer"]) * slower
            wire = "bfloat16" if name.startswith("bf16") else "float32"
            size = one["parameters"] * (2 if wire == "bfloat16" else 4)
            total = size * seconds_a_byte(job["all_reduce"], wire)
            update = alone["optimizer"] * (1 if "sharded" in name else ranks)
            if "sharded" in name:
                # Broadcasts of all weights, which move half of what a sum does.
                update += one["parameters"] * 4 * seconds_a_byte(job["all_reduce"], "float32") / 2
            predicted = compute + total + update
            lines.append(
                f"| {count} | {name} | {predicted:.3f} | {one['step']:.3f} | "
                f"{predicted / one['step'] - 1:+.0%} |"
            )
    return "\n".join(lines)


def seconds_a_byte(messages: list[dict[str, Any]], dtype: str) -> float:
    """Of the message that is nearest to a bucket of 25 MiB."""
    same = [one for one in messages if one["dtype"].endswith(dtype)]
    nearest = min(same, key=lambda one: abs(one["bytes"] - 25 * 2**20))
    return float(nearest["seconds"] / nearest["bytes"])


def main() -> None:
    """Prints the table that was asked for."""
    args = parse_args()
    if args.measured:
        print(check(json.loads(args.measured.read_text())))
        return
    given = {name: getattr(args, name) for name in Machine._fields if getattr(args, name, None)}
    machine = MACHINES[args.machine]._replace(**given)
    names = ("parameters", "flops_an_instance", "batch", "micro_batch", "wire", "update")
    changes = {name.removesuffix("_an_instance"): getattr(args, name) for name in names}
    work = Work(
        **changes,
        bucket=args.bucket_mb * 2**20 * args.wire / 4,
        overlap=not args.late,
        sharded=args.sharded,
    )
    print(table(work, machine, args.nodes))


def parse_args() -> argparse.Namespace:
    """The machine, the work, and what to replace of them."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--machine", choices=sorted(MACHINES), default="cpu")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 8, 64, 512])
    parser.add_argument("--measured", type=Path, help="JSON of benchmarks/scaling.py to predict")
    for name, field in Machine.__annotations__.items():
        if name != "tree":
            parser.add_argument(f"--{name}", type=field, help=f"{name} in place of the machine's")
    parser.add_argument("--parameters", type=float, default=LARGE.parameters)
    parser.add_argument("--flops-an-instance", type=float, default=LARGE.flops)
    parser.add_argument("--batch", type=int, default=LARGE.batch)
    parser.add_argument("--micro-batch", type=int, default=LARGE.micro_batch)
    parser.add_argument("--wire", type=int, choices=[2, 4], default=4, help="bytes of a gradient")
    parser.add_argument("--bucket-mb", type=float, default=25)
    parser.add_argument("--update", type=float, default=LARGE.update, help="bytes a parameter")
    parser.add_argument("--late", action="store_true", help="no overlap")
    parser.add_argument("--sharded", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
