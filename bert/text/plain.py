"""Folders that already are in the text format, such as the `results4` layout of MLPerf."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bert.config import Section, knob
from bert.text.documents import Document, read_documents

COUNTS = ("files", "line_breaks_in_sentences")
_BYTE_ORDER_MARK = "\ufeff"


class Results4Config(Section):
    """Text that is split into sentences and documents already."""

    format: Literal["results4"] = knob("Layout of the raw files: the text format of this project.")
    raw: str = knob("Name of the item in section `fetch` that holds the folder.", min_length=1)
    pattern: str = knob(
        'Names of the files to read, as a shell pattern; "part-*" leaves out held-out text and '
        "checksums.",
        min_length=1,
    )


def extract_file(path: Path) -> Iterator[tuple[list[Document], tuple[str, ...]]]:
    """Yields the documents of one file, each with the names of the counters to raise by one.

    Sentences pass through as they are, except that a character that Python or Unicode takes for a
    line break (U+0085, U+2028, a form feed, ...) becomes a space; such sentences are counted.

    Raises:
        TextFormatError: The file is not valid UTF-8.
    """
    yield [], ("files",)
    for document in read_documents(path):
        if document[0].startswith(_BYTE_ORDER_MARK):
            document[:1] = filter(None, [document[0].lstrip(_BYTE_ORDER_MARK).strip()])
        broken = [n for n, sentence in enumerate(document) if len(sentence.splitlines()) != 1]
        for number in broken:
            document[number] = " ".join(document[number].split())
        yield [document] if document else [], ("line_breaks_in_sentences",) * len(broken)
