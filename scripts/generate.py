"""Rule `generate`: writes the demo's small closed world in the real raw formats."""

import argparse
import logging
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.manifest import atomic_directory, write_manifest
from bert.world.facts import GenerateConfig
from bert.world.generate import generate

logger = logging.getLogger(__name__)


def main() -> None:
    """Builds the world and writes its folder whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="resolved section (JSON)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--log", type=Path, help="log file")
    args = parser.parse_args()
    log.setup(args.log)
    config = load_section(GenerateConfig, args.config)
    with atomic_directory(args.output) as folder:
        counts = generate(config, folder)
        write_manifest(
            folder / "manifest.json",
            stage="generate",
            config=config.model_dump(mode="json"),
            inputs={},
            counts=counts,
            outputs=[path for path in folder.rglob("*") if path.is_file()],
        )
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    main()
