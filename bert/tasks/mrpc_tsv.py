"""Reader of MRPC in both published layouts.

- "glue": one TSV file a split, train.tsv or dev.tsv.
- "microsoft": msr_paraphrase_train.txt and GLUE's dev_ids.tsv, both for either split; the rows
  whose pair of ids is listed are the dev split, the others the train split. The file with the
  header is known by it, so their order does not matter.

Rows have five columns, `Quality`, `#1 ID`, `#2 ID`, `#1 String`, `#2 String`, after one header
line; quotation marks are text.

Source of the formats: Dolan and Brockett 2005; Wang et al. 2018 (GLUE), whose dev split both share.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bert.tasks.features import Role
from bert.tasks.glue_tsv import TableError, split_line
from bert.tasks.sentence import SentenceExample

Layout = Literal["glue", "microsoft"]

_HEADER = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
_FILES = {"glue": 1, "microsoft": 2}


def read_mrpc(
    files: Sequence[Path], layout: Layout, *, role: Role
) -> tuple[list[SentenceExample], int]:
    """All pairs of one split, in file order, and the number of rows of all splits in the files.

    Args:
        files: glue: the split's TSV. microsoft: msr_paraphrase_train.txt and dev_ids.tsv.
        layout: Layout of the files.
        role: The split, which chooses the rows of the layout "microsoft".

    Raises:
        TableError: Another number of files, a bad row, a pair that stands twice, a dev id without
            its row, or no pair at all.
    """
    expected = _FILES[layout]
    if len(files) != expected:
        raise TableError(
            f"The {role} split has {len(files)} files ({', '.join(map(str, files))}); layout "
            f"{layout!r} expects {expected}. Correct the list of files or `layout`."
        )
    # The file with the header first; a sort is stable, so without one the first is complained of.
    files = sorted(files, key=lambda file: _header(file) != _HEADER)
    rows = _read_rows(files[0])
    examples = rows if layout == "glue" else _select(rows, files[0], files[1], role)
    if not examples:
        raise TableError(
            f"{files[0]} has no pair for the {role} split; expected at least one. Fetch the files "
            "of this split again."
        )
    return examples, len(rows)


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and columns of each line."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            where = f"{file}, line {number}"
            yield where, split_line(line, where, first=number == 1)


def _header(file: Path) -> list[str]:
    return next(_lines(file), ("", []))[1]


def _read_rows(file: Path) -> list[SentenceExample]:
    lines = _lines(file)
    header = _header(file)
    if header != _HEADER:
        raise TableError(
            f"{file}, line 1 is {header[:6]}; expected the header {_HEADER}, separated by tabs. "
            "Give MRPC's file of sentence pairs."
        )
    next(lines)
    places: dict[str, str] = {}
    rows = []
    for where, columns in lines:
        row = _row(columns, where)
        if row.id in places:
            raise TableError(
                f"{where}: the pair {row.id} stands already in {places[row.id]}; expected each "
                "pair once, because predictions are told apart by it. Remove one."
            )
        places[row.id] = where
        rows.append(row)
    return rows


def _row(columns: list[str], where: str) -> SentenceExample:
    if len(columns) != len(_HEADER):
        raise TableError(
            f"{where} has {len(columns)} columns; expected {len(_HEADER)}, separated by tabs. "
            "The file was cut off or changed by an editor: fetch it again."
        )
    label, first_id, second_id, first, second = columns
    if label not in {"0", "1"}:
        raise TableError(f"{where}: Quality is {label!r}; expected 0 or 1. Correct the row.")
    for name, value in zip(_HEADER[1:], columns[1:], strict=True):
        if not value.strip():
            raise TableError(f"{where}: {name} is empty; expected text. Correct the row.")
    return SentenceExample(f"{first_id} {second_id}", first, second, int(label))


def _select(
    rows: list[SentenceExample], text: Path, ids: Path, role: Role
) -> list[SentenceExample]:
    """The rows of one split of Microsoft's layout."""
    listed = set()
    for where, columns in _lines(ids):
        if len(columns) != 2:
            raise TableError(
                f"{where} has {len(columns)} columns; expected the 2 ids of a pair. Give "
                "GLUE's dev_ids.tsv beside msr_paraphrase_train.txt."
            )
        listed.add(" ".join(columns))
    lost = sorted(listed - {row.id for row in rows})
    if lost:
        raise TableError(
            f"{len(lost)} of {len(listed)} pairs of {ids} have no row in {text}, e.g. "
            f"{lost[0]!r}; expected all. The two files do not belong together: fetch both again."
        )
    return [row for row in rows if (row.id in listed) == (role == "dev")]
