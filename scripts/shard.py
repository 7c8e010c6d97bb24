"""shard: all instances of a phase, globally shuffled; this job writes its range of the shards.

In: the instance files of `encode`. Out: a folder of shard files and its manifest.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.data.shards import write_instances
from bert.data.shuffle import ShardConfig, build_shard, job_shards, list_sources, shard_name
from bert.manifest import atomic_directory, listed_files, read_manifest, write_manifest


def main() -> None:
    """Builds the shards in a pool of processes; jobs and workers change no byte."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(ShardConfig, args.config)
    receipts = [read_manifest(path, stage="encode") for path in args.encode]
    listed = [pair for path in args.encode for pair in listed_files(path, stage="encode")]
    files = sorted((file for file, _ in listed), key=lambda file: file.name)
    numbers = job_shards(args.job, config)
    with atomic_directory(args.output) as folder:
        jobs = [(files, folder, number, config, args.phase) for number in numbers]
        context = get_context("spawn")
        with ProcessPoolExecutor(min(args.workers, len(jobs)), mp_context=context) as pool:
            counts = list(pool.map(shard_one, jobs))
    write_manifest(
        args.output.with_suffix(".json"),
        stage="shard",
        config=config.model_dump(),
        inputs={file.name: digest for file, digest in sorted(listed, key=lambda x: x[0].name)},
        counts={
            "shards": len(counts),
            "instances": sum(instances for instances, _ in counts),
            "tokens": sum(tokens for _, tokens in counts),
            "phase_instances": sum(receipt["counts"]["instances"] for receipt in receipts),
        },
        outputs=sorted(args.output.iterdir()),
    )


def shard_one(job: tuple[list[Path], Path, int, ShardConfig, int]) -> tuple[int, int]:
    """Builds and writes one shard in a worker process; returns its instances and tokens."""
    files, folder, number, config, phase = job
    sources, info = list_sources(files)
    instances = build_shard(sources, info, number, config, phase)
    path = folder / shard_name(number, config.shards)
    write_instances(
        path, instances, info, seed=config.seed, config=config.model_dump(exclude={"jobs"})
    )
    return len(instances.segment_b_start), len(instances.input_ids)


def parse_args() -> argparse.Namespace:
    """Paths, the phase and the number of this job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--job", type=int, required=True)
    parser.add_argument("--encode", type=Path, nargs="+", required=True, help="manifests")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
