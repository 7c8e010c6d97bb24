"""Raw files of one source to documents in the text format."""

import argparse
from pathlib import Path

from bert import log
from bert.manifest import atomic_directory, read_manifest, write_manifest
from bert.text.extract import DOCUMENTS, NAMES, extract, load_extract_section, select_files


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="resolved section, JSON")
    parser.add_argument("--raw", type=Path, required=True, help="manifest of the fetched item")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--workers", type=int, default=1, help="processes; never changes the text")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


def main() -> None:
    """Runs the stage."""
    args = _arguments()
    log.setup(args.log)
    config = load_extract_section(args.config)
    files = select_files(read_manifest(args.raw, stage="fetch"), config.pattern)
    with atomic_directory(args.output) as folder:
        paths = [path for path, _ in files.values()]
        counts = extract(config, paths, folder, workers=args.workers)
        write_manifest(
            folder / "manifest.json",
            stage="extract",
            config=config.model_dump(mode="json"),
            inputs={f"{config.raw}/{name}": digest for name, (_, digest) in files.items()},
            counts=counts,
            outputs=[folder / DOCUMENTS, folder / NAMES],
            statistics={"licence": config.licence},
        )


if __name__ == "__main__":
    main()
