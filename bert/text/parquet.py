"""Parquet as published under wikimedia/wikipedia: columns id, url, title, text.

An item is a run of row groups, so several workers share a file. A row group whose text is too
large for that is streamed by the parent, which hands the rows out in pieces. The text of these
files has a paragraph, heading or list item a line; lines of a few words that end like no sentence
are headings, and left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bert.config import knob
from bert.text.documents import Document, NamedDocument
from bert.text.paragraphs import is_running_text
from bert.text.sentences import split_sentences
from bert.text.source import SourceConfig, relative_names
from bert.text.wikitext import clean_inline

COUNTS = ("files", "rows", "skipped_null", "skipped_empty")
_ITEM_BYTES = 2 << 20
_LARGEST_GROUP = 16 << 20
_ROWS_AT_ONCE = 64
_BUFFER_BYTES = 1 << 20
_TEXT = (pa.types.is_string, pa.types.is_large_string)
_WHOLE = (pa.types.is_integer,)

Row = tuple[str, str | None]


class ParquetError(ValueError):
    """A file that is no Parquet file, is damaged, or lacks a column."""


class ParquetConfig(SourceConfig):
    """Parquet files with a column of texts."""

    format: Literal["parquet"] = knob("Layout of the raw files: Parquet, one document a row.")
    text_column: str = knob('Column of the text; "text" in wikimedia/wikipedia.', min_length=1)
    id_column: str | None = knob(
        'Column of the documents\' names ("id"), text or whole numbers; null = file and row.',
        min_length=1,
    )


class Rows(NamedTuple):
    """Some consecutive rows of a file: by their row groups, or the rows themselves."""

    name: str  # of the file inside its source
    path: Path
    groups: range
    first_row: int  # in the file, from 0
    size: int  # bytes of text, uncompressed
    rows: list[Row] | None


def list_items(files: Sequence[Path], config: ParquetConfig) -> Iterator[Rows]:
    """Yields runs of row groups of about 2 MiB of text; pieces of larger groups with their rows.

    Raises:
        ParquetError: A file is damaged, or lacks a column.
    """
    for path, name in zip(files, relative_names(files), strict=True):
        with _open(path, config) as file:
            yield from _cut(file, path, name, config)


def _cut(file: pq.ParquetFile, path: Path, name: str, config: ParquetConfig) -> Iterator[Rows]:
    sizes = [_text_bytes(file, group, config) for group in range(file.num_row_groups)]
    rows = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
    first_rows = [0, *accumulate(rows)]
    for groups in _runs(sizes):
        size, first_row = sum(sizes[groups.start : groups.stop]), first_rows[groups.start]
        if size > _LARGEST_GROUP:
            yield from _stream(file, path, name, groups, first_row, config)
        else:
            yield Rows(name, path, groups, first_row, size, None)


def _text_bytes(file: pq.ParquetFile, group: int, config: ParquetConfig) -> int:
    metadata = file.metadata.row_group(group)
    columns = (metadata.column(number) for number in range(metadata.num_columns))
    return sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema == config.text_column
    )


def _runs(sizes: Sequence[int]) -> Iterator[range]:
    """Row groups by 2 MiB; a larger one is a run of its own. A file without any has one run."""
    start = size = 0
    for group, more in enumerate(sizes):
        if size + more > _ITEM_BYTES and group > start:
            yield range(start, group)
            start, size = group, 0
        size += more
    yield range(start, len(sizes))


def _stream(
    file: pq.ParquetFile,
    path: Path,
    name: str,
    groups: range,
    first_row: int,
    config: ParquetConfig,
) -> Iterator[Rows]:
    rows: list[Row] = []
    size = 0
    with _named(path):
        batches = file.iter_batches(
            _ROWS_AT_ONCE, list(groups), columns=_columns(config), use_threads=False
        )
        for batch in batches:
            rows += _rows(batch, config)
            size += batch.nbytes
            if size >= _ITEM_BYTES:
                yield Rows(name, path, groups, first_row, size, rows)
                first_row += len(rows)
                rows, size = [], 0
    if rows:
        yield Rows(name, path, groups, first_row, size, rows)


def read_item(item: Rows, config: ParquetConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of some rows and the counters to raise.

    Raises:
        ParquetError: The file is damaged, or a text is not UTF-8.
    """
    rows = _read_rows(item, config) if item.rows is None else item.rows
    documents = []
    names = ["files"] * (item.first_row == 0 and item.groups.start == 0)
    for row, (name, text) in enumerate(rows, start=item.first_row):
        document = _document(text or "")
        names.append("rows")
        if document:
            documents.append(NamedDocument(name or f"{item.name}:{row}", document))
        else:
            names.append("skipped_null" if text is None else "skipped_empty")
    return documents, tuple(names)


def _read_rows(item: Rows, config: ParquetConfig) -> list[Row]:
    with _open(item.path, config) as file, _named(item.path):
        table = file.read_row_groups(list(item.groups), columns=_columns(config), use_threads=False)
        return _rows(table, config)


def _rows(table: pa.Table | pa.RecordBatch, config: ParquetConfig) -> list[Row]:
    texts = table.column(config.text_column).to_pylist()
    if config.id_column is None:
        return [("", text) for text in texts]
    ids = table.column(config.id_column).to_pylist()
    names = [" ".join(str(id_).split()) if id_ is not None else "" for id_ in ids]
    return list(zip(names, texts, strict=True))


def _document(text: str) -> Document:
    paragraphs = map(clean_inline, text.split("\n"))
    return [s for p in paragraphs if is_running_text(p) for s in split_sentences(p)]


def _columns(config: ParquetConfig) -> list[str]:
    return [config.text_column] + ([config.id_column] if config.id_column else [])


@contextmanager
def _open(path: Path, config: ParquetConfig) -> Iterator[pq.ParquetFile]:
    """Opens a file with bounded buffers and checks its columns."""
    with _named(path):
        file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    with file:
        types = {field.name: field.type for field in file.schema_arrow}
        _check_column(path, "text_column", config.text_column, types, _TEXT)
        if config.id_column is not None:
            _check_column(path, "id_column", config.id_column, types, (*_TEXT, *_WHOLE))
        yield file


def _check_column(
    path: Path,
    key: str,
    name: str,
    types: Mapping[str, pa.DataType],
    allowed: Sequence[Callable[[pa.DataType], bool]],
) -> None:
    if name not in types:
        raise ParquetError(
            f"{path} has no column {name!r} (it has {', '.join(types)}); correct `{key}`."
        )
    if not any(is_type(types[name]) for is_type in allowed):
        raise ParquetError(
            f"{path}: column {name!r} holds {types[name]}; expected text"
            f"{' or whole numbers' if len(allowed) > len(_TEXT) else ''}. Correct `{key}`."
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ParquetError(
            f"{path} is no whole Parquet file ({error}); expected one. Fetch it again."
        ) from None
