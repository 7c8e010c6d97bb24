"""What `extract` wrote, as the stages after it read it: documents, their names, their receipt.

The documents of a file are separated by one blank line and keep their bytes; a stage that only
moves documents never decodes them.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bert.manifest import ManifestError, listed_files, read_manifest
from bert.text.pieces import AFTER_BLANK_LINE, Piece, cut_file

DOCUMENTS = "documents.txt"
NAMES = "names.txt"


class ExtractedError(ValueError):
    """Sources that are not what their manifests state."""


class Source(NamedTuple):
    """The extracted documents of one source, as its manifest states them.

    Attributes:
        name: Name of the source.
        path: The documents, in the text format.
        names: Names of the documents, one a line.
        documents: Number of documents.
        digests: File name to sha256, for the manifest of the stage that reads them.
    """

    name: str
    path: Path
    names: Path
    documents: int
    digests: dict[str, str]


def load_sources(manifests: Sequence[Path]) -> list[Source]:
    """Reads the extract manifests; a source is named by the folder of its manifest.

    Raises:
        ExtractedError: No source, or one given twice.
        ManifestError: A manifest that does not fit its files.
    """
    sources = [_load_source(manifest) for manifest in manifests]
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        found = f"source {twice[0]} twice" if twice else "no source"
        raise ExtractedError(f"The stage was given {found}; expected each source once.")
    return sources


def _load_source(manifest: Path) -> Source:
    listed = {path.name: (path, sha) for path, sha in listed_files(manifest, stage="extract")}
    for name in (DOCUMENTS, NAMES):
        if name not in listed:
            raise ManifestError(f"{manifest} lists no {name}; run the rule `extract` again.")
    documents = int(read_manifest(manifest, stage="extract")["counts"]["documents"])
    name = manifest.parent.name
    digests = {f"{name}/{file}": listed[file][1] for file in (DOCUMENTS, NAMES)}
    return Source(name, listed[DOCUMENTS][0], listed[NAMES][0], documents, digests)


def total_documents(sources: Sequence[Source]) -> int:
    """Documents of all sources together."""
    return sum(source.documents for source in sources)


def source_starts(sources: Sequence[Source]) -> list[int]:
    """Number of each source's first document, documents counted on through the sources, from 0."""
    return [total_documents(sources[:place]) for place in range(len(sources))]


def cut_source(source: Source) -> Iterator[Piece]:
    """The source's documents in pieces of about 2 MiB, in order."""
    return cut_file(source.path, source.name, ends=AFTER_BLANK_LINE)


def piece_documents(piece: Piece) -> list[bytes]:
    """The documents of a piece in UTF-8, sentences separated by line feeds, none at the end."""
    return [document for document in piece.read().rstrip(b"\n").split(b"\n\n") if document]


def read_source(source: Source) -> Iterator[bytes]:
    """The documents of a source, as many as its manifest states.

    Raises:
        ExtractedError: The file has more or fewer.
    """
    documents = chain.from_iterable(map(piece_documents, cut_source(source)))
    return _checked(documents, source, source.path, "documents")


def read_names(source: Source) -> Iterator[bytes]:
    """The names of a source's documents in UTF-8, as many as its manifest states documents.

    Raises:
        ExtractedError: The file has more or fewer.
    """
    with source.names.open("rb") as stream:
        names = (line.removesuffix(b"\n") for line in stream)
        yield from _checked(names, source, source.names, "names")


def check_count(source: Source, found: int, *, path: Path, what: str = "documents") -> None:
    """Refuses a file with another number of documents or names than the manifest states.

    Raises:
        ExtractedError: States both numbers.
    """
    if found != source.documents:
        has = f"more than {source.documents}" if found > source.documents else f"only {found}"
        raise ExtractedError(
            f"{path} has {has} {what}, its manifest states {source.documents} documents. "
            "Run the rule `extract` again."
        )


def _checked(items: Iterator[bytes], source: Source, path: Path, what: str) -> Iterator[bytes]:
    found = 0
    for item in items:
        found += 1
        if found > source.documents:
            break
        yield item
    check_count(source, found, path=path, what=what)
