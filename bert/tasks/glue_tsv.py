r"""GLUE's tables: TSV files as published, one by one, in a folder, or in the published zip file.

A row is one line, ended by a line feed (a carriage return before it belongs to the end); columns
are separated by tabs. Quotation marks are text. The first line names the columns, but for CoLA.

Source: Wang et al. 2018; the files of https://dl.fbaipublicfiles.com/glue/data/.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple


class TableError(ValueError):
    """A file that is not usable as the task's table; names file and line."""


class RowError(TableError):
    """One row that is not usable."""


class Table(NamedTuple):
    """What is read of a file.

    Attributes:
        file: Its published name.
        first: Column of the sentence, or of the first.
        second: Column of the second sentence; None = there is none.
        label: Column of the label or value.
        id: Column of the id, which numbers the rows of GLUE's submissions; None = rows are
            numbered from 0.
        header: The columns of a file whose first line does not name them.
        part: The examples' `part`.
    """

    file: str
    first: str
    second: str | None
    label: str
    id: str | None = None
    header: tuple[str, ...] = ()
    part: str = ""


class Row(NamedTuple):
    """The cells of one row, and where it stands."""

    where: str
    id: str
    first: str
    second: str | None
    label: str


@contextmanager
def open_table(files: Sequence[Path], name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Opens the one file of that name; gives its place for messages and its bytes.

    Args:
        files: TSV files, or one zip file that has it in a folder.
        name: Its published name, "train.tsv".

    Raises:
        TableError: There is none, or more than one; or the zip file is broken.
    """
    packed = len(files) == 1 and files[0].suffix == ".zip"
    try:
        if not packed:
            chosen = _one([str(file) for file in files], name, "the files of the item")
            with Path(chosen).open("rb") as stream:
                yield chosen, stream
            return
        with zipfile.ZipFile(files[0]) as archive:
            # Deeper folders hold the data that the table was made of.
            members = [m for m in archive.namelist() if len(PurePosixPath(m).parts) <= 2]
            member = _one(members, name, str(files[0]))
            with archive.open(member) as stream:
                yield f"{files[0]}, {member}", stream
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TableError(f"{files[0]} is not a whole zip file: {error}. Fetch it again.") from None


def read_rows(stream: IO[bytes], where: str, table: Table) -> Iterator[Row | RowError]:
    """Yields the rows in file order; the error in place of a row that is not usable.

    Raises:
        TableError: The file is empty, or its first line lacks a column.
    """
    columns: list[str] = list(table.header)
    wanted = [table.first, table.second or table.first, table.label, table.id or table.first]
    for number, line in enumerate(stream, start=1):
        place = f"{where}, line {number}"
        if number == 1 and not columns:
            columns = _header(line, place, wanted)
            continue
        try:
            cells = split_line(line, place, first=number == 1)
            if len(cells) != len(columns):
                raise RowError(
                    f"{place} has {len(cells)} columns; expected {len(columns)}, separated by "
                    "tabs. The line was cut or joined: fetch the file again, or raise the task's "
                    "`max_bad_share`."
                )
        except RowError as error:
            yield error
            continue
        first, second, label, id = (cells[columns.index(name)] for name in wanted)
        index = number - (1 if table.header else 2)
        row = Row(place, id if table.id else str(index), first, second, label)
        yield row if table.second else row._replace(second=None)
    if not columns:
        raise TableError(f"{where} is empty; expected a table. Fetch it again.")


def split_line(line: bytes, where: str, *, first: bool) -> list[str]:
    """The columns of one line.

    Args:
        line: With its end.
        where: Its place.
        first: Whether it is the file's first line, which may begin with a byte-order mark.

    Raises:
        RowError: Not UTF-8.
    """
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"{where}: {error}; expected UTF-8. Convert the file.") from None
    return text.removesuffix("\n").removesuffix("\r").split("\t")


def _header(line: bytes, where: str, wanted: list[str]) -> list[str]:
    columns = split_line(line, where, first=True)
    lacking = sorted(set(wanted) - set(columns))
    if lacking or len(set(columns)) != len(columns):
        shown = columns if len(columns) <= 20 else [*columns[:20], "..."]
        problem = f"lacks {lacking}" if lacking else "names a column twice"
        raise TableError(
            f"{where} is {shown} and {problem}; expected the names of the columns as GLUE "
            "publishes them, separated by tabs. Give the task's own file with labels."
        )
    return columns


def _one(paths: Sequence[str], name: str, where: str) -> str:
    found = [path for path in paths if PurePosixPath(path).name == name]
    if len(found) != 1:
        others = sorted({PurePosixPath(path).name for path in paths})[:8]
        raise TableError(
            f"{where} has {len(found)} files named {name!r} (it has {others}); expected one, by "
            "the name that GLUE publishes it under. Correct the `fetch` item or its pattern."
        )
    return found[0]
