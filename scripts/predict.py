"""predict: what a published model answers, for a file of requests or for one on the command line.

    python scripts/predict.py --model <folder> --input questions.jsonl --output answers.jsonl
    python scripts/predict.py --model <folder> --question "Who built it?" --context "Ada built it."
    python scripts/predict.py --model <folder> --first "It rains." --second "It is raining."

docs/predict.md says what a request and an answer look like. "-" is standard input or output.
"""

import argparse
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any

import torch

from bert import log
from bert.manifest import atomic_file
from bert.predict.arguments import add_model_arguments
from bert.predict.heads import request_type
from bert.predict.model import LOST, Model, answer_all, load_model
from bert.predict.reading import read_requests
from bert.predict.requests import Request, check_request
from bert.predict.terminal import readable

_TEXTS = ("question", "context", "sentence", "first", "second", "text")


def main() -> None:
    """Reads every request, then answers them in their order."""
    args = parse_args()
    log.setup(None)
    # What the tasks count is said at the end, in words for a person.
    logging.getLogger("bert.tasks").setLevel(logging.WARNING)
    torch.set_num_threads(args.threads)
    model = load_model(args.model, args.precision)
    kind = request_type(model.published.task)
    given = {name: getattr(args, name) for name in _TEXTS if getattr(args, name) is not None}
    if args.input is None:
        request = check_request(kind, given, "the command line")
        (answered,) = answer_all(model, [request])
        sys.stdout.write(readable(model.published.task.HEAD, answered.answers[0]))
        return
    requests = read_requests(args.input, kind)
    if args.output == Path("-"):
        write_answers(model, requests, sys.stdout)
        return
    with atomic_file(args.output) as temporary, temporary.open("w", encoding="utf-8") as file:
        write_answers(model, requests, file)


def write_answers(model: Model, requests: list[Request], file: IO[str]) -> None:
    """Writes an answer a line, and says at the end what was lost of the requests."""
    progress = log.Progress("predict", len(requests))
    lost: Counter[str] = Counter()
    done = 0
    for answers, here in answer_all(model, requests):
        for answer in answers:
            file.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
        lost.update(here)
        done += len(answers)
        progress.update(done, lambda: "requests", log=False)
    progress.close()
    sys.stderr.write(f"{done} requests answered\n")
    for name, count in lost.items():
        sys.stderr.write(f"{count} times {LOST[name]}\n")


def parse_args() -> argparse.Namespace:
    """A file of requests with a place for the answers, or one request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument("--input", type=Path, help="requests: .jsonl, .tsv, .csv, SQuAD's .json")
    parser.add_argument("--output", type=Path, help="answers, one JSON object a line")
    for name in _TEXTS:
        parser.add_argument(f"--{name}", help="one request, in place of --input")
    args = parser.parse_args()
    check_arguments(parser, vars(args))
    return args


def check_arguments(parser: argparse.ArgumentParser, args: dict[str, Any]) -> None:
    """Ends with a message unless there is either a file with its output, or one request."""
    texts = [f"--{name}" for name in _TEXTS if args[name] is not None]
    if (args["input"] is None) != (args["output"] is None):
        parser.error("--input and --output go together; give both.")
    if bool(texts) == (args["input"] is not None):
        parser.error(
            f"{' '.join(texts)} and --input were given; expected one of them."
            if texts
            else "there is nothing to answer; give --input and --output, or a text."
        )


if __name__ == "__main__":
    main()
