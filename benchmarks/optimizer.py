"""What an optimizer step takes: native kernels, torch's operations, torch's fused AdamW.

    python benchmarks/optimizer.py --models base large6 --threads 2

A step is the gradients' norm, clipping, and the update, on random numbers in the shapes of BERT.
All ways take turns in one process, on the same weights and gradients. Printed as JSON are medians
in milliseconds and, as medians over the rounds, each way's time over that of the kernels; and the
bytes a second that the kernels moved (28 an element of AdamW, 40 of LAMB, 4 for the norm), beside
those of a copy from memory to memory, which moves 8 an element.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import nn

from bert.config import check
from bert.kernels.compiled import use_kernels
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import make_optimizer, parameter_groups
from bert.optim.moments import MomentOptimizer, set_learning_rate

VOCAB = 30522
MODELS = {"base": (768, 12), "large6": (1024, 6), "large24": (1024, 24)}  # width, layers
NUMBERS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01, "max_grad_norm": 1.0}
CONFIGS = {
    "adamw": check(
        AdamWConfig, {"name": "adamw", "bias_correction": True} | NUMBERS, where=__file__
    ),
    "lamb": check(LambConfig, {"name": "lamb", "variant": "nvidia"} | NUMBERS, where=__file__),
}
BYTES = {"adamw": 4 + 28, "lamb": 4 + 40}
RATE = 1e-4
COPIED = 64 * 2**20  # elements


def main() -> None:
    """Measures, and prints one JSON object for each model and optimizer."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    for model in args.models:
        for name in CONFIGS:
            print(json.dumps({"model": model, "optimizer": name} | measure(model, name, args)))
            gc.collect()


def measure(model: str, name: str, args: argparse.Namespace) -> dict:
    """Times of all ways of one optimizer on one model."""
    named = make_parameters(*MODELS[model])
    ways = make_ways(named, name)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(args.rounds + 1):
        for way in [*ways] if number % 2 else reversed([*ways]):
            begin = time.perf_counter()
            ways[way]()
            times[way].append(time.perf_counter() - begin)
    measured = {way: found[1:] for way, found in times.items()}  # the first round warms up
    elements = sum(parameter.numel() for _, parameter in named)
    medians = {way: statistics.median(found) for way, found in measured.items()}
    ratios = {
        way: statistics.median(
            one / own for one, own in zip(found, measured["kernels"], strict=True)
        )
        for way, found in measured.items()
        if way not in ("kernels", "copy")
    }
    return {
        "parameters": elements,
        "threads": args.threads,
        "ms": {way: round(1e3 * seconds, 1) for way, seconds in medians.items()},
        "time_over_kernels": {way: round(ratio, 2) for way, ratio in ratios.items()},
        "kernels_gb_s": round(elements * BYTES[name] / medians["kernels"] / 1e9, 1),
        "copy_gb_s": round(8 * COPIED / medians["copy"] / 1e9, 1),
    }


def make_parameters(hidden: int, layers: int) -> list[tuple[str, nn.Parameter]]:
    """Small random weights in the shapes of a BERT with its heads, with gradients to be clipped."""
    values = yaml.safe_load((Path(__file__).parent.parent / "config/config.yaml").read_text())
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
    }
    config = check(ModelConfig, values["model"] | sizes, where=__file__)
    with torch.device("meta"):
        shapes = [(n, p.shape) for n, p in BertForPretraining(config, VOCAB).named_parameters()]
    named = [(name, nn.Parameter(0.02 * torch.randn(shape))) for name, shape in shapes]
    for _, parameter in named:
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    return named


def make_ways(named: list[tuple[str, nn.Parameter]], name: str) -> dict[str, Callable[[], None]]:
    """Functions that take one step each, and the copy."""
    config = CONFIGS[name]
    optimizer = make_optimizer(named, config)
    set_learning_rate(optimizer, RATE)
    gradients = [p.grad for _, p in named if p.grad is not None]
    ways = {
        "kernels": lambda: own_step(optimizer, gradients, "native"),
        "foreach": lambda: own_step(optimizer, gradients, "torch"),
    }
    if name == "adamw":
        groups = [
            {"params": group["params"], "weight_decay": group["weight_decay"]}
            for group in parameter_groups(named, config.weight_decay)
        ]
        fused = torch.optim.AdamW(groups, lr=RATE, eps=config.eps, fused=True)
        ways["torch_fused"] = lambda: peer_step(fused)
    source, target = torch.ones(COPIED), torch.ones(COPIED)
    return ways | {"copy": lambda: copy(source, target)}


def own_step(optimizer: MomentOptimizer, gradients: list[torch.Tensor], kernels: str) -> None:
    """As `bert.train.step` takes it."""
    use_kernels(kernels)
    norm = global_norm(gradients)
    float(norm)
    optimizer.step(divisor=clip_divisor(norm, 1.0))


def peer_step(optimizer: torch.optim.Optimizer) -> None:
    """Clips and moves with what torch has."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    float(nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True))
    optimizer.step()


def copy(source: torch.Tensor, target: torch.Tensor) -> None:
    """What memory gives when nothing is computed."""
    target.copy_(source)


def parse_args() -> argparse.Namespace:
    """Models and repetitions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args()


if __name__ == "__main__":
    main()
