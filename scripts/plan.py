"""plan: what a recipe would cost, before anything runs; refuses when the disk is short.

    python scripts/plan.py --recipe config/recipes/demo.yaml
    python scripts/plan.py --size wikipedia=25e9 --cores 64 --tokens-per-second 250000

Without --tokens-per-second and --encode-megabytes it times this machine for some seconds first.
"""

import argparse
import os
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from bert.devices.device import choose_device
from bert.manifest import ROOT
from bert.plan.calibrate import TrainingSpeed, given_speed, training_speed
from bert.plan.encoding import encode_speed
from bert.plan.page import free_bytes, human_bytes, page
from bert.plan.sizes import encode_section, expected_vocab_size, pretrain_section
from bert.plan.stages import Speeds, needed_disk, plan
from bert.recipe import Recipe, check_recipe


def main() -> None:
    """Prints the plan; exits with an error when the disk cannot hold it."""
    args = parse_args()
    recipe = load_recipe(args.recipe)
    vocab_size = expected_vocab_size(recipe)
    measured = args.encode_megabytes is None
    speeds = Speeds(
        args.cores,
        encode_speed(recipe.encode.phase1) if measured else args.encode_megabytes * 1e6,
        {number: phase_speed(recipe, number, vocab_size, args) for number in recipe.phases or [1]},
    )
    rows = plan(recipe, speeds, vocab_size, dict(args.size))
    needed, free = needed_disk(rows), free_bytes(Path(recipe.results))
    sys.stdout.write(page(rows, cores=args.cores, free=free))
    if needed > free:
        sys.exit(
            f"{recipe.results} would need {human_bytes(needed)} more, but only "
            f"{human_bytes(free)} are free there. Free some disk, put results/ on a larger one, "
            "or lower encode.phase<n>.dupe_factor or max_instances."
        )


def load_recipe(overlays: list[Path]) -> Recipe:
    """The checked recipe, merged as Snakemake merges --configfile."""
    values = load_configfile(str(ROOT / "config" / "config.yaml"))
    for overlay in overlays:
        update_config(values, load_configfile(str(overlay)))
    return check_recipe(values)


def phase_speed(
    recipe: Recipe, number: int, vocab_size: int, args: argparse.Namespace
) -> TrainingSpeed:
    """The training speed of a phase: as given, or timed here."""
    if args.tokens_per_second is not None:
        return given_speed(
            recipe.model, vocab_size=vocab_size, tokens_per_second=args.tokens_per_second
        )
    return training_speed(
        recipe.model,
        pretrain_section(recipe, number).optimizer,
        recipe.runtime,
        choose_device(recipe.runtime, 0),
        vocab_size=vocab_size,
        length=encode_section(recipe, number).max_seq_length,
    )


def parse_size(text: str) -> tuple[str, float]:
    """A raw item's name and bytes, such as wikipedia=25e9."""
    name, _, size = text.partition("=")
    try:
        return name, float(size)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=BYTES, such as wiki=25e9") from None


def parse_args() -> argparse.Namespace:
    """The recipe, and figures that replace what would be measured or looked up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, nargs="*", default=[], help="overlays, in order")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="for data stages")
    parser.add_argument("--tokens-per-second", type=float, help="of training, all devices together")
    parser.add_argument("--encode-megabytes", type=float, help="text a second on one core")
    parser.add_argument("--size", type=parse_size, nargs="*", default=[], metavar="NAME=BYTES")
    return parser.parse_args()


if __name__ == "__main__":
    main()
