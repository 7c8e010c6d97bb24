"""Instances to shards on one core: speed, memory and growth.

    python benchmarks/shard.py [--megabytes 400]

Makes instance files of random tokens, as `encode` leaves them, and builds all shards in one
process: plan, read, shuffle, write, fsync. Fresh processes do it in turn, --rounds times, for an
eighth of the files and for all of them, with four shards a file (12 MB each, as the full recipe
has), and for all of them with a single shard, which goes through memory in pieces; medians.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bert.data.runs import Runs
from bert.data.shard_writer import open_writer
from bert.data.shards import Instances, ShardInfo
from bert.data.shuffle import ShardConfig, plan_batches, write_shards
from bert.data.sources import list_sources

_INSTANCES_OF_A_RUN = 120_000  # some 8 MiB of text in five passes
_RUNS = 3
_INFO = ShardInfo(128, "0" * 64, 30_522, 103, (0, 100, 101, 102, 103))


def main() -> None:
    """Prints the figures."""
    args = parse_args()
    if args.measure is not None:
        print(json.dumps(measured(args.measure, args.files, args.shards)))
        return
    with TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        files = write_files(folder, int(args.megabytes * 1e6))
        few, all_ = max(1, len(files) // 8), len(files)
        cases = [(few, 4 * few), (all_, 4 * all_), (all_, 1)]
        found: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in cases}
        for _ in range(args.rounds):
            for (count, shards), results in found.items():
                command = [sys.executable, __file__, "--measure", str(folder)]
                command += ["--files", str(count), "--shards", str(shards)]
                results.append(json.loads(subprocess.check_output(command)))
    middle = {
        case: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for case, results in found.items()
    }
    print(f"medians of {args.rounds} rounds, one process")
    for (count, shards), m in middle.items():
        print(
            f"{count:3} files, {m['megabytes']:4.0f} MB, {shards:3} shards: "
            f"{m['megabytes'] / m['wall']:4.0f} MB/s, {m['megabytes'] / m['cpu']:4.0f} MB a CPU "
            f"second, peak memory {m['peak_mb']:.0f} MB"
        )
    small, large = middle[cases[0]], middle[cases[1]]
    growth = math.log(large["megabytes"] / small["megabytes"])
    exponent = math.log(large["cpu"] / small["cpu"]) / growth
    print(f"CPU time grows with the instances to the power of {exponent:.2f}")


def measured(folder: Path, count: int, shards: int) -> dict[str, float]:
    """Builds all shards of the first `count` files in this process."""
    files = sorted(folder.glob("part-*.h5"))[:count]
    config = ShardConfig(seed=1, shards=shards, jobs=1, given=None)
    with TemporaryDirectory(dir=folder) as output:
        wall, cpu = time.perf_counter(), time.process_time()
        sources, info = list_sources(files)
        for batch in plan_batches(sources, range(shards), shards):
            write_shards(sources, info, batch, config, Path(output), phase=1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return {"megabytes": megabytes, "wall": wall, "cpu": cpu, "peak_mb": peak_mb()}


def write_files(folder: Path, size: int) -> list[Path]:
    """Instance files of random tokens, together about `size` bytes; at least 8."""
    rng = np.random.default_rng(1)
    mean = 110
    count = max(1000, size // 8 // _RUNS // (2 * mean + 11))
    count = min(count, _INSTANCES_OF_A_RUN)
    files = []
    for part in range(max(8, size // (_RUNS * count * (2 * mean + 11)))):
        runs = Runs(1, 1, part, (count,) * _RUNS)
        files.append(folder / f"part-{part:05d}.h5")
        with open_writer(files[-1], _INFO, seed=1, config={}, more=runs.attributes()) as writer:
            for _ in range(_RUNS):
                lengths = rng.integers(2 * mean - 128, 129, count)
                offsets = np.concatenate([[0], np.cumsum(lengths)])
                ids = rng.integers(1000, 30_522, offsets[-1]).astype(np.uint16)
                starts = (lengths // 2).astype(np.uint16)
                labels = rng.integers(0, 2, count).astype(np.uint8)
                writer.append(Instances(ids, offsets.astype(np.uint64), starts, labels))
    return files


def peak_mb() -> float:
    """Most memory of this process so far, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def parse_args() -> argparse.Namespace:
    """Sizes; `--measure` is for the fresh processes that this script starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=400, help="of all instances")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the temporary one")
    parser.add_argument("--files", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
