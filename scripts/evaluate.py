"""evaluate: masked-token and next-sentence loss and accuracy of a phase's final checkpoint.

In: the checkpoint, held-out instances. Out: a manifest with the metrics.
"""

import argparse
from pathlib import Path

from bert import log
from bert.checkpoints.checkpoint import (
    check_checkpoint,
    checkpoint_digests,
    load_checkpoint,
    load_weights,
)
from bert.config import load_section
from bert.data.index import open_corpus
from bert.devices.device import choose_device
from bert.manifest import write_manifest
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.ranks.ranks import find_ranks
from bert.train.config import EvaluateConfig, RuntimeConfig
from bert.train.evaluate import evaluate


def main() -> None:
    """Loads the checkpoint and evaluates it on the held-out instances."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(EvaluateConfig, args.config)
    runtime = load_section(RuntimeConfig, args.runtime)
    device = choose_device(runtime, 0)
    corpus, inputs = open_corpus([args.held_out])
    loaded = load_checkpoint(args.checkpoint)
    check_checkpoint(
        args.checkpoint, loaded.state, {"vocabulary_sha256": corpus.info.vocabulary_sha256}
    )
    model_config = ModelConfig(**loaded.state["model"])
    model = BertForPretraining(model_config, corpus.info.vocab_size)
    load_weights(model, loaded.model, args.checkpoint)
    metrics = evaluate(
        model.to(device), corpus, config.masking, seed=config.seed, limit=config.instances,
        runtime=runtime, device=device, ranks=find_ranks({}),
    )  # fmt: skip
    write_manifest(
        args.output,
        stage="evaluate",
        config=config.model_dump(),
        inputs=inputs | checkpoint_digests(args.checkpoint),
        counts={"instances": min(corpus.num_instances, config.instances or corpus.num_instances)},
        outputs=[],
        metrics=metrics,
    )


def parse_args() -> argparse.Namespace:
    """Paths only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section evaluate")
    parser.add_argument("--runtime", type=Path, required=True, help="section runtime")
    parser.add_argument(
        "--held-out", type=Path, required=True, help="manifest of encode, or of shard"
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
