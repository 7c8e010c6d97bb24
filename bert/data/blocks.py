"""A text part in blocks of about 8 MiB, tokenised: what one pass of the encoder holds in memory.

A block ends with a document. The blocks of a part are about equally large, so that the last one is
no sliver: the random next of a pair comes from another document of its block.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, offsets_of
from bert.data.tokenise import Tokeniser
from bert.text.documents import TextFormatError

_BLOCK_BYTES = 8 << 20
_GROUP_BYTES = 1 << 18  # of text that is held at a time


class Tokens(NamedTuple):
    """The tokenised documents of one block.

    Sentence s is ids[sentences[s]:sentences[s+1]]; document d is sentences documents[d] up to
    documents[d+1]. No document and no sentence is empty.
    """

    ids: NDArray[Any]  # [T], dtype of `input_ids`
    sentences: I64  # [S + 1]
    documents: I64  # [D + 1]


class Block(NamedTuple):
    """Consecutive documents of a part."""

    tokens: Tokens
    empty_documents: int  # without a token, such as control characters only: left out
    empty_sentences: int  # likewise, those of the empty documents included
    read: int  # bytes of the part up to the end of this block
    size: int  # bytes of the part


def read_blocks(
    path: Path, tokeniser: Tokeniser, block_bytes: int = _BLOCK_BYTES
) -> Iterator[Block]:
    """Yields a text part in blocks. A document without a token is left out with its sentences.

    Raises:
        TextFormatError: The file is not valid UTF-8; names the line.
    """
    size = path.stat().st_size
    blocks = max(1, round(size / block_bytes))
    first_line = 1
    with path.open("rb") as stream:
        for number in range(1, blocks + 1):
            end = size * number // blocks
            if stream.tell() >= end:  # the document before was longer than a block
                continue
            pieces = []
            for lines in _groups(stream, end):
                pieces.append(_tokenise(lines, tokeniser, path, first_line))
                first_line += len(lines)
            ids, lengths, blank = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
            yield Block(*_without_empty(ids, lengths, blank), stream.tell(), size)


def _groups(stream: IO[bytes], end: int) -> Iterator[list[bytes]]:
    """Lines up to the end of the first document that ends at `end` or later, some at a time.

    Lines come without the space around them; an empty one ends a document.
    """
    left = end - stream.tell()
    lines: list[bytes] = []
    held = 0
    while line := stream.readline():
        left -= len(line)
        held += len(line)
        line = line.strip()
        lines.append(line)
        if left <= 0 and not line:
            break
        if held >= _GROUP_BYTES:
            yield lines
            lines, held = [], 0
    if lines:
        yield lines


def _tokenise(
    lines: list[bytes], tokeniser: Tokeniser, path: Path, first_line: int
) -> tuple[NDArray[Any], I64, NDArray[np.bool_]]:
    """Token ids, tokens of each line, and whether it ends a document."""
    try:
        ids, lengths = tokeniser.text(b"\n".join(lines))
        is_blank = np.zeros(len(lines), np.bool_)
        for place in np.flatnonzero(lengths == 0).tolist():
            is_blank[place] = not lines[place].decode("utf-8").strip()  # spaces beyond ASCII, too
    except UnicodeDecodeError:
        _refuse(lines, path, first_line)
        raise
    return ids, lengths, is_blank


def _refuse(lines: list[bytes], path: Path, first_line: int) -> None:
    for number, line in enumerate(lines, first_line):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TextFormatError(
                f"{path}, line {number}: {error}; expected UTF-8. Convert the file to UTF-8."
            ) from None


def _without_empty(
    ids: NDArray[Any], lengths: I64, is_blank: NDArray[np.bool_]
) -> tuple[Tokens, int, int]:
    """Tokens of what has any, and the numbers of documents and of sentences that are left out."""
    has_tokens, document = lengths > 0, np.cumsum(is_blank)
    sentences = np.bincount(document[has_tokens])
    sentences = sentences[sentences > 0]
    tokens = Tokens(ids, offsets_of(lengths[has_tokens]), offsets_of(sentences))
    documents = int(np.count_nonzero(np.bincount(document[~is_blank])))
    return tokens, documents - len(sentences), int(np.count_nonzero(~has_tokens & ~is_blank))
