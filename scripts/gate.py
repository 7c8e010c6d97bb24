"""Judges a task by its scores: no better than no learning or random weights fails the run."""

import argparse
import dataclasses
import logging
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.manifest import read_manifest, sha256_file, write_manifest
from bert.tasks.gate import GateConfig, GateError, judge

logger = logging.getLogger(__name__)


def main() -> None:
    """Reads the scores of a task, writes the verdict, or fails without one."""
    args = _arguments()
    log.setup(args.log)
    config = load_section(GateConfig, args.config)
    # Of an earlier judgement: a failed task must be judged again at the next start.
    args.output.unlink(missing_ok=True)
    receipts = [read_manifest(file, stage="score") for file in args.scores]
    verdict = judge(args.task, receipts, config)
    if not verdict.passed and config.action == "fail":
        raise GateError(
            f"{args.task} does not pass the gate: {verdict.words} The report shows all scores; "
            "`gate.action: warn` goes on in spite of this."
        )
    if verdict.passed:
        logger.info("%s passes: %s", args.task, verdict.words)
    else:
        logger.warning("%s does not pass the gate: %s", args.task, verdict.words)
    write_manifest(
        args.output,
        stage="gate",
        config=config.model_dump(mode="json"),
        inputs={
            f"score/{r['start']}/{r['trial']}": sha256_file(file)
            for r, file in zip(receipts, args.scores, strict=True)
        },
        counts={"scores": len(receipts)},
        outputs=[],
        **dataclasses.asdict(verdict),
        passed=verdict.passed,
        words=verdict.words,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section gate, JSON")
    parser.add_argument("--task", required=True, help="name of the task in the configuration")
    parser.add_argument(
        "--scores", type=Path, nargs="+", required=True, help="metrics.json of all its trials"
    )
    parser.add_argument("--output", type=Path, required=True, help="verdict to write, JSON")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
