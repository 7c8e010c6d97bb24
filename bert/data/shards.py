"""The instance and shard format, version 1: ragged, unmasked HDF5.

| name | dtype | shape | meaning |
|---|---|---|---|
| `input_ids` | uint16 or uint32 | [sum of lengths] | all instances end to end, with [CLS], [SEP] |
| `offsets` | uint64 | [N + 1] | instance i is input_ids[offsets[i]:offsets[i+1]] |
| `segment_b_start` | uint16 | [N] | index of B's first token; 0 = no B |
| `next_sentence_labels` | uint8 | [N] | IS_NEXT = 0, IS_RANDOM = 1 |

`input_ids` is uint32 for a vocabulary over 65,536. Attributes of the file: `format`, `version`,
`max_seq_length`, `vocabulary_sha256`, `vocab_size`, `mask_id`, `special_ids`, `seed`, `config`
(JSON of the resolved section), `num_instances`, `num_tokens` and `digest` (sha256 of the four
arrays, in the table's order). This module is the format's one writer, reader and check.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

FORMAT, VERSION = "bert-instances", 1
IS_NEXT, IS_RANDOM = 0, 1
_FIELDS = ("input_ids", "offsets", "segment_b_start", "next_sentence_labels")


class ShardError(ValueError):
    """A file that is not a whole shard of this format, or that does not fit its companions."""


class Instances(NamedTuple):
    """Instances in memory, or memory-mapped; dtypes and shapes as in the module's table."""

    input_ids: NDArray[Any]
    offsets: NDArray[np.uint64]
    segment_b_start: NDArray[np.uint16]
    next_sentence_labels: NDArray[np.uint8]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each instance, [N] int64."""
        bounds = self.offsets.astype(np.int64)
        return bounds[1:] - bounds[:-1]


class ShardInfo(NamedTuple):
    """What all shards of a phase must agree on; the reader's copy of the file attributes."""

    max_seq_length: int
    vocabulary_sha256: str
    vocab_size: int
    mask_id: int
    special_ids: tuple[int, ...]


def input_ids_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest of the two dtypes that holds every id of the vocabulary."""
    return np.uint16 if vocab_size <= 65_536 else np.uint32


def digest(instances: Instances) -> str:
    """Hex sha256 of the four arrays' bytes, little endian, in the order of the table."""
    hasher = hashlib.sha256()
    for array in instances:
        hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


def write_instances(
    path: Path, instances: Instances, info: ShardInfo, *, seed: int, config: dict[str, Any]
) -> None:
    """Writes one file. Equal arguments give equal bytes: no time stamps, no library banner."""
    with h5py.File(path, "w", libver="earliest") as file:
        for name, array in zip(_FIELDS, instances, strict=True):
            file.create_dataset(name, data=array, track_times=False)
        attributes = info._asdict() | {
            "format": FORMAT,
            "version": VERSION,
            "seed": seed,
            "config": json.dumps(config, sort_keys=True),
            "num_instances": len(instances.segment_b_start),
            "num_tokens": len(instances.input_ids),
            "digest": digest(instances),
        }
        for name in sorted(attributes):
            file.attrs[name] = attributes[name]


def read_info(path: Path) -> tuple[ShardInfo, int, int]:
    """Attributes of a shard, its number of instances and of tokens, without reading the arrays.

    Raises:
        ShardError: Not a shard of this format and version.
    """
    with _open(path) as file:
        attributes = _check_format(path, file)
        return _info(attributes), int(attributes["num_instances"]), int(attributes["num_tokens"])


