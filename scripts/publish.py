"""publish: one fine-tuned model of a task as a folder that `transformers` loads.

In: section publish, the task's section, the model section, the vocabulary, scores and weights of
all runs from pretrained weights. Out: model/ and a manifest.
"""

import argparse
from pathlib import Path

from bert import log
from bert.checkpoints.tensor_file import read_tensors
from bert.config import load_section
from bert.convert.config import PublishConfig
from bert.convert.runs import check_vocabulary, check_weights, pick, read_runs, summaries
from bert.convert.score_card import score_card
from bert.convert.task_folder import export_task
from bert.data.vocab import load_vocabulary
from bert.manifest import atomic_directory, git_commit, sha256_file, write_manifest
from bert.model.config import ModelConfig
from bert.tasks.config import TaskSection


def main() -> None:
    """Picks a run, writes its folder and the manifest."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(PublishConfig, args.config)
    section = load_section(TaskSection, args.task_config)
    model = load_section(ModelConfig, args.model)
    runs = read_runs(args.scores, args.weights, args.task)
    chosen = pick(runs, config.pick)
    inputs = {
        f"score/{run.trial}": sha256_file(f) for run, f in zip(runs, args.scores, strict=True)
    }
    inputs["weights"] = check_weights(chosen)
    inputs["vocabulary"] = load_vocabulary(args.vocab).sha256
    check_vocabulary(chosen, inputs["vocabulary"])
    inputs |= {f"finetune/{name}": digest for name, digest in chosen.receipt["inputs"].items()}
    with atomic_directory(args.output / "model") as folder:
        counts = export_task(
            folder,
            read_tensors(chosen.weights, None),
            model,
            vocabulary=args.vocab,
            name=args.task,
            section=section,
            card=score_card(runs, chosen, config.pick, inputs, git_commit()),
        )
    write_manifest(
        args.output / "manifest.json",
        stage="publish",
        config={"publish": config.model_dump(), "model": model.model_dump()}
        | section.model_dump(mode="json"),
        inputs=inputs,
        counts=counts | {"runs": len(runs)},
        outputs=(args.output / "model").iterdir(),
        task=args.task,
        picked={"trial": chosen.trial, "headline": chosen.headline, "metrics": chosen.metrics},
        scores=summaries(runs),
    )


def parse_args() -> argparse.Namespace:
    """Paths and the task's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="section publish")
    parser.add_argument("--task-config", type=Path, required=True, help="the task's section")
    parser.add_argument("--model", type=Path, required=True, help="section model")
    parser.add_argument("--task", required=True)
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="receipts of score")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="one a score")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
