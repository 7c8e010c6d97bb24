"""Where a log goes on: behind the lines of the steps that were not lost."""

import json
import mmap
from pathlib import Path


def cut_log(path: Path, step: int) -> None:
    """Cuts the file behind its last whole line of at most `step`.

    Lines stand in the order of their steps, so the cut is looked for from the end: a log of a
    million lines is opened as fast as one of ten.

    Args:
        path: metrics.jsonl; it need not exist.
        step: The step that the training goes on behind.

    Raises:
        ValueError: A line that was looked at is not JSON.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            # A process that was killed may have left half a line at the end.
            end = text.rfind(b"\n") + 1
            while end:
                start = text.rfind(b"\n", 0, end - 1) + 1
                if _step(text[start:end], path, start) <= step:
                    break
                end = start
        file.truncate(end)


def _step(line: bytes, path: Path, place: int) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has a damaged line at byte {place} ({error}). Delete the file: training goes "
            "on from its checkpoint and logs from there."
        ) from None
