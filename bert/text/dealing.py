"""Drawing documents, and dealing them out to many files.

Documents are drawn by selection sampling (Knuth, The Art of Computer Programming, volume 2, section
3.4.2, algorithm S), which takes an exact number in one pass over a known total. They are dealt out
like cards: each run of `parts` consecutive ones goes to the parts in a shuffled order, one to each,
so that the parts differ by at most one document and each is a fair sample of every source.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BUFFER_BYTES = 64 << 20


def part_name(part: int, parts: int) -> str:
    """Name of a text part, as in MLPerf's results4: part-00007-of-00500."""
    return f"part-{part:05d}-of-{parts:05d}"


def select_exactly(chosen: int, total: int, rng: np.random.Generator) -> Iterator[bool]:
    """For each of `total` items in order, whether it is one of the `chosen` ones.

    Every set of `chosen` items is equally likely (Knuth's algorithm S).
    """
    left = chosen
    for seen in range(total):
        take = bool(rng.random() * (total - seen) < left)
        left -= take
        yield take


def deal(parts: int, rng: np.random.Generator) -> Iterator[int]:
    """Endless part numbers; each consecutive run of `parts` holds every part once, shuffled."""
    while True:
        yield from rng.permutation(parts).tolist()


class Dealer:
    """Deals copies of documents to parts, never two copies of a document to one part."""

    def __init__(self, parts: int, rng: np.random.Generator) -> None:
        """Deals to `parts` parts in the order of `deal`."""
        self._numbers = deal(parts, rng)
        self._passed: deque[int] = deque()

    def take(self, copies: int) -> list[int]:
        """Parts of the next document's copies, all different; `copies` is at most the parts.

        A part that has a copy already is passed over and comes first for the next document.
        """
        chosen: list[int] = []
        passed: list[int] = []
        while len(chosen) < copies:
            part = self._passed.popleft() if self._passed else next(self._numbers)
            (passed if part in chosen else chosen).append(part)
        self._passed.extendleft(reversed(passed))
        return chosen


class PartFiles:
    """Writes documents to many files with bounded memory and one open file at a time."""

    def __init__(self, paths: Sequence[Path], buffer_bytes: int = BUFFER_BYTES) -> None:
        """Creates the files, empty; `buffer_bytes` are kept in memory, all files together."""
        self._paths = paths
        self._buffers = [bytearray() for _ in paths]
        self._limit, self._buffered = buffer_bytes, 0
        self.documents = [0] * len(paths)
        self.sentences = [0] * len(paths)
        for path in paths:
            path.touch()

    def write(self, file: int, document: bytes) -> None:
        """Appends a document (sentences separated by line feeds) to the file of that number."""
        buffer, before = self._buffers[file], len(self._buffers[file])
        if self.documents[file]:
            buffer += b"\n"
        buffer += document
        buffer += b"\n"
        self._buffered += len(buffer) - before
        self.documents[file] += 1
        self.sentences[file] += document.count(b"\n") + 1
        if self._buffered >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Appends what is in memory to the files."""
        for number, path in enumerate(self._paths):
            if self._buffers[number]:
                with path.open("ab") as stream:  # unbuffered, a full disk would cut it in silence
                    stream.write(self._buffers[number])
                self._buffers[number] = bytearray()  # `clear` would keep its memory
        self._buffered = 0
