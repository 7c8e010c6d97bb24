"""encode: some text parts, or the held-out text, to one instance file each.

In: text parts of `split`, the vocabulary. Out: a folder of instance files and its manifest.
"""

import argparse
from functools import cache
from pathlib import Path
from typing import Any

from bert import log
from bert.config import load_section
from bert.data.encode import Part, check_not_empty, encode_part, part_of
from bert.data.instance_config import InstanceConfig
from bert.data.part_counts import count_parts, from_json
from bert.data.tokenise import Tokeniser
from bert.data.vocab import Vocabulary, load_vocabulary
from bert.data.work_folder import finish_units, work_folder
from bert.manifest import atomic_file, code_digest, read_manifest, sha256_file, write_manifest


def main() -> None:
    """Encodes the parts in a pool of processes; the number of workers changes no byte."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(InstanceConfig, args.config)
    parts = [part_of(args.split.parent / name, args.phase, config) for name in args.parts]
    split = read_manifest(args.split, stage="split")
    inputs = {name: split["outputs"][name]["sha256"] for name in args.parts} | {
        "tokenizer.json": sha256_file(args.vocab / "tokenizer.json")
    }
    identity = [config.model_dump(), args.phase, inputs, code_digest("encode")]
    units = {part.text.name: (part, args.vocab, config) for part in parts}
    with work_folder(args.output, identity) as folder:
        receipts = finish_units(folder, units, encode_one, workers=args.workers)
        counts, statistics = count_parts([from_json(receipt) for receipt in receipts])
        check_not_empty(counts["instances"], parts)
    write_manifest(
        args.output.with_suffix(".json"),
        stage="encode",
        config=config.model_dump(),
        inputs=inputs,
        counts=counts,
        outputs=sorted(args.output.iterdir()),
        statistics=statistics,
    )


def encode_one(
    unit: tuple[Part, Path, InstanceConfig], folder: Path
) -> tuple[list[Path], dict[str, Any]]:
    """Encodes one part in a worker process; returns its file and its counts."""
    part, vocab, config = unit
    tokeniser, vocabulary = load_tokeniser(vocab)
    output = folder / f"{part.text.name.removesuffix('.txt')}.h5"
    with atomic_file(output) as temporary:
        counts = encode_part(part, temporary, tokeniser, vocabulary, config)
    return [output], counts.to_json()


@cache
def load_tokeniser(vocab: Path) -> tuple[Tokeniser, Vocabulary]:
    """One for all parts of a process: its table of words fills once."""
    return Tokeniser(vocab), load_vocabulary(vocab)


def parse_args() -> argparse.Namespace:
    """Paths, the phase and the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--split", type=Path, required=True, help="manifest of split")
    parser.add_argument("--parts", nargs="+", required=True, help="names in the split's folder")
    parser.add_argument("--vocab", type=Path, required=True, help="folder of the vocabulary")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
