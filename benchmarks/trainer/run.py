"""Fine-tuning beside transformers' Trainer: the same weights, data, seeds and hyper-parameters.

    python benchmarks/trainer/run.py --task mrpc --train train.tsv --dev dev.tsv --model FOLDER \
        --peer PYTHON --seeds 1 2 3 4 5 --epochs 3 --batch 32 --rate 5e-5 --length 128

`--model` is a folder of transformers with model.safetensors and vocab.txt; `--peer` the Python of
an environment with transformers and accelerate. Tasks: mrpc, rte, squad. This project runs as its
users run it, through the stages convert, features, finetune and score; the time is that of the job
finetune, from the start of its process to its end. The Trainer's time leaves out its imports. Seed
by seed, the two sides take turns in going first. `--steps 40` compares times without whole runs.

Printed, and written as JSON: scores of each seed, medians, seconds by the clock and of the
processor, the ratios of a seed's times. With `--threads 1` the second kind bears a busy machine.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bert.config import load_section
from bert.manifest import ROOT, write_json
from bert.tasks.config import TaskSection, task_module
from bert.tasks.squad_score import exact_match, token_f1

_HERE = Path(__file__).parent
_WARM_UP, _DECAY, _EPS = 0.1, 0.01, 1e-6
_STRIDE, _N_BEST, _ANSWER = 128, 20, 30


def main() -> None:
    """Runs all seeds on both sides."""
    args = parse_args()
    folder = ROOT / "results" / args.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay(args)))
    snakemake(args, [f"results/{args.name}/features/{args.task}/manifest.json"])
    snakemake(args, [f"results/{args.name}/convert/manifest.json"])
    rows = []
    for turn, seed in enumerate(args.seeds):
        sides = [own, peer] if turn % 2 == 0 else [peer, own]
        row = {side.__name__: side(args, folder, seed) for side in sides}
        row["seed"] = seed
        for clock in ("seconds", "processor"):
            row[f"ratio_{clock}"] = row["peer"][clock] / row["own"][clock]
        rows.append(row)
        print(json.dumps(row), flush=True)
    result = {"settings": settings(args), "rows": rows, "medians": medians(rows)}
    write_json(folder / "result.json", result)
    print(json.dumps(result["medians"], indent=2))


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What both sides were told."""
    return {name: value for name, value in vars(args).items() if not isinstance(value, Path)}


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the seeds: scores and seconds of each side, and the ratio."""
    clocks = ("ratio_seconds", "ratio_processor")
    found: dict[str, Any] = {name: statistics.median(row[name] for row in rows) for name in clocks}
    for side in ("own", "peer"):
        names = {name for row in rows for name in row[side]}
        found[side] = {
            name: statistics.median(row[side][name] for row in rows) for name in sorted(names)
        }
    return found


def overlay(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe of this project's side."""
    task: dict[str, Any] = {"format": args.task, "max_seq_length": args.length}
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    if args.task == "squad":
        task = base["finetune"]["squad"]["task"] | task | {"doc_stride": _STRIDE}
    else:
        task |= {"layout": "glue"} if args.task == "mrpc" else {"max_bad_share": 0.0}
    section = base["finetune"]["mrpc"] | {
        "train": "bench_train", "dev": "bench_dev", "seeds": args.seeds, "starts": ["pretrained"],
        "epochs": None if args.steps else args.epochs, "steps": args.steps, "batch": args.batch,
        "learning_rate": args.rate, "task": task,
        "schedule": base["finetune"]["mrpc"]["schedule"] | {"warmup_proportion": _WARM_UP},
        "optimizer": base["finetune"]["mrpc"]["optimizer"]
        | {"eps": _EPS, "weight_decay": _DECAY, "bias_correction": True},
    }  # fmt: skip
    items = {"bench_train": args.train, "bench_dev": args.dev, "bench_model": args.model}
    return {
        "run": args.name,
        "fetch": {name: [{"location": str(path.resolve())}] for name, path in items.items()},
        "filter": None,
        "convert": {"raw": "bench_model", "before": "finetune"},
        "vocab": {"raw": "bench_model", "lowercase": True},
        "finetune": {"squad": None, "mrpc": None, args.task: section},
        "publish": None,
        "runtime": {
            "precision": args.precision, "finetune_threads": args.threads,
            "micro_batch_tokens": args.batch * args.length,
        },
    }  # fmt: skip


