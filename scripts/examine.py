"""examine: what training will see of a phase: rules checked, statistics, samples as text.

In: shards, the vocabulary. Out: a manifest with statistics, and samples.txt; fails when a rule is
broken. By hand, on any shards that a run made or was given:

    python scripts/examine.py --config results/demo/config/examine.json \
        --phase-config results/demo/config/pretrain.phase1.json --phase 1 \
        --shards results/demo/shard/phase1/*.json --vocab results/demo/vocab \
        [--compare results/other/shard/phase1/*.json]
"""

import argparse
import sys
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.data.batches import make_stream
from bert.data.index import open_corpus
from bert.data.shards import ShardInfo
from bert.data.vocab import load_vocabulary
from bert.examine.compare import differences
from bert.examine.config import ExamineConfig
from bert.examine.findings import Findings, look, spread
from bert.examine.rules import ExamineError, broken_rules, statistics, target_shares
from bert.examine.samples import sample_texts
from bert.manifest import atomic_file, write_manifest
from bert.train.config import PhaseConfig


def main() -> None:
    """Looks at a spread of the instances, masked as in the first epoch of training."""
    args = parse_args()
    log.setup(args.log)
    corpus, inputs = open_corpus(args.shards)
    if args.compare:
        apart = differences(corpus, open_corpus(args.compare)[0])
        sys.stdout.write("\n".join(apart or ["the same instances"]) + "\n")
        sys.exit(bool(apart))
    config = load_section(ExamineConfig, args.config)
    phase = load_section(PhaseConfig, args.phase_config)
    vocabulary = load_vocabulary(args.vocab)
    batches = (
        make_stream(corpus, 0 * index, index, phase.masking, seed=phase.seed, phase=args.phase)
        for index in spread(corpus, config)
    )
    found = look(batches, corpus.info, vocabulary, phase.masking)
    problems = broken_rules(found, corpus.info, config, phase.masking)
    index = next(spread(corpus, config))[: config.samples]
    shown = make_stream(corpus, 0 * index, index, phase.masking, seed=phase.seed, phase=args.phase)
    text = "\n\n".join(sample_texts(shown, vocabulary)) + "\n"
    if args.output is None:
        shares = statistics(found, corpus.info)
        sys.stdout.write(text + "\n" + "\n".join(f"{k}: {v}" for k, v in shares.items()) + "\n")
    if problems:
        raise ExamineError(f"phase {args.phase}: " + "\n".join(problems))
    if args.output is not None:
        write(args, text, found, corpus.info, inputs)


def write(
    args: argparse.Namespace, text: str, found: Findings, info: ShardInfo, inputs: dict[str, str]
) -> None:
    """Writes samples.txt and the manifest."""
    with atomic_file(args.output / "samples.txt") as temporary:
        temporary.write_text(text, "utf-8")
    write_manifest(
        args.output / "manifest.json",
        stage="examine",
        config=load_section(ExamineConfig, args.config).model_dump(),
        inputs=inputs,
        counts={
            "instances": found.instances,
            "tokens": found.tokens,
            "targets": found.targets,
            "duplicates": found.duplicates,
        },
        outputs=[args.output / "samples.txt"],
        statistics=statistics(found, info) | {"target_share_by_place": target_shares(found)},
    )


def parse_args() -> argparse.Namespace:
    """Paths and the phase; without --output everything goes to the terminal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path)
    parser.add_argument("--phase-config", type=Path)
    parser.add_argument("--phase", type=int)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="manifests of shard")
    parser.add_argument("--compare", type=Path, nargs="+", help="manifests of other shards")
    parser.add_argument("--vocab", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
