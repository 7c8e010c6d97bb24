"""Writes files of the format in `bert.data.shards`, piece by piece, in memory of one piece.

A contiguous HDF5 array needs its length before its first byte. So each array is spooled, at first
in memory, then to a file without a name beside the target, which vanishes with the process however
it ends; at the end it is copied into place, and the digest is taken on the way.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bert.data.hdf5_file import create_hdf5
from bert.data.shards import (
    FIELDS,
    FORMAT,
    MASK_FIELDS,
    VERSION,
    Instances,
    ShardInfo,
    field_dtypes,
    stored_offsets_dtype,
)

_SPOOLED_IN_MEMORY = 16 << 20
_BYTES_AT_ONCE = 1 << 20


class InstanceWriter:
    """Takes instances in their final order; made by `open_writer`."""

    def __init__(self, info: ShardInfo, spools: Mapping[str, IO[bytes]]) -> None:
        """Starts a file; `spools` maps the names of its arrays to open files."""
        self._spools = spools
        self._dtypes = field_dtypes(info.vocab_size)
        self.lengths = dict.fromkeys(spools, 0)
        for name in spools:
            if name.endswith("offsets"):
                self._put(name, np.zeros(1, np.uint64))

    def append(self, instances: Instances) -> None:
        """Adds instances after those before.

        Raises:
            ValueError: They have static masks and the file has not, or the other way round; or an
                array has another dtype than the format.
        """
        arrays = instances.arrays()
        if arrays.keys() != self._spools.keys():
            raise ValueError(
                f"Instances have the arrays {list(arrays)}, the file {list(self._spools)}; static "
                "masks are for all instances of a file or for none."
            )
        tokens, targets = self.lengths["input_ids"], self.lengths.get("masked_lm_ids", 0)
        for name, array in arrays.items():
            base = np.uint64(tokens if name == "offsets" else targets)
            self._put(name, array[1:] + base if name.endswith("offsets") else array)

    def _put(self, name: str, array: NDArray[Any]) -> None:
        if array.dtype != self._dtypes[name]:
            raise ValueError(
                f"{name} is {array.dtype}; the format has {np.dtype(self._dtypes[name])} for this "
                "vocabulary. Convert it first."
            )
        self._spools[name].write(np.ascontiguousarray(array).data)
        self.lengths[name] += len(array)


@contextmanager
def open_writer(
    path: Path,
    info: ShardInfo,
    *,
    seed: int,
    config: Mapping[str, Any],
    has_masks: bool = False,
    memory: int = _SPOOLED_IN_MEMORY,
    more: Mapping[str, Any] | None = None,
) -> Iterator[InstanceWriter]:
    """Yields a writer of one file. Equal instances give equal bytes, however they are cut.

    The file appears at `path` when the block ends without an exception; write to a temporary path
    if a half-written one must not be seen.

    Args:
        path: The file.
        info: What it must agree on with its companions.
        seed: Of the stage that writes it.
        config: The resolved section, plain data.
        has_masks: Whether the instances carry static masks.
        memory: Bytes of an array that are kept in memory before they go to a nameless file.
        more: Further attributes; read when the block ends, so it may still be filled.
    """
    names = FIELDS + MASK_FIELDS if has_masks else FIELDS
    with ExitStack() as stack:
        spools = {
            name: stack.enter_context(SpooledTemporaryFile(memory, dir=str(path.parent)))
            for name in names
        }
        writer = InstanceWriter(info, spools)
        yield writer
        attributes = info._asdict() | {
            "continuation_ids": np.frombuffer(info.continuation_ids, np.uint8),
            "seed": seed,
            "config": json.dumps(config, sort_keys=True),
        }
        _assemble(path, spools, writer.lengths, attributes | dict(more or {}))


def write_instances(
    path: Path, instances: Instances, info: ShardInfo, *, seed: int, config: Mapping[str, Any]
) -> None:
    """Writes one file at once. Equal arguments give equal bytes."""
    with open_writer(path, info, seed=seed, config=config, has_masks=instances.has_masks) as writer:
        writer.append(instances)


def _assemble(
    path: Path,
    spools: Mapping[str, IO[bytes]],
    lengths: Mapping[str, int],
    attributes: dict[str, Any],
) -> None:
    """Copies the spooled arrays into one HDF5 file: no time stamps, no library banner."""
    dtypes = field_dtypes(int(attributes["vocab_size"]))
    hasher = hashlib.sha256()
    with create_hdf5(path) as file:
        for name, spool in spools.items():
            stored = dtypes[name]
            if name.endswith("offsets"):
                ragged = "input_ids" if name == "offsets" else "masked_lm_ids"
                stored = stored_offsets_dtype(lengths[ragged])
            dataset = file.create_dataset(name, (lengths[name],), stored, track_times=False)
            spool.seek(0)
            start = 0
            while data := spool.read(_BYTES_AT_ONCE):
                piece = np.frombuffer(data, dtypes[name])
                dataset[start : start + len(piece)] = piece
                hasher.update(data)
                start += len(piece)
        attributes |= {
            "format": FORMAT,
            "version": VERSION,
            "num_instances": lengths["segment_b_start"],
            "num_tokens": lengths["input_ids"],
            "digest": hasher.hexdigest(),
        }
        for name in sorted(attributes):
            file.attrs[name] = attributes[name]
