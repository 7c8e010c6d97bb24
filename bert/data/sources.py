"""Instance files as the stage `shard` reads them: slices of runs, at their places in the file.

A file is opened only while it is read, one at a time, so any number of files can be merged under
any limit of open files; and a slice is read in one piece from where it stands.
"""

from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, offsets_of
from bert.data.runs import Runs, read_runs
from bert.data.shards import (
    Instances,
    ShardError,
    ShardInfo,
    check_same,
    fields_of,
    info_of,
    open_shard,
)

_RAGGED = {
    "input_ids": "offsets",
    "masked_lm_positions": "masked_lm_offsets",
    "masked_lm_ids": "masked_lm_offsets",
}


class Source(NamedTuple):
    """One instance file."""

    path: Path
    runs: Runs
    size: int  # bytes
    places: dict[str, tuple[int, np.dtype[Any]]]  # array name -> first byte in the file, dtype


def list_sources(files: Sequence[Path]) -> tuple[list[Source], ShardInfo]:
    """The files that hold an instance, in the given order, and the attributes they agree on.

    Raises:
        ShardError: Two files disagree on vocabulary, length, masks or the seed of their order, or
            are of the same part.
        ValueError: No instance at all.
    """
    sources: list[Source] = []
    companion: tuple[Path, ShardInfo] | None = None
    for path in files:
        with open_shard(path) as file:
            info = info_of(file)
            companion = companion or (path, info)
            check_same(path, info, companion[1], companion=str(companion[0]))
            if int(file.attrs["num_instances"]):
                places = {
                    name: (_place(path, file[name]), file[name].dtype)
                    for name in fields_of(file)
                    if len(file[name])
                }
                runs = read_runs(path, file)
                sources.append(Source(path, runs, path.stat().st_size, places))
    if companion is None or not sources:
        raise ValueError(
            f"{len(files)} instance files hold no instance; run the rule `encode` again."
        )
    _check_runs(sources)
    return sources, companion[1]


def read_slices(sources: Sequence[Source], low: I64, high: I64) -> Instances:
    """Instances low[r] up to high[r] of each run r, counted through all files, end to end.

    Raises:
        ShardError: A file is shorter than it says.
    """
    spans = _spans(sources, low, high)
    arrays: dict[str, NDArray[Any]] = {}
    bounds: dict[str, list[tuple[int, int]]] = {}
    for name in ("offsets", "masked_lm_offsets"):
        if name in sources[0].places:
            arrays[name], bounds[name] = _read_offsets(sources, spans, name)
    for name in ("segment_b_start", "next_sentence_labels"):
        arrays[name] = _read(sources, name, spans)
    for name, offsets in _RAGGED.items():
        if offsets in arrays:
            arrays[name] = _read(sources, name, bounds[offsets])
    return Instances(**arrays)


def _spans(sources: Sequence[Source], low: I64, high: I64) -> list[tuple[int, int]]:
    """The slices of the runs, each as a range of the instances of its file."""
    starts = np.concatenate([offsets_of(np.array(s.runs.sizes))[:-1] for s in sources])
    return list(zip((starts + low).tolist(), (starts + high).tolist(), strict=True))


def _read_offsets(
    sources: Sequence[Source], spans: list[tuple[int, int]], name: str
) -> tuple[NDArray[np.uint64], list[tuple[int, int]]]:
    """Offsets of all slices together, from 0, and each slice's range of tokens or targets."""
    borders = _read(sources, name, [(low, high + 1) for low, high in spans]).astype(np.int64)
    ends = np.cumsum([high - low + 1 for low, high in spans])
    last = ends - 1
    first = np.concatenate([[0], ends[:-1]])
    lengths = np.delete(np.diff(borders), last[:-1])  # what lies between two slices is no instance
    ranges = list(zip(borders[first].tolist(), borders[last].tolist(), strict=True))
    return offsets_of(lengths).astype(np.uint64), ranges


def _read(sources: Sequence[Source], name: str, ranges: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """Ranges of an array, one for each run, end to end."""
    # Offsets of a file are as wide as its tokens ask for; the widest of all files holds any.
    dtypes = [source.places[name][1] for source in sources if name in source.places]
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.uint16)
    out = np.empty(sum(high - low for low, high in ranges), dtype)
    done = run = 0
    for source in sources:
        with source.path.open("rb", buffering=0) as file:
            for low, high in ranges[run : run + len(source.runs.sizes)]:
                if high > low:
                    place, own = source.places[name]
                    piece = np.empty(high - low, own)
                    file.seek(place + low * own.itemsize)
                    _fill(source.path, file, piece)
                    out[done : done + high - low] = piece
                done += high - low
        run += len(source.runs.sizes)
    return out


def _fill(path: Path, file: FileIO, piece: NDArray[Any]) -> None:
    view = memoryview(piece.data).cast("B")
    while view.nbytes:
        count = file.readinto(view)
        if not count:
            raise ShardError(
                f"{path} ends {view.nbytes} bytes before the end of its arrays; it is cut short. "
                "Delete it and run the rule `encode` again."
            )
        view = view[count:]


def _place(path: Path, dataset: h5py.Dataset) -> int:
    offset = dataset.id.get_offset()
    if offset is None:
        raise ShardError(
            f"{path} holds {dataset.name} in chunks; expected contiguous arrays, as `encode` "
            "writes them. Run the rule `encode` again."
        )
    return int(offset)


def _check_runs(sources: Sequence[Source]) -> None:
    first = sources[0]
    parts: dict[int, Path] = {}
    for source in sources:
        mine = source.runs.seed, source.runs.phase, "masked_lm_offsets" in source.places
        theirs = first.runs.seed, first.runs.phase, "masked_lm_offsets" in first.places
        if mine != theirs:
            raise ShardError(
                f"{source.path} has (seed, phase, static masks) {mine}, but {first.path} has "
                f"{theirs}; they were encoded with different settings. Run the rule `encode` again."
            )
        if source.runs.part in parts:
            raise ShardError(
                f"{source.path} and {parts[source.runs.part]} are both of part "
                f"{source.runs.part}; each part belongs there once. Remove one of them."
            )
        parts[source.runs.part] = source.path
