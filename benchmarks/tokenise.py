"""Speed of `bert.data.tokenise` beside the `tokenizers` library on one thread, and its exactness.

    python benchmarks/tokenise.py [--text FILE ...] [--vocab FILE ...] [--lowercase]
    python benchmarks/tokenise.py --verify ...      # every line, no times

Without --text it makes up 20 MB of words with natural frequencies; without --vocab it trains a
WordPiece vocabulary of 2,000 tokens on the text. The library encodes --peer-megabytes of it
only. Each round times the library, a new tokeniser (cold) and the same one again (warm), in turn.
"""

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bert.data.tokenise import Tokeniser
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab import Lexicon, load_tokenizer, read_given, write_vocabulary
from bert.data.vocab_config import WordPieceVocab

_LINES = 1000


def main() -> int:
    """Prints the figures, or what differs; 1 if anything does."""
    args = parse_args()
    with TemporaryDirectory() as folder:
        files = args.text or [generated(Path(folder))]
        vocab = Path(folder) / "vocab"
        vocab.mkdir()
        lexicon = read_given(args.vocab)[0] if args.vocab else trained(files, args.lowercase)
        write_vocabulary(vocab, lexicon.tokens, args.lowercase, lexicon.merges)
        if args.verify:
            return verify(files, vocab)
        measure(files, vocab, args.rounds, args.peer_megabytes)
    return 0


def generated(folder: Path) -> Path:
    """Made-up words whose frequencies fall as those of a language do, about 20 MB."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(60_000)]
    ranks = np.minimum(rng.zipf(1.3, 3_000_000), len(words)) - 1
    sentences = np.array_split(ranks, 150_000)
    lines = (" ".join(words[i] for i in s).capitalize() + "." for s in sentences)
    file = folder / "text"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def trained(files: Sequence[Path], lowercase: bool) -> Lexicon:
    """A small vocabulary of the text itself."""
    section = WordPieceVocab(
        kind="wordpiece", size=2000, lowercase=lowercase, min_frequency=2, limit_alphabet=200,
        coverage_megabytes=1,
    )  # fmt: skip
    return Lexicon(train_wordpiece(files, section)[0])


def measure(files: Sequence[Path], vocab: Path, rounds: int, peer_megabytes: float) -> None:
    """Times of all rounds, as medians."""
    size = sum(map(len, blocks(files))) / 1e6
    tokeniser = Tokeniser(vocab)
    before = peak_megabytes()
    for block in blocks(files):
        tokeniser.text(block)
    print(f"peak memory {peak_megabytes():.0f} MB, {before:.0f} MB of it before the first text")

    texts = list(blocks(files))
    library = load_tokenizer(vocab)
    lines = [line for text in texts for line in text.decode().split("\n")]
    bounds = np.cumsum([len(line.encode()) + 1 for line in lines]) / 1e6
    lines = lines[: int(np.searchsorted(bounds, peer_megabytes)) + 1]
    library_size = sum(len(line.encode()) + 1 for line in lines) / 1e6
    speeds: dict[str, list[float]] = {"library": [], "cold": [], "warm": []}
    for _ in range(rounds):
        speeds["library"].append(library_size / seconds(lambda: encode_all(library, lines)))
        tokeniser = Tokeniser(vocab)
        for name in ("cold", "warm"):
            speeds[name].append(size / seconds(lambda t=tokeniser: [t.text(x) for x in texts]))
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"text {size:.1f} MB; medians of {rounds} rounds, one thread, CPU time")
    for name, value in middle.items():
        ratio = value / middle["library"]
        spread = f"{min(speeds[name]):.1f} to {max(speeds[name]):.1f}"
        print(f"{name:8} {value:6.1f} MB/s ({spread}), {ratio:5.1f} x encode_batch_fast")
    print(f"{tokeniser.words_known} words in the table")


def blocks(files: Sequence[Path]) -> Iterator[bytes]:
    """Lines of all files, about 1 MB at a time."""
    for file in files:
        with file.open("rb") as stream:
            while lines := stream.readlines(1 << 20):
                yield b"".join(lines)


def peak_megabytes() -> float:
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this process: other work on the machine does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def encode_all(library: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """Ids of all lines by the library, in batches."""
    return [
        encoding.ids
        for first in range(0, len(lines), _LINES)
        for encoding in library.encode_batch_fast(
            lines[first : first + _LINES], add_special_tokens=False
        )
    ]


def verify(files: Sequence[Path], vocab: Path) -> int:
    """Compares the ids of every line; prints what differs and returns 1 if anything does."""
    tokeniser, library = Tokeniser(vocab), load_tokenizer(vocab)
    lines = tokens = wrong = 0
    for group in groups(files):
        ids, lengths = tokeniser.sentences(group)
        expected = encode_all(library, group)
        pieces: list[NDArray[np.int64]] = np.split(ids, np.cumsum(lengths)[:-1])
        for line, found, wanted in zip(group, pieces, expected, strict=True):
            lines, tokens = lines + 1, tokens + len(wanted)
            if found.tolist() != wanted:
                wrong += 1
                print(f"differs: {line[:200]!a}")
    share = 100 * (lines - wrong) / max(lines, 1)
    print(f"{lines} lines, {tokens} tokens, {share:.3f} % of the lines equal")
    return int(wrong > 0)


def groups(files: Sequence[Path]) -> Iterator[list[str]]:
    """Lines of all files, in groups; a file that is not UTF-8 is read as Latin-1."""
    for file in files:
        data = file.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        lines = text.split("\n")
        for first in range(0, len(lines), _LINES):
            yield lines[first : first + _LINES]


def parse_args() -> argparse.Namespace:
    """Paths and how much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="+", help="UTF-8 files, one sentence a line")
    parser.add_argument("--vocab", type=Path, nargs="+", help="files of a vocabulary")
    parser.add_argument("--lowercase", action="store_true", help="lower-case the text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-megabytes", type=float, default=4)
    parser.add_argument("--verify", action="store_true", help="compare every line")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
