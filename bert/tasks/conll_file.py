"""Reader of files in the style of CoNLL-2003: a word a line, a blank line between sentences.

    EU NNP B-NP B-ORG
    rejects VBZ B-VP O

Columns stand between tabs, or in a line without a tab between spaces. A line whose first column is
-DOCSTART- begins a document, and a sentence. A byte order mark and CRLF are accepted.

Source: Tjong Kim Sang and De Meulder 2003, section 2.1.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bert.tasks.conll_tags import OUTSIDE, Scheme, TagError, next_tag, tag_names

_DOCUMENT = "-DOCSTART-"


class ConllError(ValueError):
    """A file that is not usable; names file and line."""


class ConllExample(NamedTuple):
    """One sentence.

    Attributes:
        id: Number of the sentence in its split, from 1; the key of its prediction.
        words: Its words.
        tags: Their tags, BIO.
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


class Columns(NamedTuple):
    """What stands in which column, from 0, and how tags are written."""

    word: int
    tag: int
    scheme: Scheme
    types: tuple[str, ...]


class _Line(NamedTuple):
    where: str
    columns: list[str]


def read_conll(
    files: Sequence[Path], columns: Columns
) -> tuple[list[ConllExample], dict[str, int]]:
    """All sentences of the files, in their order.

    Returns:
        The sentences, and the counts documents (lines with -DOCSTART-), sentences and words.

    Raises:
        ConllError: A line with another number of columns, a tag that is unknown or against the
            scheme, an empty word, text that is not UTF-8, or a file without a sentence.
    """
    counts = {"documents": 0, "sentences": 0, "words": 0}
    examples: list[ConllExample] = []
    known = frozenset(tag_names(columns.types))
    for file in files:
        before = len(examples)
        for sentence in _sentences(file, counts):
            words, tags = _words_and_tags(sentence, columns, known)
            examples.append(ConllExample(str(len(examples) + 1), words, tags))
            counts["words"] += len(words)
        if len(examples) == before:
            raise ConllError(
                f"{file} has no sentence; expected a word a line and blank lines between "
                "sentences. Fetch the file again."
            )
    counts["sentences"] = len(examples)
    return examples, counts


def _sentences(file: Path, counts: dict[str, int]) -> Iterator[list[_Line]]:
    sentence: list[_Line] = []
    width = None
    for line in _lines(file):
        first = line.columns[0]
        if first and first != _DOCUMENT:
            width = width or len(line.columns)
            _check_width(line, width)
            sentence.append(line)
            continue
        counts["documents"] += first == _DOCUMENT
        if len(line.columns) > 1 and not first:
            raise ConllError(f"{line.where}: the first column is empty. Correct the line.")
        if sentence:
            yield sentence
        sentence = []
    if sentence:
        yield sentence


def _lines(file: Path) -> Iterator[_Line]:
    """Each line and its columns, [""] for a blank one; only a line feed ends a line."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            where = f"{file}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ConllError(f"{where}: {error}; expected UTF-8. Convert the file.") from None
            text = text.removesuffix("\n").removesuffix("\r")
            if not text.strip("\t "):
                yield _Line(where, [""])
            elif "\t" in text:
                yield _Line(where, [column.strip(" ") for column in text.split("\t")])
            else:
                # Not split(): a no-break space is part of a word.
                yield _Line(where, [column for column in text.split(" ") if column])


def _check_width(line: _Line, width: int) -> None:
    if len(line.columns) != width:
        raise ConllError(
            f"{line.where} has {len(line.columns)} columns, the first sentence's first line "
            f"{width}; expected as many in every line. Correct the line."
        )


def _words_and_tags(
    sentence: list[_Line], columns: Columns, known: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words: list[str] = []
    tags: list[str] = []
    for line in sentence:
        if max(columns.word, columns.tag) >= len(line.columns):
            raise ConllError(
                f"{line.where} has {len(line.columns)} columns; expected a word in column "
                f"{columns.word} and a tag in column {columns.tag}, counted from 0. Change "
                "`word_column` or `tag_column` of the task."
            )
        word, tag = line.columns[columns.word], line.columns[columns.tag]
        if not word:
            raise ConllError(f"{line.where}: the word is empty. Correct the line.")
        if tag not in known:
            raise ConllError(
                f"{line.where}: the tag is {tag!r}; expected O, or B- or I- and one of "
                f"{', '.join(columns.types)}. Name its type in `types`, or change `tag_column`."
            )
        try:
            tags.append(next_tag(tag, tags[-1] if tags else OUTSIDE, columns.scheme))
        except TagError as error:
            raise ConllError(f"{line.where}: {error}") from None
        words.append(word)
    return tuple(words), tuple(tags)
