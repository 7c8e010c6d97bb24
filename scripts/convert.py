"""convert: weights that somebody else trained become a checkpoint of this project.

In: section convert, section model, the fetched files, the vocabulary. Out: checkpoint/ (without
moments), model.json (the section that fits) and a manifest that names every tensor of the files.
"""

import argparse
import logging
from collections import Counter
from pathlib import Path

from bert import log
from bert.checkpoints.checkpoint import checkpoint_digests, write_checkpoint
from bert.config import load_section
from bert.convert.config import ConvertConfig
from bert.convert.fitting import fit
from bert.convert.reading import read_weights
from bert.convert.same_vocabulary import check_vocabulary
from bert.convert.shape import differences
from bert.data.vocab import load_vocabulary
from bert.fetch.fetched import fetched_files
from bert.manifest import write_json, write_manifest
from bert.model.config import ModelConfig
from bert.text.archive_item import Item, open_item

logger = logging.getLogger("convert")


def main() -> None:
    """Reads the weights, fits them to the run, and writes them."""
    args = parse_args()
    log.setup(args.log)
    with open_item(fetched_files(args.raw), args.output) as item:
        convert(args, item)


def convert(args: argparse.Namespace, item: Item) -> None:
    """Converts the files of the raw item."""
    config = load_section(ConvertConfig, args.config)
    given = load_section(ModelConfig, args.model)
    vocabulary = load_vocabulary(args.vocab)
    found = read_weights(item.files, str(item.archive or "convert.raw"))
    check_vocabulary(item.files, found, vocabulary)
    fitted = fit(found, given, vocabulary.size, config.before)
    differing = differences(found, given, fitted.config)
    for key, values in differing.items():
        logger.warning("model.%s: %s", key, ", ".join(f"{k} {v}" for k, v in values.items()))
    if "num_attention_heads" not in found.said:
        logger.warning("no file says the number of attention heads, which no shape shows; taken "
                       "from the `model` section: %d", given.num_attention_heads)  # fmt: skip
    step = found.facts.get("imported_step")
    state = {
        "phase": 0,
        "step": 0,
        "optimizer_step": 0,
        "model": fitted.config.model_dump(),
        "vocab_size": vocabulary.size,
        "vocabulary_sha256": vocabulary.sha256,
        "imported": {"layout": found.layout, "step": step},
    }
    checkpoint = args.output / "checkpoint"
    write_checkpoint(checkpoint, {"model": fitted.state, "optimizer": {}}, state)
    write_json(args.output / "model.json", fitted.config.model_dump())
    reasons = Counter(fitted.skipped.values())
    logger.info("%s: %d tensors used, %d skipped", found.layout, len(fitted.used), reasons.total())
    write_manifest(
        args.output / "manifest.json",
        stage="convert",
        config=config.model_dump() | {"model": given.model_dump()},
        inputs={f"raw/{name}": digest for name, digest in item.digests(found.files).items()}
        | {"vocabulary": vocabulary.sha256},
        counts={
            "tensors": len(fitted.used) + reasons.total(),
            "used": len(fitted.used),
            "skipped": reasons.total(),
            "parameters": sum(tensor.numel() for tensor in fitted.state.values()),
        },
        outputs=[*checkpoint.iterdir(), args.output / "model.json"],
        layout=found.layout,
        imported_step=step,
        checkpoint=checkpoint_digests(checkpoint),
        differences=differing,
        skipped_by_reason=dict(sorted(reasons.items())),
        used=dict(sorted(fitted.used.items())),
        skipped=dict(sorted(fitted.skipped.items())),
        made=fitted.made,
        other_files=sorted([*item.left, *(f.name for f in set(item.files) - set(found.files))]),
    )


def parse_args() -> argparse.Namespace:
    """Paths only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section convert")
    parser.add_argument("--model", type=Path, required=True, help="section model")
    parser.add_argument("--raw", type=Path, required=True, help="manifest of fetch")
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
