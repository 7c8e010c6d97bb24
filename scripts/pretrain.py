"""pretrain: one phase of pretraining, resumable at any moment.

In: the shards of the phase, held-out instances, the vocabulary, the checkpoint of the phase before
or of convert. Out: the phase's final checkpoint, metrics.jsonl and manifest. Running checkpoints
stand beside, in running/.
"""

import argparse
import shutil
import sys
from pathlib import Path

from torch import nn

from bert import log
from bert.checkpoints.checkpoint import checkpoint_digests, list_steps
from bert.checkpoints.keep import clear, warn_of_others
from bert.checkpoints.result import hand_on
from bert.config import load_section
from bert.data.index import check_companion, open_corpus
from bert.data.vocab import load_vocabulary
from bert.devices.device import choose_device, describe_device
from bert.manifest import atomic_file, code_digest, sha256_json, write_manifest
from bert.model.config import ModelConfig
from bert.ranks.failing import failing
from bert.ranks.placement import place, share_threads
from bert.ranks.ranks import Ranks, find_ranks, join, leave
from bert.ranks.status import UNFINISHED
from bert.train.around import Folders
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.opening import say_opening
from bert.train.pretrain import pretrain
from bert.train.progress import Progress
from bert.train.setup import Setup, build
from bert.train.stop import StopSignal


def main() -> None:
    """Opens the doors, trains, and lets rank 0 write the outputs."""
    args = parse_args()
    ranks = find_ranks()
    log.setup(args.log if ranks.rank == 0 else None, rank=ranks.rank)
    with failing(ranks, args.log):
        finished = train(args, ranks)
        leave(ranks)
    sys.exit(0 if finished else UNFINISHED)


def train(args: argparse.Namespace, ranks: Ranks) -> bool:
    """Trains the phase as far as this job goes; whether it is finished."""
    runtime = load_section(RuntimeConfig, args.runtime)
    stop = StopSignal(runtime.stop)
    share_threads()
    device = choose_device(runtime, ranks.local_rank)
    join(ranks, device, backend=runtime.launch.backend, timeout_s=runtime.launch.timeout_s)
    config = load_section(PhaseConfig, args.config)
    model_config = load_section(ModelConfig, args.model)
    corpus, inputs = open_corpus(args.shards)
    held_out, held_out_inputs = open_corpus([args.held_out])
    check_companion(held_out, corpus)
    inputs |= held_out_inputs
    setup = Setup(args.phase, config, model_config, runtime, corpus, held_out, ranks, device)
    previous = args.previous if config.start in ("previous", "continued", "weights") else None
    if previous:
        inputs |= {f"previous/{k}": v for k, v in checkpoint_digests(previous).items()}
    identity = [config.model_dump(), model_config.model_dump(), inputs, code_digest("pretrain")]
    ranks.check_same("what is trained", sha256_json([identity, runtime.model_dump()]), device)
    running = args.output / "running" / sha256_json(identity)[:16]
    place(runtime.launch, ranks, device)
    learner = build(setup)
    if setup.is_first:
        warn_of_others(running)
        done = max(list_steps(running), default=0)
        say_opening(setup, learner.network, load_vocabulary(args.vocab), done + 1)
    progress = pretrain(setup, learner, Folders(running, args.output, previous, args.log), stop)
    if progress is not None and setup.is_first:
        finish(args, setup, running, inputs, progress, learner.network)
    return progress is not None


def finish(
    args: argparse.Namespace, setup: Setup, running: Path, inputs: dict[str, str],
    progress: Progress, network: nn.Module,
) -> None:  # fmt: skip
    """Writes the phase's checkpoint, metrics and manifest, and deletes the running ones."""
    final = args.output / "checkpoint"
    made_of = hand_on(running, progress.step, final, setup.config.result)
    with atomic_file(args.output / "metrics.jsonl") as temporary:
        shutil.copyfile(running / "metrics.jsonl", temporary)
    write_manifest(
        args.output / "manifest.json",
        stage="pretrain",
        config={"phase": setup.config.model_dump(), "model": setup.model.model_dump()},
        inputs=inputs,
        counts=progress.totals
        | {"parameters": sum(p.numel() for p in network.parameters())}
        | {"rollbacks": progress.guard.rollbacks},
        outputs=[*final.iterdir(), args.output / "metrics.jsonl"],
        device=describe_device(setup.device, setup.runtime) | {"ranks": setup.ranks.world},
        checkpoint=checkpoint_digests(final),
        result={"weights": setup.config.result.weights, "steps": made_of},
        samples_digest=progress.samples_digest,
    )
    clear(running, setup.runtime.checkpoint)


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
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--previous", type=Path, help="checkpoint of the previous phase")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
