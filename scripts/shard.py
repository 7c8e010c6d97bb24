"""shard: all instances of a phase, globally shuffled; this job writes its range of the shards.

In: the instance files of `encode`. Out: a folder of shard files and its manifest. With shards that
exist already (`shard.given`) it only checks them, and the manifest lists them where they lie.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bert import log
from bert.config import load_section
from bert.data.encode import shard_info
from bert.data.given import check_given, given_phase
from bert.data.index import describe_given
from bert.data.shards import ShardInfo
from bert.data.shuffle import (
    Batch,
    ShardConfig,
    job_shards,
    plan_batches,
    shard_name,
    shard_range,
    write_shards,
)
from bert.data.sources import Source, list_sources
from bert.data.vocab import load_vocabulary
from bert.data.work_folder import finish_units, work_folder
from bert.fetch.fetched import fetched_files
from bert.manifest import code_digest, listed_files, read_manifest, write_manifest


class Unit(NamedTuple):
    """What a worker builds at once."""

    sources: list[Source]
    info: ShardInfo
    batch: Batch
    config: ShardConfig
    phase: int


def main() -> None:
    """Makes shards, or checks those that are given."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(ShardConfig, args.config)
    if args.given is None:
        make_shards(args, config)
    else:
        check_shards(args, config)


def make_shards(args: argparse.Namespace, config: ShardConfig) -> None:
    """Builds the shards in a pool of processes; jobs and workers change no byte."""
    receipts = [read_manifest(path, stage="encode") for path in args.encode]
    listed = [pair for path in args.encode for pair in listed_files(path, stage="encode")]
    inputs = {file.name: digest for file, digest in sorted(listed, key=lambda x: x[0].name)}
    sources, info = list_sources(sorted((file for file, _ in listed), key=lambda x: x.name))
    shards = job_shards(int(args.job), config)
    total = sum(receipt["counts"]["instances"] for receipt in receipts)
    batches = plan_batches(sources, shards, config.shards)
    units = {
        f"{batch.shards.start:05d}": Unit(sources, info, batch, config, args.phase)
        for batch in batches
    }
    identity = [config.model_dump(), args.phase, args.job, inputs, code_digest("shard")]
    with work_folder(args.output, identity) as folder:
        results = finish_units(folder, units, shard_one, workers=args.workers)
    write_manifest(
        args.output.with_suffix(".json"),
        stage="shard",
        config=config.model_dump(),
        inputs=inputs,
        counts={
            "shards": len(shards),
            "instances": sum(result["instances"] for result in results),
            "tokens": sum(result["tokens"] for result in results),
            "phase_instances": total,
        },
        outputs=sorted(args.output.iterdir()),
        instances=dict(stated_sizes(shards, config.shards, total)),
    )


def stated_sizes(shards: range, of: int, total: int) -> Iterator[tuple[str, int]]:
    """File name and number of instances of each shard: a reader then need not open them all."""
    for number in shards:
        low, high = shard_range(number, of, total)
        yield shard_name(number, of), high - low


def check_shards(args: argparse.Namespace, config: ShardConfig) -> None:
    """Checks shards that exist already and lists them with their counts in the manifest."""
    expected = given_phase(config.given, args.phase)
    info = shard_info(load_vocabulary(args.vocab), expected.max_seq_length)
    checked = check_given(fetched_files(args.given), expected, info)
    receipt = read_manifest(args.given, stage="fetch")
    fetched = {entry["path"]: (entry["sha256"], entry["bytes"]) for entry in receipt["files"]}
    write_manifest(
        args.output.with_suffix(".json"),
        stage="shard",
        config=expected.model_dump(),
        inputs={path: digest for path, (digest, _) in fetched.items()},
        counts=checked.counts(),
        outputs=[],
        given=describe_given(checked, info, fetched),
    )


def shard_one(unit: Unit, folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """Builds and writes a batch of shards in a worker process; returns files and counts."""
    files, instances, tokens = write_shards(
        unit.sources, unit.info, unit.batch, unit.config, folder, phase=unit.phase
    )
    return files, {"instances": instances, "tokens": tokens}


def parse_args() -> argparse.Namespace:
    """Paths, the phase and the number of this job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--job", required=True, help="a number, or held_out of given shards")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--encode", type=Path, nargs="+", help="manifests of encode")
    source.add_argument("--given", type=Path, help="manifest of the fetched shards to check")
    parser.add_argument("--vocab", type=Path, help="folder of the vocabulary, with --given")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
