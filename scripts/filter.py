"""filter: which documents of the sources are duplicates, or text of the tasks."""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.manifest import atomic_directory, read_manifest, write_manifest
from bert.tasks.texts import task_texts
from bert.text.contamination import ContaminationConfig
from bert.text.extract import select_files
from bert.text.extracted import load_sources
from bert.text.filter import FilterConfig, filter_sources

Texts = dict[str, list[str]]
Digests = dict[str, str]


def _task_texts(
    config: ContaminationConfig | None, manifests: Iterable[Path]
) -> tuple[Texts, Digests]:
    """Reference to its texts, and the digests of the files they come from."""
    texts: Texts = {}
    digests: Digests = {}
    fetched = {manifest.stem: manifest for manifest in manifests}
    for name, reference in {} if config is None else config.named().items():
        receipt = read_manifest(fetched[reference.raw], stage="fetch")
        files = select_files(receipt, reference.pattern)
        texts[name] = task_texts(reference.format, [path for path, _ in files.values()])
        digests |= {f"{reference.raw}/{file}": digest for file, (_, digest) in files.items()}
    return texts, digests


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/filter.json")
    parser.add_argument(
        "--extract", type=Path, required=True, nargs="+", help="extract/<source>/manifest.json"
    )
    parser.add_argument(
        "--tasks", type=Path, default=[], nargs="*", help="manifests of the fetched task files"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--workers", type=int, default=1, help="processes; they change no byte")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    config = load_section(FilterConfig, args.config)
    sources = load_sources(args.extract)
    texts, digests = _task_texts(config.contamination, args.tasks)
    with atomic_directory(args.output) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as work:
            found = filter_sources(sources, config, texts, folder, Path(work), workers=args.workers)
        write_manifest(
            folder / "manifest.json",
            stage="filter",
            config=config.model_dump(mode="json"),
            inputs=digests | {k: v for source in sources for k, v in source.digests.items()},
            counts=found.counts,
            outputs=[path for path in folder.iterdir() if path.is_file()],
            sources=found.sources,
            contamination=found.contamination,
        )


if __name__ == "__main__":
    main()
