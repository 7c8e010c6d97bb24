"""The plan as a table for the terminal."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bert.log import human_time
from bert.plan.stages import Row, needed_disk

_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_HEAD = ("stage", "jobs", "disk", "memory/job", "core-hours", "time")


def free_bytes(folder: Path) -> float:
    """Bytes free on the disk that `folder`, which need not exist yet, will stand on."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return float(shutil.disk_usage(there).free)


def human_bytes(size: float) -> str:
    """Bytes as a short text: 13.0 GB, 231 kB, 0."""
    for unit, worth in _UNITS:
        if size >= worth:
            number = size / worth
            return f"{number:.1f} {unit}" if number < 100 else f"{number:.0f} {unit}"
    return f"{size:.0f} B" if size else "0"


def page(rows: Sequence[Row], *, cores: int, free: float) -> str:
    """The table, the sums of what is still to do, and the disk that is there.

    Args:
        rows: As `bert.plan.stages.plan` gives them.
        cores: Cores that the times are for.
        free: Bytes free where the results will stand.
    """
    left = [row for row in rows if not row.done]
    lines = [_HEAD, *map(_line, rows)]
    total = (
        "still to do",
        str(sum(row.jobs for row in left)),
        human_bytes(needed_disk(list(rows))),
        human_bytes(max((row.memory for row in left), default=0.0)),
        _hours(sum(row.core_seconds for row in left)),
        human_time(sum(row.wall_seconds for row in left)),
    )
    table = _align([*lines, total])
    rule = "-" * len(table[0])
    body = "\n".join([table[0], rule, *table[1:-1], rule, table[-1]])
    return (
        f"{body}\n\nTimes are for {cores} {'core' if cores == 1 else 'cores'}, one job after "
        f"another, without downloads. Free disk: {human_bytes(free)}.\n"
    )


def _line(row: Row) -> tuple[str, ...]:
    if row.done:
        return row.stage, str(row.jobs), "done", "", "", ""
    time = human_time(row.wall_seconds) if row.wall_seconds >= 0.5 else "-"
    return (
        row.stage,
        str(row.jobs),
        human_bytes(row.disk),
        human_bytes(row.memory),
        _hours(row.core_seconds),
        time,
    )


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    if not hours:
        return "-"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}" if hours < 1 else f"{hours:.1f}"


def _align(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
