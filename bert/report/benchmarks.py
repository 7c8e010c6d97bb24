"""Time and memory of the stages, from the benchmark files that Snakemake writes.

A benchmark file is a table with tab stops: one line of names (s, h:m:s, max_rss, ..., cpu_time) and
one line for each time the job ran. Snakemake writes `NA` or `-` for what it could not measure,
which is usual for jobs shorter than its first look. Source: Snakemake's documentation, "Benchmark
Rules".
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MEGABYTE = 2**20
_UNKNOWN = {"", "-", "NA", "None", "nan", "NaN"}


class BenchmarkError(ValueError):
    """A benchmark file that does not hold Snakemake's table."""


@dataclass(frozen=True)
class Cost:
    """What a stage took, all its jobs together.

    Attributes:
        runs: Lines of its benchmark files: how often a job of the stage ran.
        seconds: Sum of the wall-clock times. Jobs may have run side by side.
        cpu_seconds: Sum of processor time where it was measured; None if nowhere.
        peak_bytes: Highest resident memory of any job where it was measured; None if nowhere.
    """

    runs: int
    seconds: float
    cpu_seconds: float | None
    peak_bytes: float | None


def read_costs(root: Path, files: Iterable[Path]) -> dict[str, Cost]:
    """Reads benchmark files and sums them up by stage.

    Args:
        root: The folder `benchmarks` of the run.
        files: Files below it; the first folder (or the file's own name) is the stage.

    Raises:
        BenchmarkError: A file has no column `s`, or a value is not a number.
    """
    rows: dict[str, list[dict[str, float | None]]] = {}
    for file in files:
        stage = file.relative_to(root).parts[0].removesuffix(".tsv")
        rows.setdefault(stage, []).extend(_read(file))
    return {stage: _cost(found) for stage, found in rows.items() if found}


def _read(file: Path) -> list[dict[str, float | None]]:
    with file.open(encoding="utf-8", newline="") as stream:
        table = csv.DictReader(stream, delimiter="\t")
        if "s" not in (table.fieldnames or []):
            raise BenchmarkError(
                f"{file} has the columns {table.fieldnames}; expected a Snakemake benchmark with "
                "the column 's'. Delete it; Snakemake writes it when the job runs again."
            )
        names = ("s", "max_rss", "cpu_time")
        return [{name: _number(row.get(name), file, name) for name in names} for row in table]


def _number(text: str | None, file: Path, name: str) -> float | None:
    if text is None or text in _UNKNOWN:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise BenchmarkError(
            f"{file}: {name} is {text!r}; expected a number of 0 or more. Delete the file; "
            "Snakemake writes it when the job runs again."
        )
    return value


def _cost(rows: list[dict[str, float | None]]) -> Cost:
    cpu = [row["cpu_time"] for row in rows if row["cpu_time"] is not None]
    memory = [row["max_rss"] for row in rows if row["max_rss"] is not None]
    return Cost(
        runs=len(rows),
        seconds=math.fsum(row["s"] or 0.0 for row in rows),
        cpu_seconds=math.fsum(cpu) if cpu else None,
        peak_bytes=_MEGABYTE * max(memory) if memory else None,
    )
