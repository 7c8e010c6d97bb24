"""Work that goes on where it stopped: a job of many units keeps the units that are whole.

A unit is one file or a few that a worker writes, each whole or not at all, and then their receipt
with their digests. The units lie in a folder beside the output whose name says what the work is
made of: config, inputs and code. A job that was killed and starts again finds the same folder, and
does only what has no valid receipt; when its identity has changed, the old folder is of no use and
is deleted. At the end the receipts are taken out, and the folder takes the place of the output.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bert.manifest import atomic_directory, sha256_file, sha256_json, write_json
from bert.text.ordered import ONE_BATCH_EACH, map_in_order

Unit = TypeVar("Unit")
Receipt = dict[str, Any]

_RECEIPTS = ".receipts"


@contextmanager
def work_folder(output: Path, identity: Any) -> Iterator[Path]:
    """Yields the folder of this work; on success it takes the place of `output`.

    After an exception, or a kill, it stays for the next start.

    Args:
        output: The folder to be made.
        identity: Plain data that the result depends on.
    """
    folder = output.with_name(f".{output.name}.{sha256_json(identity)[:16]}.work")
    for other in output.parent.glob(f".{output.name}.*.work"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    with atomic_directory(output) as whole:
        for file in sorted(folder.iterdir()):
            if not file.name.startswith("."):
                file.rename(whole / file.name)
    shutil.rmtree(folder)


def finish_units(
    folder: Path,
    units: Mapping[str, Unit],
    function: Callable[[Unit, Path], tuple[list[Path], Receipt]],
    *,
    workers: int,
) -> list[Receipt]:
    """Runs `function` for the units that are not whole yet; results of all, in order.

    Args:
        folder: The work folder.
        units: Name to what `function` gets; picklable.
        function: Picklable; writes files into the folder it is given, each with `atomic_file`, and
            returns them and a result of plain data.
        workers: Processes; 1 runs in this process.

    Raises:
        ChildProcessError: A process was killed, most likely by lack of memory.
    """
    results = {name: _whole(folder, name) for name in units}
    missing = {name: unit for name, unit in units.items() if results[name] is None}
    run = partial(_run, folder, function)
    for name, result in zip(
        missing,
        map_in_order(
            run,
            missing.items(),
            weight=lambda _: ONE_BATCH_EACH,
            workers=max(1, min(workers, len(missing))),
        ),
        strict=True,
    ):
        results[name] = result
    return [result for result in results.values() if result is not None]


def _run(
    folder: Path,
    function: Callable[[Unit, Path], tuple[list[Path], Receipt]],
    named: tuple[str, Unit],
) -> Receipt:
    name, unit = named
    files, result = function(unit, folder)
    digests = {file.name: sha256_file(file) for file in files}
    write_json(_receipt(folder, name), {"files": digests, "result": result})
    return result


def _whole(folder: Path, name: str) -> Receipt | None:
    """The result of a unit whose files are all there as its receipt says."""
    path = _receipt(folder, name)
    if not path.exists():
        return None
    receipt = json.loads(path.read_bytes())
    for file, digest in receipt["files"].items():
        if not (folder / file).exists() or sha256_file(folder / file) != digest:
            return None
    result: Receipt = receipt["result"]
    return result


def _receipt(folder: Path, name: str) -> Path:
    return folder / _RECEIPTS / f"{name}.json"
