"""Documents of all sources to text parts and a held-out file, no document in two of them.

Held-out documents are drawn by selection sampling (Knuth, The Art of Computer Programming, volume
2, section 3.4.2, algorithm S), which takes an exact number in one pass over a known total. The
others are dealt out like cards: each run of `parts` consecutive documents goes to the parts in a
shuffled order, one to each, so that the parts differ by at most one document and each is a fair
sample of every source. Memory is bounded, and no more than two files are open at a time.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert.config import Section, knob
from bert.log import Progress
from bert.manifest import ManifestError, listed_files, read_manifest
from bert.text.documents import Document, encode_document, read_documents

logger = logging.getLogger(__name__)

HELD_OUT = "held_out.txt"
DOCUMENTS = "documents.txt"

_BUFFER_BYTES = 256 << 20
_PROGRESS_DOCUMENTS = 1000
_HELD_OUT_STREAM, _PARTS_STREAM = 0, 1
# Next-sentence prediction takes its random second segment from another document of the same file.
_FEWEST_DOCUMENTS = 2


class SplitError(ValueError):
    """A corpus that is too small for the split, or not what its manifest says."""


class SplitConfig(Section):
    """How the corpus is divided."""

    seed: int = knob("seed of the division", ge=0)
    parts: int = knob("number of text parts; MLPerf's results4 has 500", ge=1, le=99_999)
    held_out_fraction: float = knob(
        "share of all documents kept out of training, 0 to 1; MLPerf kept 10,000 articles",
        ge=0,
        lt=1,
    )


class Source(NamedTuple):
    """The extracted documents of one source, as its manifest states them."""

    name: str
    path: Path
    documents: int
    sha256: str


def load_sources(manifests: Sequence[Path]) -> list[Source]:
    """Reads the extract manifests; a source is named by the folder of its manifest.

    Raises:
        SplitError: No source, or one given twice.
        ManifestError: A manifest that does not fit its `documents.txt`.
    """
    sources = [_load_source(manifest) for manifest in manifests]
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        found = f"source {twice[0]} twice" if twice else "no source"
        raise SplitError(f"The split was given {found}; expected each source once.")
    return sources


def _load_source(manifest: Path) -> Source:
    listed = {path.name: (path, sha) for path, sha in listed_files(manifest, stage="extract")}
    if DOCUMENTS not in listed:
        raise ManifestError(f"{manifest} lists no {DOCUMENTS}; run the rule `extract` again.")
    path, sha256 = listed[DOCUMENTS]
    documents = read_manifest(manifest, stage="extract")["counts"]["documents"]
    return Source(manifest.parent.name, path, int(documents), sha256)


def part_name(part: int, parts: int) -> str:
    """Name of a text part, as in MLPerf's results4: part-00007-of-00500."""
    return f"part-{part:05d}-of-{parts:05d}"


def count_held_out(documents: int, config: SplitConfig) -> int:
    """Number of held-out documents; refuses a corpus that is too small for the configuration.

    Raises:
        SplitError: States how many documents there are and what the configuration could be.
    """
    if documents == 0:
        raise SplitError("The corpus is empty: all sources together have 0 documents. Check them.")
    wanted = config.held_out_fraction
    held_out = max(1, round(documents * wanted)) if wanted > 0 else 0
    if 0 < held_out < _FEWEST_DOCUMENTS:
        raise SplitError(
            f"split.held_out_fraction is {wanted}, which is {held_out} of {documents} documents; "
            f"next-sentence prediction needs {_FEWEST_DOCUMENTS}. Set it to at least "
            f"{_FEWEST_DOCUMENTS / documents:.2g}, or to 0 for no held-out text, or add documents."
        )
    most_parts = (documents - held_out) // _FEWEST_DOCUMENTS
    if config.parts > most_parts:
        remedy = f"Set split.parts to at most {most_parts}" if most_parts else "Hold out less"
        raise SplitError(
            f"split.parts is {config.parts}, but the corpus has {documents} documents, {held_out} "
            f"of them held out, and each part needs at least {_FEWEST_DOCUMENTS} because "
            f"next-sentence prediction draws from another document of the part. {remedy}, or add "
            "documents."
        )
    return held_out


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


