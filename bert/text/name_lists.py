"""Lists of document names, such as the metadata lists that tell training from validation text.

One name a line, UTF-8; blank lines do not count. A line is a name, which names the documents of
that name in all sources, or `source<TAB>name`, which names one. A list is held as one 64-bit hash
(BLAKE2b) a line.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_BLOCK = 1 << 16
_SHOWN = 5


class NameListError(ValueError):
    """A list that names nothing, too much that is not there, or what another list names."""


class NameList:
    """The names of a list, and which of them a document had.

    Attributes:
        names: Number of different lines.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Reads the files of a list.

        Raises:
            NameListError: The list is empty.
        """
        self.files = files
        hashes = [_hashes(block) for block in _blocks(_lines(files))]
        self._hashes = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        self._seen = np.zeros(len(self._hashes), np.bool_)
        self.names = len(self._hashes)
        if not self.names:
            raise NameListError(
                f"{_shown(files)} names no document; expected one name a line. Fetch it again."
            )

    def holds(self, source: str, names: Sequence[bytes]) -> NDArray[np.bool_]:
        """Whether each of some documents of a source is listed, bool [N]; remembers the listed."""
        prefix = source.encode("utf-8") + b"\t"
        plain = self._find(_hashes(names))
        return plain | self._find(_hashes([prefix + name for name in names]))

    def _find(self, hashes: Hashes) -> NDArray[np.bool_]:
        places = np.minimum(np.searchsorted(self._hashes, hashes), self.names - 1)
        found = self._hashes[places] == hashes
        self._seen[places[found]] = True
        return np.asarray(found)

    def missing(self) -> int:
        """Number of names that no document had so far."""
        return int(self.names - self._seen.sum())

    def check_missing(self, most_share: float) -> None:
        """Refuses a list of which too much is not in the corpus.

        Raises:
            NameListError: States the number, the share allowed, and examples.
        """
        if self.missing() > most_share * self.names:
            lost = self._hashes[~self._seen]
            examples = _examples(self.files, lost)
            raise NameListError(
                f"{self.missing()} of {self.names} names of {_shown(self.files)} are names of no "
                f"document ({examples}); at most the share {most_share:g} may be "
                "(split.max_missing_share). The list belongs to other text, or its names have "
                "another form than names.txt of the extracted sources."
            )

    def check_apart(self, other: "NameList") -> None:
        """Refuses two lists that name the same documents.

        Raises:
            NameListError: States how many, and examples.
        """
        common = np.intersect1d(self._hashes, other._hashes)
        if len(common):
            raise NameListError(
                f"{len(common)} names stand in both lists, {_shown(self.files)} and "
                f"{_shown(other.files)} ({_examples(self.files, common)}); expected none, because "
                "held-out text must not be trained on. Remove them from one list."
            )


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as stream:
            for number, line in enumerate(stream):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
                if name := text.strip():
                    yield name


def _blocks(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    for name in names:
        block.append(name)
        if len(block) == _BLOCK:
            yield block
            block = []
    yield block


def _hashes(names: Sequence[bytes]) -> Hashes:
    digests = b"".join(blake2b(name, digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _examples(files: Sequence[Path], hashes: Hashes) -> str:
    """Some of the names that have these hashes (sorted), for a message."""
    shown: list[str] = []
    for block in _blocks(_lines(files)):
        found = np.isin(_hashes(block), hashes)
        shown += [block[i].decode("utf-8", "replace") for i in np.flatnonzero(found)[:_SHOWN]]
        if len(shown) >= _SHOWN:
            break
    more = ", ..." if len(hashes) > _SHOWN else ""
    return ", ".join(map(repr, shown[:_SHOWN])) + more


def _shown(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)
