"""pretrain: one phase of pretraining, resumable at any moment.

In: the shards of the phase, held-out instances, the previous phase's checkpoint. Out: the phase's
final checkpoint, metrics.jsonl and manifest. Running checkpoints stand beside, in running/.
"""

import argparse
import shutil
import sys
from pathlib import Path

from bert import log
from bert.checkpoints.checkpoint import checkpoint_digests, list_steps, step_folder
from bert.config import load_section
from bert.data.index import check_companion, open_corpus
from bert.devices.device import choose_device, describe_device, share_cores
from bert.manifest import (
    atomic_directory,
    atomic_file,
    code_digest,
    sha256_json,
    write_manifest,
)
from bert.model.config import ModelConfig
from bert.ranks.ranks import find_ranks, join, leave
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.pretrain import Setup, build, pretrain
from bert.train.stop import UNFINISHED, StopSignal


def main() -> None:
    """Opens the doors, trains, and lets rank 0 write the outputs."""
    args = parse_args()
    ranks = find_ranks()
    log.setup(args.log if ranks.rank == 0 else None, rank=ranks.rank)
    stop = StopSignal()
    runtime = load_section(RuntimeConfig, args.runtime)
    share_cores()
    device = choose_device(runtime, ranks.local_rank)
    join(ranks, device)
    config = load_section(PhaseConfig, args.config)
    model_config = load_section(ModelConfig, args.model)
    train, inputs = open_corpus(args.shards)
    held_out, held_out_inputs = open_corpus([args.held_out])
    check_companion(held_out, train)
    inputs |= held_out_inputs
    setup = Setup(args.phase, config, model_config, runtime, train, held_out, ranks, device)
    previous = args.previous if config.start == "previous" else None
    if previous:
        inputs |= {f"previous/{k}": v for k, v in checkpoint_digests(previous).items()}
    identity = [config.model_dump(), model_config.model_dump(), inputs, code_digest("pretrain")]
    running = args.output / "running" / sha256_json(identity)[:16]
    model, optimizer = build(setup)
    totals = pretrain(setup, model, optimizer, running=running, previous=previous, stop=stop)
    if totals is None:
        leave(ranks)
        sys.exit(UNFINISHED)
    if ranks.rank == 0:
        parameters = sum(p.numel() for p in model.parameters())
        finish(args, setup, running, inputs, totals | {"parameters": parameters})
    leave(ranks)


def finish(
    args: argparse.Namespace,
    setup: Setup,
    running: Path,
    inputs: dict[str, str],
    counts: dict[str, int],
) -> None:
    """Moves the last running checkpoint and the metrics to their places and writes the manifest."""
    final = args.output / "checkpoint"
    last = step_folder(running, list_steps(running)[-1])
    with atomic_directory(final) as temporary:
        shutil.copytree(last, temporary, dirs_exist_ok=True)
    with atomic_file(args.output / "metrics.jsonl") as temporary:
        shutil.copyfile(running / "metrics.jsonl", temporary)
    write_manifest(
        args.output / "manifest.json",
        stage="pretrain",
        config={"phase": setup.config.model_dump(), "model": setup.model.model_dump()},
        inputs=inputs,
        counts=counts,
        outputs=[*final.iterdir(), args.output / "metrics.jsonl"],
        device=describe_device(setup.device, setup.runtime) | {"ranks": setup.ranks.world},
        checkpoint=checkpoint_digests(final),
    )
    shutil.rmtree(running)


def parse_args() -> argparse.Namespace:
    """Paths and the phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section pretrain.<phase>")
    parser.add_argument("--model", type=Path, required=True, help="section model")
    parser.add_argument("--runtime", type=Path, required=True, help="section runtime")
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="manifests of shard")
    parser.add_argument(
        "--held-out", type=Path, required=True, help="manifest of encode, or of shard"
    )
    parser.add_argument("--previous", type=Path, help="checkpoint of the previous phase")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
