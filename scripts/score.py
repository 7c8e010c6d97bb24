"""Scores the predictions of one fine-tuning: metrics.json with the task's official metrics."""

import argparse
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.fetch.fetched import fetched_files
from bert.manifest import sha256_file, write_manifest
from bert.tasks.config import TaskSection, task_module
from bert.tasks.predictions import coverage, read_predictions
from bert.tasks.trials import parse_trial


def main() -> None:
    """Reads gold and predictions, writes the manifest with the metrics."""
    args = _arguments()
    log.setup(args.log)
    section = load_section(TaskSection, args.config)
    task = task_module(section.task.format)
    files = fetched_files(args.dev)
    gold, counts = task.read_examples(files, section.task, role="dev")
    predictions = read_predictions(args.predictions, task)
    counts |= coverage(gold, predictions)
    inputs = {f"dev/{i}/{file.name}": sha256_file(file) for i, file in enumerate(files)}
    write_manifest(
        args.output,
        stage="score",
        config=section.model_dump(mode="json"),
        inputs=inputs | {"predictions": sha256_file(args.predictions)},
        counts=counts,
        outputs=[],
        task=args.task,
        start=args.start,
        trial=args.trial,
        seed=parse_trial(args.trial).seed,
        headline=task.HEADLINE,
        metrics=task.metrics(gold, predictions),
        baseline=task.baseline(gold),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the task's section, JSON")
    parser.add_argument("--dev", type=Path, required=True, help="fetch manifest of the dev files")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions.json")
    parser.add_argument("--output", type=Path, required=True, help="metrics.json to write")
    parser.add_argument("--task", required=True, help="name of the task in the configuration")
    parser.add_argument("--start", choices=["pretrained", "random"], required=True)
    parser.add_argument("--trial", required=True, help="seed-<n>, or rate-<rate>.seed-<n>")
    parser.add_argument("--log", type=Path, help="log file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
