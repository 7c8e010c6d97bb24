"""split: the documents of all sources to text parts and held-out text."""

import argparse
import tempfile
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.manifest import atomic_directory, listed_files, read_manifest, write_manifest
from bert.text.extract import select_files
from bert.text.extracted import load_sources
from bert.text.name_lists import NameList
from bert.text.split import Lists, SplitConfig, split

Digests = dict[str, str]


def _read_list(manifest: Path | None) -> tuple[NameList | None, Digests]:
    """The names of a fetched list, and the digests of its files."""
    if manifest is None:
        return None, {}
    files = select_files(read_manifest(manifest, stage="fetch"), "*")
    digests = {f"{manifest.stem}/{name}": digest for name, (_, digest) in files.items()}
    return NameList([path for path, _ in files.values()]), digests


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/split.json")
    parser.add_argument(
        "--extract", type=Path, required=True, nargs="+", help="extract/<source>/manifest.json"
    )
    parser.add_argument("--filter", type=Path, help="filter/manifest.json")
    parser.add_argument("--held-out-list", type=Path, help="manifest of the fetched list")
    parser.add_argument("--train-list", type=Path, help="manifest of the fetched list")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--workers", type=int, default=1, help="processes; they change no byte")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    config = load_section(SplitConfig, args.config)
    sources = load_sources(args.extract)
    inputs = {name: digest for source in sources for name, digest in source.digests.items()}
    if args.filter is not None:
        files = listed_files(args.filter, stage="filter")
        inputs |= {f"filter/{path.name}": digest for path, digest in files}
    held_out, held_out_digests = _read_list(args.held_out_list)
    train, train_digests = _read_list(args.train_list)
    with atomic_directory(args.output) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as work:
            division = split(
                sources,
                config,
                folder,
                Path(work),
                workers=args.workers,
                filtered=args.filter.parent if args.filter else None,
                lists=Lists(held_out, train),
            )
        write_manifest(
            folder / "manifest.json",
            stage="split",
            config=config.model_dump(),
            inputs=inputs | held_out_digests | train_digests,
            counts=division.counts,
            outputs=[path for path in folder.rglob("*") if path.is_file()],
            sources=division.sources,
        )


if __name__ == "__main__":
    main()
