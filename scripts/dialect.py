"""dialect: all shards of a phase as files of another system.

In: the manifests of `shard`. Out: a folder of files and its manifest.
"""

import argparse
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.data.dialects.writing import (
    DialectConfig,
    Written,
    check_writable,
    file_name,
    write_file,
)
from bert.data.index import open_corpus
from bert.manifest import atomic_directory, write_manifest
from bert.text.ordered import ONE_BATCH_EACH, map_in_order


def main() -> None:
    """Writes the files in a pool of processes; the number of workers changes no byte."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(DialectConfig, args.config)
    corpus, inputs = open_corpus(args.shards)
    check_writable(corpus, config)
    with atomic_directory(args.output) as folder:
        length = corpus.info.max_seq_length
        jobs = [
            (args.shards, config, folder / file_name(config, args.name, n, length), n, args.phase)
            for n in range(config.files)
        ]
        written = list(
            map_in_order(
                write_one,
                jobs,
                weight=lambda _: ONE_BATCH_EACH,
                workers=min(args.workers, len(jobs)),
            )
        )
    totals = [sum(counts) for counts in zip(*written, strict=True)]
    write_manifest(
        args.output.with_suffix(".json"),
        stage="dialect",
        config=config.model_dump(),
        inputs=inputs,
        counts={"files": len(written)} | dict(zip(Written._fields, totals, strict=True)),
        outputs=sorted(path for path in args.output.rglob("*") if path.is_file()),
    )


def write_one(job: tuple[list[Path], DialectConfig, Path, int, int]) -> Written:
    """Writes one file in a worker process."""
    manifests, config, path, number, phase = job
    return write_file(open_corpus(manifests)[0], config, path, number, phase)


def parse_args() -> argparse.Namespace:
    """Paths, the name of the export and the phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section dialect.<name>")
    parser.add_argument("--name", required=True, help="name of the export")
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="manifests of shard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
