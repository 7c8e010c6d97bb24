"""The loader on one core: tokens/s of each masking unit, first batch after a resume, memory.

    python benchmarks/load.py                       2048 shards of its own making, 1.05 M instances
    python benchmarks/load.py --manifests results/<run>/shard/phase1/*.json

The synthetic instances are as long as phase 1 wants them: 90 % have 128 tokens. Measured with a
warm page cache; medians of interleaved runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bert.data.batches import Reading, read_steps
from bert.data.corpus import Corpus
from bert.data.index import open_corpus
from bert.data.masking import MaskingConfig, SpanConfig
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo
from bert.data.shuffle import shard_name
from bert.manifest import write_manifest

VOCAB, LENGTH = 30_522, 128


def main() -> None:
    """Measures, and prints one JSON object."""
    args = parse_args()
    if args.measure_first is not None:
        print(json.dumps(first_batch(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not args.manifests:
            args.manifests = [make_shards(Path(folder), args.shards, args.instances)]
        corpus, _ = open_corpus(args.manifests)
        found = {"instances": corpus.num_instances, "tokens": corpus.num_tokens}
        found |= {"shards": len(corpus.files), "tokens_per_second": rates(corpus, args)}
        last = 20 * corpus.num_instances // args.batch  # late in the twentieth epoch
        found["first_batch"] = [resumed(args, step) for step in (1, last - last // 40)]
        print(json.dumps(found, indent=2))


def rates(corpus: Corpus, args: argparse.Namespace) -> dict[str, float]:
    """Median tokens/s of each unit over interleaved runs."""
    times: dict[str, list[float]] = {unit: [] for unit in ("token", "whole_word", "span")}
    for _ in range(args.repeats):
        for unit, found in times.items():
            start = time.process_time()
            tokens = sum(
                len(micro.input_ids)
                for batch in read_steps(corpus, range(1, 1 + args.steps), reading(args, unit))
                for micro in batch.micro_batches
            )
            found.append(tokens / (time.process_time() - start))
    return {unit: round(statistics.median(found)) for unit, found in times.items()}


def resumed(args: argparse.Namespace, step: int) -> dict[str, float]:
    """What a fresh process needs for the batch of `step`."""
    command = [sys.executable, __file__, "--measure-first", str(step), "--manifests"]
    command += [str(path) for path in args.manifests]
    command += ["--batch", str(args.batch), "--world", str(args.world)]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(args.repeats)]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def first_batch(args: argparse.Namespace) -> dict[str, float]:
    """Seconds to open the corpus and to make one step's share, and the memory that took."""
    before = peak_mb()
    start = time.perf_counter()
    corpus, _ = open_corpus(args.manifests)
    opened = time.perf_counter() - start
    step = args.measure_first
    batch = next(read_steps(corpus, range(step, step + 1), reading(args, "token")))
    seconds = time.perf_counter() - start
    tokens = sum(len(micro.input_ids) for micro in batch.micro_batches)
    return {
        "step": step, "tokens": tokens, "open_seconds": opened, "seconds": seconds,
        "peak_mb": peak_mb(), "before_mb": before,
    }  # fmt: skip


def peak_mb() -> float:
    """Most memory of this process so far, in MB (Linux); mapped shard pages count, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def reading(args: argparse.Namespace, unit: str) -> Reading:
    """The published settings of phase 1, with another masking unit."""
    span = SpanConfig(geometric_p=0.2, max_words=10) if unit == "span" else None
    masking = MaskingConfig.model_validate(
        {"unit": unit, "span": span, "mask_prob": 0.15, "max_predictions": 20,
         "mask_token_share": 0.8, "random_token_share": 0.1}
    )  # fmt: skip
    return Reading(42, 1, args.batch, masking, 16_384, 0, args.world)


def make_shards(folder: Path, shards: int, instances: int) -> Path:
    """Random shards with a manifest; returns the manifest."""
    rng = np.random.default_rng(1)
    words = np.packbits(np.arange(VOCAB) % 5 == 0).tobytes()
    info = ShardInfo(LENGTH, "0" * 64, VOCAB, 103, (0, 100, 101, 102, 103), words)
    names, tokens = {}, 0
    target = folder / "shard" / "phase1" / "000"
    target.mkdir(parents=True)
    for number in range(shards):
        count = (number + 1) * instances // shards - number * instances // shards
        lengths = np.where(rng.random(count) < 0.9, LENGTH, rng.integers(10, LENGTH, count))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = rng.integers(1000, VOCAB, offsets[-1]).astype(np.uint16)
        ids[offsets[:-1]], ids[offsets[1:] - 1] = 101, 102
        made = Instances(
            ids, offsets.astype(np.uint64), (lengths // 2).astype(np.uint16),
            np.zeros(count, np.uint8),
        )  # fmt: skip
        write_instances(target / shard_name(number, shards), made, info, seed=1, config={})
        names[shard_name(number, shards)] = count
        tokens += len(ids)
    manifest = target.with_suffix(".json")
    write_manifest(
        manifest, stage="shard", config={}, inputs={}, outputs=target.iterdir(), instances=names,
        counts={"shards": shards, "instances": instances, "tokens": tokens},
    )  # fmt: skip
    return manifest


def parse_args() -> argparse.Namespace:
    """Sizes; `--measure-first` is for the fresh process that this script starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifests", type=Path, nargs="+", help="of shards that exist")
    parser.add_argument("--shards", type=int, default=2048)
    parser.add_argument("--instances", type=int, default=1 << 20)
    parser.add_argument("--batch", type=int, default=65_536, help="instances of a step, all ranks")
    parser.add_argument("--world", type=int, default=16, help="ranks; this is one of them")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure-first", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
