"""features: the files of a task to token sequences, once for all its runs.

In: task data, the vocabulary. Out: a folder with train.h5, dev.h5 and the manifest.
"""

import argparse
import os
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.data.vocab import load_vocabulary
from bert.fetch.fetched import fetched_files
from bert.manifest import atomic_directory, sha256_file, write_manifest
from bert.tasks.config import TaskSection, task_module
from bert.tasks.feature_stage import pack_examples
from bert.tasks.features import Role
from bert.tasks.features_file import write_features


def main() -> None:
    """Reads and checks the examples of both splits, and writes their features."""
    args = _arguments()
    log.setup(args.log)
    # The library's own threads would multiply with the processes of the pool.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    section = load_section(TaskSection, args.config)
    task = task_module(section.task.format)
    vocabulary = load_vocabulary(args.vocab).sha256
    manifests: dict[Role, Path] = {"train": args.train, "dev": args.dev}
    inputs = {"vocabulary": vocabulary}
    counts: dict[str, int] = {}
    with atomic_directory(args.output) as folder:
        for role, manifest in manifests.items():
            files = fetched_files(manifest)
            inputs |= {f"{role}/{i}/{file.name}": sha256_file(file) for i, file in enumerate(files)}
            examples, found = task.read_examples(files, section.task, role=role)
            packed = pack_examples(
                examples, args.vocab, section.task,
                training=role == "train", workers=args.workers,
            )  # fmt: skip
            write_features(folder / f"{role}.h5", packed, section.task, vocabulary)
            found = {"examples": len(examples)} | found | packed.counts
            counts |= {f"{role}_{name}": count for name, count in found.items()}
        write_manifest(
            folder / "manifest.json",
            stage="features",
            config=section.model_dump(mode="json"),
            inputs=inputs,
            counts=counts,
            outputs=[folder / "train.h5", folder / "dev.h5"],
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the task's section, JSON")
    parser.add_argument("--train", type=Path, required=True, help="fetch manifest of the files")
    parser.add_argument("--dev", type=Path, required=True, help="fetch manifest of the files")
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--workers", type=int, default=1, help="processes; they change no byte")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
