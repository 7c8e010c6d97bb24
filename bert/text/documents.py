"""The text format: UTF-8, one sentence a line, one blank line between documents, no markup.

It is the `results4` layout of MLPerf. A document is a list of non-empty sentences; a sentence has
no line break and no leading or trailing space. The file ends with a line feed. This module is the
format's definition, writer and check. `read_documents` reads it plainly; the stages read the same
format by ranges of bytes (`bert.text.extracted`, `bert.data.blocks`), and tests hold them to it.

Beside a file of documents may stand the file of their names: UTF-8, one name a line, line i names
document i. A name is what a list of documents would call it (a page id, a path); it is not empty,
has no line break and no leading or trailing space.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

Document = list[str]


class NamedDocument(NamedTuple):
    """A document and its name inside the source."""

    name: str
    sentences: Document


class TextFormatError(ValueError):
    """A file that is not in the text format."""


class DocumentWriter:
    """Writes documents to an open binary stream and counts what it writes."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Starts an empty file on `stream`."""
        self._stream = stream
        self.documents = 0
        self.sentences = 0

    def write(self, document: Document) -> None:
        """Appends one document.

        Raises:
            TextFormatError: The document is empty, or a sentence is empty or holds a line break.
        """
        self._stream.write(encode_document(document, first=self.documents == 0))
        self.documents += 1
        self.sentences += len(document)


def encode_document(document: Document, *, first: bool) -> bytes:
    """Bytes of one document; all but the first in a file start with the separating blank line.

    Raises:
        TextFormatError: The document is empty, or a sentence is empty or holds a line break.
    """
    if not document:
        raise TextFormatError("A document has no sentence; expected at least one.")
    for sentence in document:
        if not _is_line(sentence):
            raise TextFormatError(
                f"{sentence[:80]!r} is not a sentence: expected one non-empty line without "
                "leading or trailing space."
            )
    return (("" if first else "\n") + "\n".join(document) + "\n").encode("utf-8")


def encode_name(name: str) -> bytes:
    """One line of the file of names.

    Raises:
        TextFormatError: The name is empty, or holds a line break.
    """
    if not _is_line(name):
        raise TextFormatError(
            f"{name[:80]!r} is no name of a document: expected one non-empty line without leading "
            "or trailing space."
        )
    return f"{name}\n".encode()


def _is_line(text: str) -> bool:
    return text != "" and text == text.strip() and len(text.splitlines()) == 1


def write_documents(path: Path, documents: Iterable[Document]) -> DocumentWriter:
    """Writes all documents to `path` and returns the writer with its counts."""
    with path.open("wb") as stream:
        writer = DocumentWriter(stream)
        for document in documents:
            writer.write(document)
    return writer


def read_documents(path: Path) -> Iterator[Document]:
    """Yields the documents of a file one at a time. Several blank lines count as one.

    Raises:
        TextFormatError: The file is not valid UTF-8; names the line.
    """
    document: Document = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                sentence = line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise TextFormatError(
                    f"{path}, line {number}: {error}; expected UTF-8. Convert the file to UTF-8."
                ) from None
            if sentence:
                document.append(sentence)
            elif document:
                yield document
                document = []
    if document:
        yield document
