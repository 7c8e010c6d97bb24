"""Rows of GLUE's tables to examples; a row that is not usable is counted, or stops the run."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bert.tasks.glue_tsv import Row, RowError, Table, TableError, open_table, read_rows
from bert.tasks.sentence import SentenceExample

logger = logging.getLogger(__name__)


def read_tables(
    files: Sequence[Path],
    tables: Sequence[Table],
    label: Callable[[Row], float],
    max_bad_share: float,
) -> tuple[list[SentenceExample], dict[str, int]]:
    """The examples of a split's tables, in file order.

    Args:
        files: TSV files under their published names, or the published zip file.
        tables: What is read of them.
        label: Label of a row; raises RowError if it has none.
        max_bad_share: Share of a file's rows that may be unusable.

    Returns:
        The examples and the counts rows, bad_rows and examples.

    Raises:
        TableError: No such file, no table, too many unusable rows, or no example at all.
    """
    examples: list[SentenceExample] = []
    rows = 0
    for table in tables:
        with open_table(files, table.file) as (where, stream):
            found = list(_examples(read_rows(stream, where, table), table.part, label))
        errors = [one for one in found if isinstance(one, RowError)]
        _check_share(errors, len(found), max_bad_share, where)
        examples += [one for one in found if isinstance(one, SentenceExample)]
        rows += len(found)
    counts = {"rows": rows, "bad_rows": rows - len(examples), "examples": len(examples)}
    logger.info("Read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def named_label(row: Row, written: Sequence[str]) -> int:
    """Number of a row's label.

    Args:
        row: The row.
        written: The labels as files write them, in their order.

    Raises:
        RowError: It is none of them.
    """
    if row.label not in written:
        raise RowError(
            f"{row.where}: the label is {row.label!r}; expected one of {', '.join(written)}. "
            "Correct the row."
        )
    return written.index(row.label)


def scaled_value(row: Row, least: float, greatest: float) -> float:
    """A row's value.

    Raises:
        RowError: Not a number, or not on the scale.
    """
    try:
        value = float(row.label)
    except ValueError:
        value = math.nan
    if not least <= value <= greatest:
        raise RowError(
            f"{row.where}: the score is {row.label!r}; expected a number from {least:g} to "
            f"{greatest:g}. Correct the row."
        )
    return value


def _examples(
    rows: Iterator[Row | RowError], part: str, label: Callable[[Row], float]
) -> Iterator[SentenceExample | RowError]:
    places: dict[str, str] = {}
    for row in rows:
        try:
            if isinstance(row, RowError):
                raise row
            _check_texts(row)
            if row.id in places:
                raise RowError(
                    f"{row.where}: the id {row.id!r} stands already in {places[row.id]}; expected "
                    "each once, because predictions are told apart by it. Remove one."
                )
            id = f"{part}-{row.id}" if part else row.id
            example = SentenceExample(id, row.first, row.second, label(row), part)
        except RowError as error:
            yield error
            continue
        places[row.id] = row.where
        yield example


def _check_texts(row: Row) -> None:
    texts = {"the id": row.id, "the first sentence": row.first}
    if row.second is not None:
        texts["the second sentence"] = row.second
    for name, text in texts.items():
        if not text.strip():
            raise RowError(f"{row.where}: {name} is empty; expected text. Correct the row.")


def _check_share(errors: Sequence[RowError], rows: int, most: float, where: str) -> None:
    if not rows:
        raise TableError(f"{where} has no row below its header; expected examples. Fetch it again.")
    if errors and len(errors) > most * rows:
        raise TableError(
            f"{len(errors)} of {rows} rows of {where} are not usable; at most the share {most:g} "
            f"(`max_bad_share`) may be. The first: {errors[0]}"
        )
    if errors:
        logger.warning("Left out %d of %d rows; the first: %s", len(errors), rows, errors[0])
