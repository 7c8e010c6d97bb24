"""What a rank costs: one global batch on 1, 2 and 4 processes of this machine, side by side.

    python benchmarks/scaling.py --json results/bench/scaling.json --page docs/scaling.md
    python benchmarks/scaling.py --variants fp32 fp32.late bf16 bf16.late fp32.sharded --layers 12

Each number of processes is a job of the project's own launcher with real training steps; the cores
are the same for all, so that the step of one process with all cores is what the others compare
with. A variant is the type in which gradients travel (fp32, bf16), with `.late` (they travel after
the backward pass, not during it) and `.sharded` (a part of the optimizer's state on each rank).
Jobs are started in turns, forwards and backwards, and variants take turns inside a job. Printed are
medians over all turns: seconds of a step; the parallel efficiency, the step of one process over
this one, as the median of the rounds' ratios; the part of a step that waits for the sum of the
gradients, and that of the optimizer; and the bytes a second of sums of single messages.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scaling_model import check

from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo
from bert.manifest import ROOT

VOCAB = 30_522
BEGIN, END = "<!-- measured: benchmarks/scaling.py --page -->", "<!-- end of measured -->"
RANK = Path(__file__).with_name("scaling_rank.py")


def main() -> None:
    """Runs all jobs, prints the table, and writes the figures if asked to."""
    args = parse_args()
    jobs: dict[int, list[dict[str, Any]]] = {count: [] for count in args.processes}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder / "corpus.h5", args)
        for number in range(args.rounds):
            for count in args.processes if number % 2 == 0 else reversed(args.processes):
                jobs[count].append(run_job(count, folder, args))
    found = {"arguments": vars(args) | {"json": None, "page": None}, "processes": summary(jobs)}
    print(tables(found))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1))
    if args.page:
        write_page(args.page, tables(found))


def run_job(count: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one job of `count` processes."""
    order = make_order(count, folder, args)
    (folder / "order.json").write_text(json.dumps(order))
    (folder / "runtime.json").write_text(json.dumps(order["runtime"]))
    launch = [sys.executable, "-m", "bert.ranks.launch", "--section", folder / "runtime.json"]
    rank = [RANK, folder / "order.json", folder / "found.json"]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(args.cores)}
    subprocess.run([*launch, "--", *rank], env=variables, check=True)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def make_order(count: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The recipe of config/config.yaml with the shape, the batch and the ranks asked for."""
    recipe = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
    runtime = recipe["runtime"] | {"device": "cpu", "kernels": args.kernels}
    runtime["micro_batch_tokens"] = args.micro_batch_tokens
    runtime["all_reduce"] |= {"bucket_mb": args.bucket_mb}
    runtime["launch"] |= {"processes": count, "bind": "numa"}
    shape = {
        "hidden_size": args.hidden, "num_hidden_layers": args.layers,
        "num_attention_heads": args.hidden // 64, "intermediate_size": 4 * args.hidden,
    }  # fmt: skip
    return {
        "corpus": str(folder / "corpus.h5"),
        "variants": args.variants if count > 1 else args.variants[:1],
        "turns": args.turns,
        "steps": args.steps,
        "runtime": runtime,
        "model": recipe["model"] | shape,
        "phase": recipe["pretrain"]["phase1"] | {"batch": args.batch, "steps": args.steps + 1},
    }


def make_corpus(file: Path, args: argparse.Namespace) -> None:
    """Random instances, 90 % of them of the full length."""
    rng, count = np.random.default_rng(1), args.batch * (args.steps + 1)
    lengths = np.where(rng.random(count) < 0.9, args.length, rng.integers(10, args.length, count))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(1000, VOCAB, offsets[-1]).astype(np.uint16)
    ids[offsets[:-1]], ids[offsets[1:] - 1] = 101, 102
    words = np.packbits(np.arange(VOCAB) % 5 == 0).tobytes()
    info = ShardInfo(args.length, "0" * 64, VOCAB, 103, (0, 100, 101, 102, 103), words)
    made = Instances(
        ids, offsets.astype(np.uint64), (lengths // 2).astype(np.uint16), np.zeros(count, np.uint8)
    )
    write_instances(file, made, info, seed=1, config={})


def summary(jobs: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians over the rounds; keys are the numbers of processes, as text."""
    alone = next((step_of(each) for count, each in jobs.items() if count == 1), None)
    found: dict[str, Any] = {}
    for count, rounds in jobs.items():
        variants = {}
        for name in rounds[0]["variants"]:
            steps = step_of(rounds, name)
            turns = [turn for one in rounds for turn in one["variants"][name]]
            variants[name] = {
                key: statistics.median(turn[key] for turn in turns)
                for key in ("step", "reduce", "optimizer")
            }
            variants[name] |= {k: turns[0][k] for k in ("tokens", "parameters", "micro_batches")}
            if alone:
                ratios = [one / own for one, own in zip(alone, steps, strict=True)]
                variants[name]["efficiency"] = statistics.median(ratios)
        found[str(count)] = {
            "device": rounds[0]["device"],
            "rank_flops": statistics.median(one["rank_flops"] for one in rounds),
            "variants": variants,
        }
        if count > 1:
            found[str(count)]["all_reduce"] = messages([one["all_reduce"] for one in rounds])
    return found


def step_of(rounds: list[dict[str, Any]], name: str | None = None) -> list[float]:
    """Seconds of a step in each round; of the first variant without a name."""
    turns = [one["variants"][name or next(iter(one["variants"]))] for one in rounds]
    return [statistics.median(turn["step"] for turn in each) for each in turns]


def messages(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Median seconds of each message."""
    return [
        same[0] | {"seconds": statistics.median(one["seconds"] for one in same)}
        for same in zip(*rounds, strict=True)
    ]


def tables(found: dict[str, Any]) -> str:
    """Steps, then what the model makes of them, then sums of single messages."""
    lines = [
        "| processes | variant | step s | efficiency | waits for the sum | optimizer |",
        "|--:|:--|--:|--:|--:|--:|",
    ]
    for count, job in found["processes"].items():
        for name, one in job["variants"].items():
            waits, update = (one[part] / one["step"] for part in ("reduce", "optimizer"))
            efficiency = f"{one['efficiency']:.2f}" if "efficiency" in one else ""
            lines.append(
                f"| {count} | {name} | {one['step']:.3f} | {efficiency} | {waits:.1%} | "
                f"{update:.1%} |"
            )
    if "1" in found["processes"] and len(found["processes"]) > 1:
        lines += ["", check(found)]
    lines += ["", "| processes | bytes | type | ms | GB/s |", "|--:|--:|:--|--:|--:|"]
    for count, job in found["processes"].items():
        for one in job.get("all_reduce", []):
            lines.append(
                f"| {count} | {one['bytes']:,} | {one['dtype'][6:]} | {1e3 * one['seconds']:.2f} | "
                f"{one['bytes'] / one['seconds'] / 1e9:.2f} |"
            )
    return "\n".join(lines)


def write_page(page: Path, text: str) -> None:
    """Replaces what stands between the marks of the page.

    Raises:
        ValueError: The page has no marks.
    """
    before, start, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page} has no lines {BEGIN!r} and {END!r} to write between; add them.")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", "utf-8")


def parse_args() -> argparse.Namespace:
    """Sizes and what to compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument(
        "--variants", nargs="+", default=["fp32", "fp32.late", "bf16", "bf16.late", "fp32.sharded"]
    )
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of all processes")
    parser.add_argument("--rounds", type=int, default=3, help="jobs of each number of processes")
    parser.add_argument("--turns", type=int, default=2, help="of each variant in a job")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of a turn")
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="instances of all processes")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--micro-batch-tokens", type=int, default=1 << 20)
    parser.add_argument("--bucket-mb", type=float, default=25)
    parser.add_argument("--kernels", choices=["auto", "native", "torch"], default="auto")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--page", type=Path, help="page whose marked part becomes the tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