class PartFiles:
    """Writes documents to many files with bounded memory and one open file at a time."""

    def __init__(self, paths: Sequence[Path], buffer_bytes: int = _BUFFER_BYTES) -> None:
        """Creates the files, empty; `buffer_bytes` are kept in memory, all files together."""
        self._paths = paths
        self._buffers = [bytearray() for _ in paths]
        self._limit, self._buffered = buffer_bytes, 0
        self.documents = [0] * len(paths)
        self.sentences = [0] * len(paths)
        for path in paths:
            path.touch()

    def write(self, file: int, document: Document) -> None:
        """Appends a document to the file of that number."""
        data = encode_document(document, first=self.documents[file] == 0)
        self._buffers[file] += data
        self._buffered += len(data)
        self.documents[file] += 1
        self.sentences[file] += len(document)
        if self._buffered >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Appends what is in memory to the files."""
        for path, buffer in zip(self._paths, self._buffers, strict=True):
            if buffer:
                with path.open("ab") as stream:
                    stream.write(buffer)
                buffer.clear()
        self._buffered = 0


def split(sources: Sequence[Source], config: SplitConfig, folder: Path) -> dict[str, int]:
    """Writes `parts/part-*` and `held_out.txt` into `folder`.

    The order of the sources counts: it is the order in which their documents are dealt out. With
    a `held_out_fraction` of 0 the held-out file is there and empty.

    Returns:
        Counts of documents and sentences: all, held out, by source, and the smallest and largest
        part.

    Raises:
        SplitError: The corpus is too small, or a source has not the documents its manifest states.
    """
    total = sum(source.documents for source in sources)
    held_out = count_held_out(total, config)
    select = select_exactly(held_out, total, np.random.default_rng([config.seed, _HELD_OUT_STREAM]))
    dealt = deal(config.parts, np.random.default_rng([config.seed, _PARTS_STREAM]))
    (folder / "parts").mkdir()
    paths = [folder / "parts" / part_name(part, config.parts) for part in range(config.parts)]
    files = PartFiles([*paths, folder / HELD_OUT])
    progress = Progress("split", total)
    counts: dict[str, int] = {}
    done = 0
    for source in sources:
        sentences = 0
        for document in _checked_documents(source):
            files.write(config.parts if next(select) else next(dealt), document)
            sentences += len(document)
            done += 1
            if done % _PROGRESS_DOCUMENTS == 0 or done == total:
                progress.update(done, lambda: "documents", log=False)
        counts |= {f"documents.{source.name}": source.documents}
        counts |= {f"sentences.{source.name}": sentences}
    progress.close()
    files.flush()
    return _totals(files) | counts


def _totals(files: PartFiles) -> dict[str, int]:
    return {
        "documents": sum(files.documents),
        "sentences": sum(files.sentences),
        "held_out_documents": files.documents[-1],
        "held_out_sentences": files.sentences[-1],
        "parts": len(files.documents) - 1,
        "fewest_documents_in_a_part": min(files.documents[:-1]),
        "most_documents_in_a_part": max(files.documents[:-1]),
    }


def _checked_documents(source: Source) -> Iterator[Document]:
    """The documents of a source, as many as its manifest states."""
    found = 0
    for document in read_documents(source.path):
        found += 1
        if found > source.documents:
            break
        yield document
    if found != source.documents:
        has = f"more than {source.documents}" if found > source.documents else f"only {found}"
        raise SplitError(
            f"{source.path} has {has} documents, its manifest states {source.documents}. "
            "Run the rule `extract` again."
        )


def training_parts(manifest: Path) -> list[tuple[Path, str]]:
    """Text parts of a split with their sha256, in order; never the held-out file.

    Raises:
        FileNotFoundError: The manifest is missing.
        ManifestError: A part is missing or of another size.
    """
    listed = listed_files(manifest, stage="split")
    return sorted((path, sha256) for path, sha256 in listed if path.parent.name == "parts")
