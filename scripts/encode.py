"""encode: some text parts, or the held-out text, to one instance file each.

In: text parts of `split`, the vocabulary. Out: a folder of instance files and its manifest.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bert import log
from bert.config import load_section
from bert.data.encode import PartCounts, count_parts, encode_part, part_rng
from bert.data.pairs import PairsConfig
from bert.data.vocab import load_vocabulary, make_tokenizer
from bert.manifest import atomic_directory, read_manifest, sha256_file, write_manifest


def main() -> None:
    """Encodes the parts in a pool of processes; the number of workers changes no byte."""
    args = parse_args()
    log.setup(args.log)
    config = load_section(PairsConfig, args.config)
    texts = [args.split.parent / name for name in args.parts]
    with atomic_directory(args.output) as folder:
        outputs = [folder / f"{text.name.removesuffix('.txt')}.h5" for text in texts]
        jobs = [
            (text, out, args.vocab, config, args.phase)
            for text, out in zip(texts, outputs, strict=True)
        ]
        context = get_context("spawn")
        with ProcessPoolExecutor(min(args.workers, len(jobs)), mp_context=context) as pool:
            counts = list(pool.map(encode_one, jobs))
    split = read_manifest(args.split, stage="split")
    summary, statistics = count_parts(counts)
    write_manifest(
        args.output.with_suffix(".json"),
        stage="encode",
        config=config.model_dump(),
        inputs={name: split["outputs"][name]["sha256"] for name in args.parts}
        | {"vocab.txt": sha256_file(args.vocab / "vocab.txt")},
        counts=summary,
        outputs=sorted(args.output.iterdir()),
        statistics=statistics,
    )


def encode_one(job: tuple[Path, Path, Path, PairsConfig, int]) -> PartCounts:
    """Encodes one part in a worker process."""
    text, output, vocab, config, phase = job
    vocabulary = load_vocabulary(vocab)
    tokenizer = make_tokenizer(vocab / "vocab.txt", vocabulary.lowercase)
    rng = part_rng(config.seed, phase, text.name)
    return encode_part(text, output, tokenizer, vocabulary, config, rng)


def parse_args() -> argparse.Namespace:
    """Paths, the phase and the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--phase", type=int, required=True)
    parser.add_argument("--split", type=Path, required=True, help="manifest of split")
    parser.add_argument("--parts", nargs="+", required=True, help="names in the split's folder")
    parser.add_argument("--vocab", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
