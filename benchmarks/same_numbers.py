r"""Loss curves of the native path in bf16 beside plain fp32, on real text, over several seeds.

    python benchmarks/same_numbers.py --shards results/<run>/shard/phase1/[0-9]*.json \
        --held-out results/<run>/encode/phase1/held_out.json --figure docs/same_numbers.svg

A seed decides weights, order, masks and dropout. For each, the same steps are trained by torch's
operations in fp32 and by the variants. Printed: the distance between the curves of one seed, and
between fp32 curves of different seeds, both as the root mean square over steps of running means of
50 steps; and the held-out losses at the end.
"""

import argparse
import json
import math
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import yaml

from bert.config import check
from bert.data.batches import read_steps
from bert.data.index import open_corpus
from bert.devices.device import choose_device
from bert.model.config import ModelConfig
from bert.optim.schedule import learning_rate_factor
from bert.ranks.ranks import Ranks
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.evaluate import evaluate
from bert.train.setup import Setup, build
from bert.train.step import train_step

CONFIG = Path(__file__).parent.parent / "config" / "config.yaml"
REFERENCE = "fp32.torch"
WINDOW = 50
_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3")


def main() -> None:
    """Starts the runs one after the other, or is one of them."""
    args = parse_args()
    if args.worker:
        print(json.dumps(train(args, args.variants[0], args.seeds[0])))
        return
    variants = [REFERENCE, *(v for v in args.variants if v != REFERENCE)]
    runs = {(v, seed): start(args, v, seed) for seed in args.seeds for v in variants}
    report(runs, variants, args.seeds)
    if args.output:
        rows = [{"variant": v, "seed": s} | run for (v, s), run in runs.items()]
        args.output.write_text(json.dumps(rows))
    if args.figure:
        draw(runs, variants, args.seeds, args.figure)


