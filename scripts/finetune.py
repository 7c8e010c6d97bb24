"""finetune: one task, one seed, from pretrained or random weights, to predictions.

In: a checkpoint (or none, for the random baseline), task data, the vocabulary. Out: a folder with
predictions.json, metrics.jsonl and the manifest.
"""

import argparse
import json
from pathlib import Path

from bert import log
from bert.checkpoints.checkpoint import check_checkpoint, checkpoint_digests, load_checkpoint
from bert.config import load_section
from bert.data.vocab import load_tokenizer, load_vocabulary
from bert.devices.device import choose_device
from bert.fetch.fetched import fetched_files
from bert.manifest import atomic_directory, sha256_file, write_json, write_manifest
from bert.model.config import ModelConfig
from bert.tasks.config import task_module
from bert.train.config import FinetuneConfig, RuntimeConfig
from bert.train.finetune import Tuning, build_model, finetune, predict, total_steps


def main() -> None:
    """Reads the examples, trains, predicts, and writes the folder."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(FinetuneConfig, args.config)
    runtime = load_section(RuntimeConfig, args.runtime)
    device = choose_device(runtime, 0)
    model_config = load_section(ModelConfig, args.model)
    vocabulary = load_vocabulary(args.vocab)
    tokenizer = load_tokenizer(args.vocab)
    task = task_module(config.task.format)
    files = {"train": fetched_files(args.train), "dev": fetched_files(args.dev)}
    train, train_counts = task.read_examples(files["train"], config.task, role="train")
    dev, dev_counts = task.read_examples(files["dev"], config.task, role="dev")
    features = task.make_features(train, tokenizer, config.task, training=True)
    dev_features = task.make_features(dev, tokenizer, config.task, training=False)

    inputs = {f"{role}/{f.name}": sha256_file(f) for role, some in files.items() for f in some}
    inputs["vocabulary"] = vocabulary.sha256
    pretrained = None
    if args.checkpoint:
        loaded = load_checkpoint(args.checkpoint)
        expected = {"vocabulary_sha256": vocabulary.sha256, "model": model_config.model_dump()}
        check_checkpoint(args.checkpoint, loaded.state, expected)
        pretrained = loaded.model
        inputs |= checkpoint_digests(args.checkpoint)

    tuning = Tuning(config, runtime, args.seed, device)
    model = build_model(
        task.HEAD, task.NUM_LABELS, model_config, vocabulary.size, tuning, pretrained
    )
    lines = finetune(model, features.features, tuning, f"finetune {args.task} seed {args.seed}")
    outputs = predict(model, dev_features.features, tuning)
    predictions = task.decode(dev, dev_features, outputs, config.task)

    with atomic_directory(args.output) as folder:
        write_json(folder / "predictions.json", predictions)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text, "utf-8")
        write_manifest(
            folder / "manifest.json",
            stage="finetune",
            config=config.model_dump(mode="json"),
            inputs=inputs,
            counts=_counts("train", train_counts | features.counts)
            | _counts("dev", dev_counts | dev_features.counts)
            | {"examples": len(train), "features": len(features.features)}
            | {"steps": total_steps(len(features.features), config)},
            outputs=[folder / "predictions.json", folder / "metrics.jsonl"],
            task=args.task,
            start="pretrained" if pretrained else "random",
            seed=args.seed,
        )


def _counts(role: str, counts: dict[str, int]) -> dict[str, int]:
    return {f"{role}_{name}": count for name, count in counts.items()}


def parse_args() -> argparse.Namespace:
    """Paths, the task's name and the seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section finetune.<task>")
    parser.add_argument("--model", type=Path, required=True, help="section model")
    parser.add_argument("--runtime", type=Path, required=True, help="section runtime")
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--train", type=Path, required=True, help="manifest of fetch")
    parser.add_argument("--dev", type=Path, required=True, help="manifest of fetch")
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, help="pretrained weights; none = random")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
