"""export: the final checkpoint and its vocabulary as a folder that `transformers` loads.

In: section model, a phase's final checkpoint, the vocabulary. Out: model/ and a manifest. By hand,
for NVIDIA's code, a .pt file in place of it:

    python scripts/export.py --layout nvidia --config results/demo/config/model.json \
        --checkpoint results/demo/pretrain/phase2/checkpoint --vocab results/demo/vocab \
        --output nvidia
"""

import argparse
from pathlib import Path

from bert import log
from bert.checkpoints.checkpoint import check_checkpoint, checkpoint_digests, load_checkpoint
from bert.config import load_section
from bert.convert.cards import provenance
from bert.convert.huggingface import export_folder
from bert.convert.nvidia import export_nvidia
from bert.data.vocab import load_vocabulary
from bert.manifest import atomic_directory, git_commit, write_manifest
from bert.model.config import ModelConfig


def main() -> None:
    """Checks that the three inputs belong together, writes the folder and its manifest."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(ModelConfig, args.config)
    vocabulary = load_vocabulary(args.vocab)
    loaded = load_checkpoint(args.checkpoint)
    expected = {"model": config.model_dump(), "vocabulary_sha256": vocabulary.sha256}
    check_checkpoint(args.checkpoint, loaded.state, expected)
    inputs = checkpoint_digests(args.checkpoint) | {"vocabulary": vocabulary.sha256}
    with atomic_directory(args.output / "model") as folder:
        if args.layout == "nvidia":
            counts = export_nvidia(folder, loaded.model, config, vocabulary=args.vocab)
        else:
            text = f"Exported unchanged from a checkpoint. {provenance(inputs, git_commit())}"
            counts = export_folder(
                folder, loaded.model, config, vocabulary=args.vocab, provenance=text
            )
    write_manifest(
        args.output / "manifest.json",
        stage="export",
        config=config.model_dump(),
        inputs=inputs,
        counts=counts,
        outputs=(args.output / "model").iterdir(),
    )


def parse_args() -> argparse.Namespace:
    """Paths, and for whom."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--layout", choices=["transformers", "nvidia"], default="transformers")
    parser.add_argument("--config", type=Path, required=True, help="section model")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of a checkpoint")
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