def own(args: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Scores and seconds of this project's run of a seed."""
    run = f"{args.task}/pretrained/seed-{seed}"
    snakemake(args, [f"results/{args.name}/score/{run}/metrics.json"], "--forcerun", "finetune")
    scores = json.loads((folder / "score" / run / "metrics.json").read_text())["metrics"]
    table = folder / "benchmarks" / "finetune" / f"{args.task}.pretrained.seed-{seed}.tsv"
    with table.open() as stream:
        used = next(csv.DictReader(stream, delimiter="\t"))
    return {"seconds": float(used["s"]), "processor": float(used["cpu_time"])} | scores


def peer(args: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Scores and seconds of the Trainer's run of a seed."""
    config = folder / "config" / f"finetune.{args.task}.task.json"
    section = load_section(TaskSection, config).task
    task = task_module(section.format)
    splits = {
        role: task.read_examples([path], section, role=role)[0]  # type: ignore[arg-type]
        for role, path in (("train", args.train), ("dev", args.dev))
    }
    rows = {role: [row(one, args.task) for one in examples] for role, examples in splits.items()}
    output = folder / f"peer-{seed}.json"
    job = rows | {
        "kind": args.task, "model": str(args.model), "seed": seed, "threads": args.threads,
        "epochs": args.epochs, "steps": args.steps, "batch": args.batch,
        "learning_rate": args.rate, "warmup": _WARM_UP, "weight_decay": _DECAY, "eps": _EPS,
        "precision": args.precision, "padding": args.padding, "max_length": args.length,
        "doc_stride": _STRIDE, "n_best": _N_BEST, "max_answer_length": _ANSWER,
        "output": str(output),
    }  # fmt: skip
    subprocess.run(
        [args.peer, str(_HERE / "peer.py")], input=json.dumps(job), text=True, check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = json.loads(output.read_text())
    parts = found["seconds"].values()
    seconds = {"seconds": sum(part["wall"] for part in parts)}
    seconds |= {"processor": sum(part["processor"] for part in parts)}
    return seconds | score(args.task, splits["dev"], found["predictions"])


def row(example: Any, task: str) -> list[Any]:
    """An example as `peer.py` reads it."""
    if task == "squad":
        answer = example.target
        return [example.id, example.question, example.context, [answer.text, answer.start]]
    return [example.id, example.first, example.second, int(example.label)]


def score(task: str, gold: list[Any], predictions: dict[str, Any]) -> dict[str, float]:
    """Percent, as this project scores."""
    if task != "squad":
        right = sum(predictions[example.id] == int(example.label) for example in gold)
        return {"accuracy": 100 * right / len(gold)}
    sums = {"exact_match": 0.0, "f1": 0.0}
    for example in gold:
        texts, given = [answer.text for answer in example.answers], predictions[example.id]
        sums["exact_match"] += max(exact_match(given, text) for text in texts)
        sums["f1"] += max(token_f1(given, text) for text in texts)
    return {name: 100 * total / len(gold) for name, total in sums.items()}


def snakemake(args: argparse.Namespace, targets: list[str], *options: str) -> None:
    """Runs the workflow up to some files."""
    overlay = f"results/{args.name}/overlay.yaml"
    command = [sys.executable, "-m", "snakemake", "--cores", str(args.threads), "--quiet", "all"]
    subprocess.run(
        [*command, "--configfile", overlay, *options, "--", *targets], cwd=ROOT, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Data, weights, hyper-parameters."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=["mrpc", "rte", "squad"], required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of transformers")
    parser.add_argument("--peer", required=True, help="Python with transformers and accelerate")
    parser.add_argument("--name", help="results folder; default: trainer_<task>")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--steps", type=int, help="end after so many steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--length", type=int, default=128, help="longest sequence in tokens")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--padding", choices=["longest", "max"], default="longest")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.name = args.name or f"trainer_{args.task}"
    return args


if __name__ == "__main__":
    main()