def read_instances(path: Path, *, verify: bool = True) -> tuple[Instances, ShardInfo]:
    """Opens a shard: `input_ids` memory-mapped, the small arrays in memory.

    Args:
        path: The file.
        verify: Also compares the digest, which reads all of it once.

    Raises:
        ShardError: Not a shard of this format and version, or damaged.
    """
    with _open(path) as file:
        attributes = _check_format(path, file)
        small = [file[name][:] for name in _FIELDS[1:]]
        input_ids = _map(path, file["input_ids"])
    instances = Instances(input_ids, *small)
    if int(instances.offsets[-1]) != len(input_ids):
        raise ShardError(
            f"{path} ends at token {int(instances.offsets[-1])} by its offsets but holds "
            f"{len(input_ids)}; the file is damaged. Delete it and run its rule again."
        )
    if verify and digest(instances) != attributes["digest"]:
        raise ShardError(
            f"{path} does not have the digest {attributes['digest']} that it states; the file is "
            "damaged. Delete it and run its rule again."
        )
    return instances, _info(attributes)


def gather(instances: Instances, index: NDArray[np.int64]) -> Instances:
    """The instances at `index`, in that order, copied into memory."""
    starts = instances.offsets[index].astype(np.int64)
    lengths = instances.offsets[index + 1].astype(np.int64) - starts
    offsets = np.zeros(len(index) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    tokens = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Instances(
        instances.input_ids[tokens],
        offsets.astype(np.uint64),
        instances.segment_b_start[index],
        instances.next_sentence_labels[index],
    )


def concatenate(pieces: list[Instances], dtype: Any) -> Instances:
    """Instances of all pieces, one after another."""
    lengths = [piece.lengths for piece in pieces]
    offsets = np.zeros(sum(map(len, lengths)) + 1, np.int64)
    np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]), out=offsets[1:])
    return Instances(
        np.concatenate([np.zeros(0, dtype), *(piece.input_ids for piece in pieces)]),
        offsets.astype(np.uint64),
        np.concatenate([np.zeros(0, np.uint16), *(p.segment_b_start for p in pieces)]),
        np.concatenate([np.zeros(0, np.uint8), *(p.next_sentence_labels for p in pieces)]),
    )


def check_same(path: Path, info: ShardInfo, expected: ShardInfo, *, companion: str) -> None:
    """Refuses a shard whose vocabulary or length is not that of its companions.

    Raises:
        ShardError: Names the field, both values and both files.
    """
    for name, found, wanted in zip(info._fields, info, expected, strict=True):
        if found != wanted:
            raise ShardError(
                f"{path} has {name} {found}, but {companion} has {wanted}; they were made with "
                "different settings or another vocabulary. Run the rules `encode` and `shard` "
                "again for both."
            )


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; the rules `encode` and `shard` write it.")
    try:
        # Shared file systems often cannot lock; a reader never needs to.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ShardError(
            f"{path} cannot be opened as HDF5 ({error}); it is cut short or is another kind of "
            "file. Delete it and run its rule again."
        ) from None


def _check_format(path: Path, file: h5py.File) -> dict[str, Any]:
    attributes = dict(file.attrs)
    found = attributes.get("format"), attributes.get("version")
    if found != (FORMAT, VERSION):
        raise ShardError(
            f"{path} says format and version {found}; expected ('{FORMAT}', {VERSION}). It was "
            f"not written by this project's `encode` or `shard` (fields: {sorted(file)})."
        )
    missing = [name for name in _FIELDS if name not in file]
    if missing:
        raise ShardError(f"{path} lacks the fields {missing}; run its rule again.")
    count = int(attributes["num_instances"])
    lengths = {name: len(file[name]) for name in _FIELDS[1:]}
    if lengths != dict(zip(_FIELDS[1:], (count + 1, count, count), strict=True)):
        raise ShardError(f"{path} states {count} instances but has {lengths}; run its rule again.")
    return attributes


def _info(attributes: dict[str, Any]) -> ShardInfo:
    return ShardInfo(
        int(attributes["max_seq_length"]),
        str(attributes["vocabulary_sha256"]),
        int(attributes["vocab_size"]),
        int(attributes["mask_id"]),
        tuple(int(i) for i in attributes["special_ids"]),
    )


def _map(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    offset = dataset.id.get_offset()
    if offset is None:  # compressed, chunked or empty: written by another tool, or no tokens
        array: NDArray[Any] = dataset[:]
        return array
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
