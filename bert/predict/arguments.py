"""What the commands that use a published model share on their command lines."""

import argparse
import os
from pathlib import Path


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, --precision and --threads."""
    parser.add_argument(
        "--model", type=Path, required=True, help="folder that the rule publish wrote"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of matrix products; bf16 is faster where the machine has it (default: fp32)",
    )
    parser.add_argument(
        "--threads", type=_threads, default=os.cpu_count(), help="of a CPU (default: all cores)"
    )


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads; expected 1 or more")
    return int(text)