def start(args: argparse.Namespace, variant: str, seed: int) -> dict:
    """The losses of one process."""
    own = [str(Path(__file__).resolve()), "--worker", "--variants", variant, "--seeds", str(seed)]
    for name in ("steps", "batch", "hidden", "layers", "rate", "optimizer", "threads"):
        own += [f"--{name}", str(getattr(args, name))]
    own += ["--shards", *map(str, args.shards), "--held-out", str(args.held_out)]
    done = subprocess.run([sys.executable, *own], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(args: argparse.Namespace, variant: str, seed: int) -> dict:
    """One run: the loss of each step, and the held-out loss after the last."""
    precision, _, kernels = variant.partition(".")
    values = yaml.safe_load(CONFIG.read_text())
    runtime = values["runtime"] | {
        "device": "cpu", "precision": precision, "kernels": kernels, "threads": args.threads,
        "micro_batch_tokens": 4096,
    }  # fmt: skip
    model = values["model"] | {
        "hidden_size": args.hidden,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.hidden // 64,
        "intermediate_size": 4 * args.hidden,
    }
    optimizer = values["pretrain"]["phase1"]["optimizer"]
    if args.optimizer == "adamw":
        optimizer = optimizer | {"name": "adamw", "variant": None, "bias_correction": True}
    phase = values["pretrain"]["phase1"] | {
        "seed": seed, "steps": args.steps, "batch": args.batch, "learning_rate": args.rate,
        "optimizer": optimizer,
        "schedule": {"name": "linear", "warmup_proportion": 0.1, "degree": None},
    }  # fmt: skip
    phase["schedule"] = values["pretrain"]["phase1"]["schedule"] | phase["schedule"]
    sections = [
        check(kind, section, where=str(CONFIG), path=name)
        for kind, section, name in (
            (PhaseConfig, phase, "pretrain.phase1"),
            (ModelConfig, model, "model"),
            (RuntimeConfig, runtime, "runtime"),
        )
    ]
    torch.set_num_threads(args.threads)
    device = choose_device(sections[2], 0)
    corpus, _ = open_corpus(args.shards)
    held_out, _ = open_corpus([args.held_out])
    setup = Setup(1, *sections, corpus, held_out, Ranks(0, 1, 0), device)
    learner = build(setup)
    losses = []
    for batch in read_steps(corpus, range(1, args.steps + 1), setup.reading()):
        rate = args.rate * learning_rate_factor(batch.step, args.steps, setup.config.schedule)
        result = train_step(setup, learner, batch, rate)
        losses.append(result.mlm_loss + result.nsp_loss)
    found = evaluate(
        learner.network, held_out, setup.config.masking, seed=0, limit=1000, runtime=setup.runtime,
        device=device, ranks=setup.ranks,
    )  # fmt: skip
    return {"losses": losses, "held_out": found["mlm_loss"]}


def running_mean(losses: list[float]) -> np.ndarray:
    """Means of WINDOW consecutive steps."""
    return np.convolve(losses, np.ones(WINDOW) / WINDOW, mode="valid")


def distance(a: dict, b: dict) -> float:
    """Root mean square of the difference of two smoothed curves, in nats."""
    gap = running_mean(a["losses"]) - running_mean(b["losses"])
    return math.sqrt(float((gap**2).mean()))


def report(runs: dict, variants: list[str], seeds: list[int]) -> None:
    """Prints the distances and the held-out losses."""
    pairs = list(combinations(seeds, 2))
    between = [distance(runs[REFERENCE, a], runs[REFERENCE, b]) for a, b in pairs]
    print(f"{REFERENCE}, between seeds: " + ", ".join(f"{x:.4f}" for x in between))
    for variant in variants[1:]:
        same = [distance(runs[variant, s], runs[REFERENCE, s]) for s in seeds]
        print(f"{variant} from {REFERENCE}, same seed: " + ", ".join(f"{x:.4f}" for x in same))
    for variant in variants:
        losses = ", ".join(f"{runs[variant, s]['held_out']:.4f}" for s in seeds)
        print(f"{variant}, held-out MLM loss: {losses}")


def draw(runs: dict, variants: list[str], seeds: list[int], file: Path) -> None:
    """Smoothed curves of all runs: a colour for each seed, the variants but the first dashed."""
    curves = {key: running_mean(run["losses"]) for key, run in runs.items()}
    low = min(float(curve.min()) for curve in curves.values())
    high = max(float(curve.max()) for curve in curves.values())
    steps = WINDOW + max(map(len, curves.values()))
    width, height, left, bottom = 720, 400, 60, 50

    def place(step: float, loss: float) -> tuple[float, float]:
        x = left + (width - left - 150) * (step - WINDOW) / (steps - WINDOW)
        return x, 20 + (height - 20 - bottom) * (high - loss) / (high - low)

    parts = []
    for loss in np.linspace(low, high, 5):
        y = place(0, float(loss))[1]
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">{loss:.2f}</text>')
        parts.append(f'<path d="M{left} {y:.1f}H{width - 150}" stroke="#ddd"/>')
    for step in range(WINDOW, steps + 1, max(1, (steps - WINDOW) // 5)):
        x = place(step, low)[0]
        parts.append(f'<text x="{x:.0f}" y="{height - 30}" text-anchor="middle">{step}</text>')
    parts.append(f'<text x="{(left + width - 150) // 2}" y="{height - 10}">step</text>')
    parts.append('<text x="4" y="12">training loss in nats, mean of 50 steps</text>')
    for place_of_key, (variant, seed) in enumerate(curves):
        colour = _COLOURS[seeds.index(seed) % len(_COLOURS)]
        dashes = "" if variant == variants[0] else ' stroke-dasharray="5 4"'
        points = [place(WINDOW + n, float(y)) for n, y in enumerate(curves[variant, seed])]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="1.5"{dashes}'
        parts.append(f'<polyline points="{line}" {style}/>')
        y = 30 + 18 * place_of_key
        parts.append(f'<path d="M{width - 142} {y}h24" {style}/>')
        parts.append(f'<text x="{width - 112}" y="{y + 4}">{variant} {seed}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    body = "\n".join([f'{head} font-family="sans-serif" font-size="12">', ground, *parts, "</svg>"])
    file.write_text(body + "\n")


def parse_args() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=["bf16.native"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--optimizer", choices=["lamb", "adamw"], default="adamw")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
