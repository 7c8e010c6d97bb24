"""evaluate: masked-token and next-sentence loss and accuracy of checkpoints on held-out instances.

In: a checkpoint, held-out instances. Out: a manifest with the metrics. By hand, the newest, all, or
one of the checkpoints of a phase that has ended or still runs, on any held-out instances of the
same vocabulary; the metrics are printed, too:

    python scripts/evaluate.py --config results/demo/config/evaluate.json \
        --runtime results/demo/config/runtime.json --running results/demo/pretrain/phase1 \
        --which newest --held-out results/demo/encode/phase1/held_out.json --output out.json
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from bert import log
from bert.checkpoints.checkpoint import checkpoint_digests
from bert.config import load_section
from bert.data.index import open_corpus
from bert.devices.device import choose_device
from bert.manifest import write_manifest
from bert.train.config import EvaluateConfig, RuntimeConfig
from bert.train.evaluate_checkpoints import (
    choose_checkpoints,
    evaluate_checkpoint,
    evaluate_chosen,
    table,
)


def main() -> None:
    """Evaluates the checkpoint of the rule, or those that a person asked for."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(EvaluateConfig, args.config)
    runtime = load_section(RuntimeConfig, args.runtime)
    device = choose_device(runtime, 0)
    corpus, inputs = open_corpus([args.held_out])
    if args.checkpoint:
        inputs |= checkpoint_digests(args.checkpoint)
        found = evaluate_checkpoint(args.checkpoint, corpus, config, runtime, device)
        result: dict[str, Any] = {"metrics": found}
    else:
        chosen = choose_checkpoints(args.running, args.which)
        rows = evaluate_chosen(chosen, corpus, config, runtime, device)
        sys.stdout.write(table(rows))
        result = {"checkpoints": rows}
    write_manifest(
        args.output,
        stage="evaluate",
        config=config.model_dump(),
        inputs=inputs,
        counts={"instances": min(corpus.num_instances, config.instances or corpus.num_instances)},
        outputs=[],
        **result,
    )


def parse_args() -> argparse.Namespace:
    """Paths, and which checkpoints."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--config", type=Path, required=True, help="section evaluate")
    parser.add_argument("--runtime", type=Path, required=True, help="section runtime")
    parser.add_argument(
        "--held-out", type=Path, required=True, help="manifest of encode, or of shard"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint", type=Path, help="folder of one checkpoint")
    what.add_argument(
        "--running", type=Path, help="folder of a phase, or of its running checkpoints"
    )
    parser.add_argument("--which", default="newest", help="newest, all, or a step; with --running")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
