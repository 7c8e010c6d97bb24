"""finetune: one task, one seed, from pretrained or random weights, to predictions.

In: a checkpoint (or none, for the random baseline), the task's features, its dev examples, the
vocabulary. Out: a folder with predictions.json, official/ (the same for the task's official
scorer), metrics.jsonl, model.safetensors and the manifest. Running checkpoints stand beside, in
<output>.running/.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from torch import nn

from bert import log
from bert.checkpoints.keep import warn_of_others
from bert.checkpoints.tensor_file import write_tensors
from bert.config import load_section
from bert.devices.device import choose_device, describe_device
from bert.manifest import atomic_directory, sha256_file, sha256_json, write_json, write_manifest
from bert.ranks.failing import failing
from bert.ranks.placement import place, share_threads
from bert.ranks.ranks import Ranks, find_ranks, join, leave
from bert.ranks.status import UNFINISHED
from bert.train.config import RuntimeConfig
from bert.train.finetune import finetune
from bert.train.finetune_inputs import Data, Files, Given, read_data, read_given, start
from bert.train.finetune_setup import Tuning
from bert.train.finetune_state import Position
from bert.train.stop import StopSignal


def main() -> None:
    """Opens the doors, trains, predicts, and lets rank 0 write the folder."""
    args = parse_args()
    ranks = find_ranks()
    log.setup(args.log if ranks.rank == 0 else None, rank=ranks.rank)
    with failing(ranks, args.log):
        finished = train(args, ranks)
        leave(ranks)
    sys.exit(0 if finished else UNFINISHED)


def train(args: argparse.Namespace, ranks: Ranks) -> bool:
    """Trains as far as this job goes, and predicts at the end; whether the run is finished."""
    runtime = load_section(RuntimeConfig, args.runtime)
    stop = StopSignal(runtime.stop)
    share_threads()
    device = choose_device(runtime, ranks.local_rank)
    join(ranks, device, backend=runtime.launch.backend, timeout_s=runtime.launch.timeout_s)
    given = read_given(Files(**{name: getattr(args, name) for name in Files._fields}))
    identity = given.identity(args.seed)
    ranks.check_same("what is trained", sha256_json([identity, runtime.model_dump()]), device)
    if ranks.world > 1:
        place(runtime.launch, ranks, device)
    tuning = Tuning(given.config, runtime, args.seed, device, given.task.HEAD, ranks)
    running = args.output.with_name(f"{args.output.name}.running") / identity[:16]
    if ranks.rank == 0:
        warn_of_others(running)
    data, learner = read_data(given), start(given, tuning)
    name = f"finetune {args.task} seed {args.seed}"
    ended = finetune(learner, data.features, data.dev, tuning, running, stop, name)
    if ended is None:
        return False
    predictions = data.dev.predictions(learner.network, tuning)
    if ranks.rank == 0:
        with atomic_directory(args.output) as folder:
            shutil.copyfile(running / "metrics.jsonl", folder / "metrics.jsonl")
            write_predictions(folder, predictions, data, given)
            write_receipt(folder, args.task, learner.network, given, data, tuning, ended)
        shutil.rmtree(running)
        if not any(running.parent.iterdir()):
            running.parent.rmdir()
    return True


def write_predictions(folder: Path, predictions: dict[str, Any], data: Data, given: Given) -> None:
    """Writes them in the project's form, and in those of the task's official scorer."""
    write_json(folder / "predictions.json", predictions)
    (folder / "official").mkdir()
    files = given.task.official_files(data.dev.examples, predictions, given.task_config)
    for name, content in files.items():
        (folder / "official" / name).write_text(content, "utf-8")


def write_receipt(
    folder: Path, task: str, network: nn.Module, given: Given, data: Data, tuning: Tuning,
    ended: Position,
) -> None:  # fmt: skip
    """Writes the weights, and the manifest over all files."""
    kept, weights = [p for p in folder.rglob("*") if p.is_file()], folder / "model.safetensors"
    write_tensors(weights, network.state_dict())
    best = ended.standing
    score = {"step": best.step, "metric": given.task.HEADLINE, "score": best.score}
    write_manifest(
        folder / "manifest.json",
        stage="finetune",
        config=given.config.model_dump(mode="json"),
        inputs=given.inputs,
        counts=data.counts | {"steps": ended.step},
        outputs=kept,  # not the weights, which may be deleted when they are published
        weights=sha256_file(weights),
        task=task,
        start="random" if given.files.checkpoint is None else "pretrained",
        seed=tuning.seed,
        best=None if best.score is None else score,
        device=describe_device(tuning.device, tuning.runtime) | {"ranks": tuning.ranks.world},
    )


def parse_args() -> argparse.Namespace:
    """Paths, the task's name and the seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="what one run is told")
    parser.add_argument("--task-config", type=Path, required=True, help="the task's own section")
    parser.add_argument("--model", type=Path, required=True, help="section model")
    parser.add_argument("--runtime", type=Path, required=True, help="section runtime")
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--train", type=Path, required=True, help="features to train on")
    parser.add_argument("--dev", type=Path, required=True, help="features to predict")
    parser.add_argument("--gold", type=Path, required=True, help="fetch manifest of the dev data")
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--checkpoint", type=Path, help="pretrained weights; none = random")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
