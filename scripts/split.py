"""split: the documents of all sources to text parts and a held-out file."""

import argparse
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.manifest import atomic_directory, write_manifest
from bert.text.split import SplitConfig, load_sources, split


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/split.json")
    parser.add_argument(
        "--extract", type=Path, required=True, nargs="+", help="extract/<source>/manifest.json"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    config = load_section(SplitConfig, args.config)
    sources = load_sources(args.extract)
    with atomic_directory(args.output) as folder:
        counts = split(sources, config, folder)
        write_manifest(
            folder / "manifest.json",
            stage="split",
            config=config.model_dump(),
            inputs={source.name: source.sha256 for source in sources},
            counts=counts,
            outputs=[path for path in folder.rglob("*") if path.is_file()],
            sources=[source.name for source in sources],
        )


if __name__ == "__main__":
    main()
