"""What saving a checkpoint costs the training: steps with and without a save, interleaved.

    python benchmarks/checkpoint.py --folder results/benchmark

A stack of linear layers of about 100 million parameters is trained with LAMB. Some rounds of steps
have a save after their first step, others none, in turns. Printed is what a save takes from the
training, as a share of a step, and the median time of each place in the round, as a share of the
same place without a save: for asynchronous writing and for writing in between. The step that saves
holds the copy, those after it run beside the writer.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from bert.checkpoints.checkpoint import optimizer_tensors
from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.checkpoints.writer import CheckpointWriter
from bert.config import check
from bert.optim.config import LambConfig
from bert.optim.groups import make_optimizer

LAMB = {
    "name": "lamb", "variant": "nvidia", "beta1": 0.9, "beta2": 0.999, "eps": 1e-6,
    "weight_decay": 0.01, "max_grad_norm": 1.0,
}  # fmt: skip
RESULT = {"weights": "last", "average_last": None, "average_every": None}


def main() -> None:
    """Measures, and prints one JSON object."""
    args = parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    layers = [nn.Sequential(nn.Linear(1024, 1024), nn.GELU()) for _ in range(args.layers)]
    model = nn.Sequential(*layers).to(args.device)
    optimizer = make_optimizer(model.named_parameters(), check(LambConfig, LAMB, where=__file__))
    optimizer.param_groups[0]["lr"] = 1e-4
    inputs = torch.randn(args.tokens, 1024, device=args.device)
    modes = {"none": None, "asynchronous": True, "in_between": False}
    times: dict[str, list[list[float]]] = {mode: [] for mode in modes}
    step(model, optimizer, inputs)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        writers = {
            mode: make_writer(Path(folder) / mode, asynchronous)
            for mode, asynchronous in modes.items()
            if asynchronous is not None
        }
        for writer in writers.values():
            writer.reserve(parts(model, optimizer))
            writer.wait()
        for number in range(args.rounds):
            turn = number % len(modes)
            for mode in [*modes][turn:] + [*modes][:turn]:
                found = one_round(model, optimizer, inputs, writers.get(mode), number, args)
                times[mode].append(found)
    report(times, model, optimizer, args)


def one_round(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor,
    writer: CheckpointWriter | None, number: int, args: argparse.Namespace,
) -> list[float]:  # fmt: skip
    """Seconds of each step of a round, the first with its save; then those of the save alone."""
    seconds, saving = [], 0.0
    for place in range(args.steps):
        start = time.perf_counter()
        step(model, optimizer, inputs)
        if place == 0 and writer is not None:
            before = time.perf_counter()
            writer.save(number, parts(model, optimizer), {})
            saving = time.perf_counter() - before
        seconds.append(time.perf_counter() - start)
    if writer is not None:
        writer.wait()
    return [*seconds, saving]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    """Forward, backward, update."""
    optimizer.zero_grad()
    loss = model(inputs).square().mean()
    loss.backward()
    optimizer.step()
    float(loss.detach())  # waits for the device


def parts(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    """All that a checkpoint holds."""
    return {"model": model.state_dict(), "optimizer": optimizer_tensors(model, optimizer)}


def make_writer(folder: Path, asynchronous: bool) -> CheckpointWriter:
    """A writer that keeps one checkpoint."""
    values = {
        "every_steps": 1, "every_samples": None, "from_samples": 0, "keep_last": 1,
        "keep_every": None, "asynchronous": asynchronous,
    }  # fmt: skip
    config = check(CheckpointConfig, values, where=__file__)
    result = check(ResultConfig, RESULT, where=__file__)
    return CheckpointWriter(folder, config, result, active=True)


def report(
    times: dict[str, list[list[float]]], model: nn.Module, optimizer: torch.optim.Optimizer,
    args: argparse.Namespace,
) -> None:  # fmt: skip
    """Medians by place, and their shares."""
    medians = {
        mode: [statistics.median(place) for place in zip(*found, strict=True)]
        for mode, found in times.items()
    }
    *quiet, _ = medians["none"]
    tensors = [t for named in parts(model, optimizer).values() for t in named.values()]
    found = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "checkpoint_bytes": sum(t.numel() * t.element_size() for t in tensors),
        "rounds": args.rounds,
        "step_seconds": [round(seconds, 2) for seconds in quiet],
    }
    for mode in ("asynchronous", "in_between"):
        *seconds, saving = medians[mode]
        pairs = zip(seconds, quiet, strict=True)
        found[mode] = {
            "save": round(saving / statistics.median(quiet), 3),
            "steps": [round(with_it / without - 1, 3) for with_it, without in pairs],
        }
    print(json.dumps(found, indent=2))


def parse_args() -> argparse.Namespace:
    """Sizes, and the folder, which decides the disk."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; the system's temporary one")
    parser.add_argument("--layers", type=int, default=96, help="of 1,049,600 parameters each")
    parser.add_argument("--tokens", type=int, default=512, help="rows that go through them")
    parser.add_argument("--steps", type=int, default=6, help="of a round")
    parser.add_argument("--rounds", type=int, default=5, help="of each kind")
    parser.add_argument("--threads", type=int, help="of the training; as many as torch takes")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
