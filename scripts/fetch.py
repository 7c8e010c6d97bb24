"""fetch: checks the raw files of one name, downloads those on the web, and lists them.

Environment: BERT_CACHE, a folder of downloads shared between runs; BERT_OFFLINE=1, never use the
network; BERT_CONTACT, a mail address or web page that servers are told; http_proxy, https_proxy,
no_proxy. None of them changes a result.
"""

import argparse
import os
from pathlib import Path

from bert import log
from bert.fetch.acquire import access_from
from bert.fetch.items import fetch
from bert.fetch.rawfiles import load_raw_files
from bert.manifest import write_manifest


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="config/fetch.<name>.json")
    parser.add_argument("--output", type=Path, required=True, help="manifest fetch/<name>.json")
    parser.add_argument("--downloads", type=int, required=True, help="connections at a time")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    items = load_raw_files(args.config)
    access = access_from(os.environ, downloads=args.downloads)
    fetched = fetch(items, args.output.with_suffix(""), access)
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
