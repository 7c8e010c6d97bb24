"""fetch: checks the raw files of one name, downloads those on the web, and lists them."""

import argparse
from pathlib import Path

from bert import log
from bert.fetch import fetch, load_raw_files
from bert.manifest import write_manifest


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config/fetch.<name>.json")
    parser.add_argument("--output", type=Path, required=True, help="manifest fetch/<name>.json")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    items = load_raw_files(args.config)
    fetched = fetch(items, args.output.with_suffix(""))
    write_manifest(
        args.output,
        stage="fetch",
        config=[item.model_dump() for item in items],
        inputs=fetched.inputs,
        counts=fetched.counts,
        outputs=fetched.downloads,
        files=fetched.files,
    )


if __name__ == "__main__":
    main()
