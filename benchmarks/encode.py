"""Text part to instances on one core: speed beside `tokenizers` alone, memory and growth.

    python benchmarks/encode.py [--text FILE] [--vocab FILE ...] [--lowercase]

Reads, tokenises, pairs and writes a part with the published settings of phase 1. Each round times
in turn the library's `encode_batch_fast` on --peer-megabytes of the lines, the stage with a new
table of words (cold), and with a full one (warm), in one pass and in five. Memory and growth: fresh
processes encode the text, and eight times the text, after a first encoding that is not timed.
Without --text it makes up 20 MB of words with natural frequencies; without --vocab it trains a
WordPiece vocabulary of 2,000 tokens on the text.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np

from bert.data.encode import Part, encode_part
from bert.data.instance_config import InstanceConfig
from bert.data.tokenise import Tokeniser
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab import (
    Lexicon,
    Vocabulary,
    load_tokenizer,
    load_vocabulary,
    read_given,
    write_vocabulary,
)
from bert.data.vocab_config import WordPieceVocab

_LINES = 1000


def main() -> None:
    """Prints the figures."""
    args = parse_args()
    if args.measure is not None:
        print(json.dumps(measured(args.measure, args.vocab[0])))
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        text = args.text or generated(folder)
        vocab = folder / "vocab"
        vocab.mkdir()
        lexicon = read_given(args.vocab)[0] if args.vocab else trained(text, args.lowercase)
        write_vocabulary(vocab, lexicon.tokens, args.lowercase, lexicon.merges)
        print_speeds(text, vocab, folder / "part.h5", args)
        print_growth(text, vocab, folder)


def print_speeds(text: Path, vocab: Path, output: Path, args: argparse.Namespace) -> None:
    """Medians of interleaved rounds, CPU time of one process."""
    megabytes = text.stat().st_size / 1e6
    library, vocabulary = load_tokenizer(vocab), load_vocabulary(vocab)
    with text.open(encoding="utf-8") as stream:
        lines = stream.readlines(int(args.peer_megabytes * 1e6))
    size = sum(len(line.encode()) for line in lines) / 1e6
    speeds: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        batches = [lines[i : i + _LINES] for i in range(0, len(lines), _LINES)]
        took = seconds(
            lambda b=batches: [library.encode_batch_fast(x, add_special_tokens=False) for x in b]
        )
        speeds.setdefault("encode_batch_fast alone", []).append(size / took)
        tokeniser = Tokeniser(vocab)
        for name, passes in (("1 pass, cold", 1), ("1 pass, warm", 1), ("5 passes, warm", 5)):
            took = seconds(
                lambda t=tokeniser, p=passes: encode(text, output, t, vocabulary, passes=p)
            )
            speeds.setdefault(name, []).append(megabytes / took)
    base = statistics.median(speeds["encode_batch_fast alone"])
    print(f"{megabytes:.1f} MB of text; medians of {args.rounds} rounds, one process, CPU time")
    for name, values in speeds.items():
        value = statistics.median(values)
        print(f"{name:24} {value:6.1f} MB/s of text, {value / base:5.1f} x")
    counts = encode(text, output, tokeniser, vocabulary, passes=1)
    stored = output.stat().st_size
    print(f"stored: {stored / counts['tokens']:.3f} bytes a token, all included,")
    print(f"        at {counts['tokens'] / counts['instances']:.1f} tokens an instance")


def print_growth(text: Path, vocab: Path, folder: Path) -> None:
    """Memory and time of the text and of eight times the text."""
    eightfold = folder / "eightfold"
    with eightfold.open("wb") as stream:
        for _ in range(8):
            stream.write(text.read_bytes() + b"\n")
    command = [sys.executable, __file__, "--vocab", str(vocab), "--measure"]
    small, large = (
        json.loads(subprocess.check_output([*command, str(path)])) for path in (text, eightfold)
    )
    exponent = math.log(large["seconds"] / small["seconds"]) / math.log(8)
    print(f"peak memory {small['peak_mb']:.0f} MB, of eight times the text", end=" ")
    print(f"{large['peak_mb']:.0f} MB ({small['before_mb']:.0f} MB before the first text)")
    print(f"time grows with the text to the power of {exponent:.2f}")


def measured(text: Path, vocab: Path) -> dict[str, float]:
    """Time of the second encoding in this process, and its most memory, in MB."""
    tokeniser, vocabulary = Tokeniser(vocab), load_vocabulary(vocab)
    before = peak_mb()
    with TemporaryDirectory() as folder:
        output = Path(folder) / "part.h5"
        encode(text, output, tokeniser, vocabulary, passes=1)
        took = seconds(lambda: encode(text, output, tokeniser, vocabulary, passes=1))
    return {"seconds": took, "peak_mb": peak_mb(), "before_mb": before}


def encode(
    text: Path, output: Path, tokeniser: Tokeniser, vocabulary: Vocabulary, *, passes: int
) -> dict[str, int]:
    """One part with the published settings; its counts."""
    config = InstanceConfig(
        seed=12345, max_seq_length=128, objective="next_sentence", short_seq_prob=0.1,
        random_next_prob=0.5, dupe_factor=passes, cross_documents=False, overlap=0,
        max_instances=None, masking=None,
    )  # fmt: skip
    return encode_part(Part(text, 1, 0, None), output, tokeniser, vocabulary, config).numbers


def generated(folder: Path) -> Path:
    """Made-up words whose frequencies fall as those of a language do, about 20 MB."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(60_000)]
    ranks = np.minimum(rng.zipf(1.3, 3_000_000), len(words)) - 1
    sentences = np.array_split(ranks, 150_000)
    lines = [" ".join(words[i] for i in s).capitalize() + "." for s in sentences]
    documents = ("\n".join(lines[i : i + 15]) for i in range(0, len(lines), 15))
    file = folder / "part"
    file.write_text("\n\n".join(documents) + "\n", "utf-8")
    return file


def trained(text: Path, lowercase: bool) -> Lexicon:
    """A small vocabulary of the text itself."""
    section = WordPieceVocab(
        kind="wordpiece", size=2000, lowercase=lowercase, min_frequency=2, limit_alphabet=200,
        coverage_megabytes=1,
    )  # fmt: skip
    return Lexicon(train_wordpiece([text], section)[0])


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this process: other work on the machine does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_mb() -> float:
    """Most memory of this process so far, in MB (Linux)."""
    lines: Sequence[str] = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def parse_args() -> argparse.Namespace:
    """Paths and how much; `--measure` is for the fresh processes that this script starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, help="a text part: UTF-8, one sentence a line")
    parser.add_argument("--vocab", type=Path, nargs="+", help="files of a vocabulary")
    parser.add_argument("--lowercase", action="store_true", help="lower-case the text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-megabytes", type=float, default=4)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
