"""The instance and shard format, version 1: ragged HDF5, unmasked unless masks are static.

| name | dtype | shape | meaning |
|---|---|---|---|
| `input_ids` | uint16 or uint32 | [sum of lengths] | all instances end to end, with [CLS], [SEP] |
| `offsets` | uint32 or uint64 | [N + 1] | instance i is input_ids[offsets[i]:offsets[i+1]] |
| `segment_b_start` | uint16 | [N] | index of B's first token; 0 = no B |
| `next_sentence_labels` | uint8 | [N] | IS_NEXT = 0, IS_RANDOM = 1 (or A and B swapped) |
| `masked_lm_offsets` | as `offsets` | [N + 1] | targets of instance i, as in `offsets` |
| `masked_lm_positions` | uint16 | [sum of targets] | place of a target in its instance, ascending |
| `masked_lm_ids` | as `input_ids` | [sum of targets] | the original token of each target |

The last three are there for static masks only; `input_ids` then holds the masked text. `input_ids`
is uint32 for a vocabulary over 65,536, and offsets are uint64 in a file of 2**32 tokens or more; in
memory they are uint64 always. Attributes of the file: `format`, `version`, `max_seq_length`,
`vocabulary_sha256`, `vocab_size`, `mask_id`, `special_ids`, `continuation_ids`, `seed`, `config`
(JSON of the resolved section), `num_instances`, `num_tokens` and `digest` (sha256 of the arrays
that are there, as in memory, in the table's order). All arrays are contiguous, so a reader can map
them. Per instance that is 4 + 2 + 1 bytes beside its tokens, 0.06 bytes a token at 110 tokens.

A file of the stage `encode` also says in which runs its instances stand, see `bert.data.runs`.
This module is the format's one definition, reader and check; `bert.data.shard_writer` writes it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, offsets_of, take_ranges

FORMAT, VERSION = "bert-instances", 1
IS_NEXT, IS_RANDOM = 0, 1
FIELDS = ("input_ids", "offsets", "segment_b_start", "next_sentence_labels")
MASK_FIELDS = ("masked_lm_offsets", "masked_lm_positions", "masked_lm_ids")


class ShardError(ValueError):
    """A file that is not a whole shard of this format, or that does not fit its companions."""


class Instances(NamedTuple):
    """Instances in memory, or memory-mapped; dtypes and shapes as in the module's table."""

    input_ids: NDArray[Any]
    offsets: NDArray[np.uint64]
    segment_b_start: NDArray[np.uint16]
    next_sentence_labels: NDArray[np.uint8]
    masked_lm_offsets: NDArray[np.uint64] | None = None
    masked_lm_positions: NDArray[np.uint16] | None = None
    masked_lm_ids: NDArray[Any] | None = None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each instance, [N] int64."""
        bounds = self.offsets.astype(np.int64)
        return bounds[1:] - bounds[:-1]

    @property
    def has_masks(self) -> bool:
        """Whether masks are stored; `input_ids` is then masked text."""
        return self.masked_lm_offsets is not None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by name, in the order of the table."""
        return {n: a for n, a in zip(self._fields, self, strict=True) if a is not None}


class ShardInfo(NamedTuple):
    """What all shards of a phase must agree on; the reader's copy of the file attributes."""

    max_seq_length: int
    vocabulary_sha256: str
    vocab_size: int
    mask_id: int
    special_ids: tuple[int, ...]
    continuation_ids: bytes = b""  # np.packbits of Vocabulary.is_continuation; b"" = not known

    def is_continuation(self) -> NDArray[np.bool_]:
        """Which ids are pieces that continue a word, bool [vocab_size].

        Raises:
            ShardError: The file does not say; it was not written by this project's `encode`.
        """
        if not self.continuation_ids:
            raise ShardError(
                "These shards do not say which tokens continue a word, so words cannot be masked "
                "whole. Mask tokens (masking.unit: token), or encode the text again."
            )
        bits = np.frombuffer(self.continuation_ids, np.uint8)
        return np.unpackbits(bits, count=self.vocab_size).astype(np.bool_)


def input_ids_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest of the two dtypes that holds every id of the vocabulary."""
    return np.uint16 if vocab_size <= 65_536 else np.uint32


def stored_offsets_dtype(end: int) -> type[np.uint32] | type[np.uint64]:
    """The smaller of the two dtypes that holds all offsets up to `end`."""
    return np.uint32 if end < 1 << 32 else np.uint64


def field_dtypes(vocab_size: int) -> dict[str, Any]:
    """Field name to dtype in memory, in the order of the table."""
    ids = input_ids_dtype(vocab_size)
    dtypes = (ids, np.uint64, np.uint16, np.uint8, np.uint64, np.uint16, ids)
    return dict(zip(FIELDS + MASK_FIELDS, dtypes, strict=True))


def digest(instances: Instances) -> str:
    """Hex sha256 of the arrays' bytes, little endian, in the order of the table."""
    hasher = hashlib.sha256()
    for array in instances.arrays().values():
        hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()


def read_info(path: Path) -> tuple[ShardInfo, int, int]:
    """Attributes of a shard, its number of instances and of tokens, without reading the arrays.

    Raises:
        ShardError: Not a shard of this format and version.
    """
    with open_shard(path) as file:
        attributes = file.attrs
        return info_of(file), int(attributes["num_instances"]), int(attributes["num_tokens"])


def read_instances(path: Path, *, verify: bool = True) -> tuple[Instances, ShardInfo]:
    """Opens a shard: tokens and targets memory-mapped, the small arrays in memory.

    Args:
        path: The file.
        verify: Also compares the digest, which reads all of it once.

    Raises:
        ShardError: Not a shard of this format and version, or damaged.
    """
    with open_shard(path) as file, _reading(path):
        stated, info = str(file.attrs["digest"]), info_of(file)
        instances = Instances(**{name: _read(path, file[name]) for name in fields_of(file)})
    _check_ends(path, instances)
    if verify and digest(instances) != stated:
        raise ShardError(
            f"{path} does not have the digest {stated} that it states; the file is damaged. "
            "Delete it and run its rule again."
        )
    return instances, info


def gather(instances: Instances, index: I64) -> Instances:
    """The instances at `index`, in that order, copied into memory."""
    starts, lengths = _ranges(instances.offsets, index)
    chosen = Instances(
        take_ranges(instances.input_ids, starts, lengths),
        offsets_of(lengths).astype(np.uint64),
        instances.segment_b_start[index],
        instances.next_sentence_labels[index],
    )
    offsets, positions, ids = instances[4:]
    if offsets is None or positions is None or ids is None:
        return chosen
    starts, lengths = _ranges(offsets, index)
    return chosen._replace(
        masked_lm_offsets=offsets_of(lengths).astype(np.uint64),
        masked_lm_positions=take_ranges(positions, starts, lengths),
        masked_lm_ids=take_ranges(ids, starts, lengths),
    )


def concatenate(pieces: Sequence[Instances], dtype: Any) -> Instances:
    """Instances of all pieces, one after another.

    Args:
        pieces: All with static masks, or all without.
        dtype: That of `input_ids`, which no piece tells when there is none.
    """
    dtypes = field_dtypes(1) | {"input_ids": dtype, "masked_lm_ids": dtype}
    joined: dict[str, NDArray[Any]] = {}
    for name in pieces[0].arrays() if pieces else Instances._fields[:4]:
        arrays = [getattr(piece, name) for piece in pieces]
        if name.endswith("offsets"):
            lengths = [np.diff(array.astype(np.int64)) for array in arrays]
            joined[name] = offsets_of(np.concatenate([np.zeros(0, np.int64), *lengths]))
        else:
            joined[name] = np.concatenate([np.zeros(0, dtypes[name]), *arrays])
    return Instances(**{name: array.astype(dtypes[name]) for name, array in joined.items()})


def check_same(path: Path, info: ShardInfo, expected: ShardInfo, *, companion: str) -> None:
    """Refuses a shard whose vocabulary or length is not that of its companions.

    Raises:
        ShardError: Names the field, both values and both files.
    """
    for name, found, wanted in zip(info._fields, info, expected, strict=True):
        if found != wanted:
            raise ShardError(
                f"{path} has {name} {found!s:.80}, but {companion} has {wanted!s:.80}; they were "
                "made with different settings or another vocabulary. Run the rules `encode` and "
                "`shard` again for both."
            )


def open_shard(path: Path) -> h5py.File:
    """Opens a shard for reading and checks format, fields and counts; the caller closes it.

    Raises:
        FileNotFoundError: There is no such file.
        ShardError: Not a shard of this format and version.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; the rules `encode` and `shard` write it.")
    try:
        # Shared file systems often cannot lock; a reader never needs to.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ShardError(
            f"{path} cannot be opened as HDF5 ({error}); it is cut short or is another kind of "
            "file. Delete it and run its rule again."
        ) from None
    try:
        with _reading(path):
            _check_format(path, file)
    except ShardError:
        file.close()
        raise
    return file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what h5py raises of a file whose inner tables are damaged into a ShardError."""
    try:
        yield
    except ShardError:
        raise
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise ShardError(
            f"{path} cannot be read ({error}); the file is damaged. Delete it and run its rule "
            "again."
        ) from None


def fields_of(file: h5py.File) -> tuple[str, ...]:
    """Names of the arrays of an open shard, in the order of the table."""
    return FIELDS + MASK_FIELDS if MASK_FIELDS[0] in file else FIELDS


def info_of(file: h5py.File) -> ShardInfo:
    """What an open shard must agree on with its companions."""
    attributes = file.attrs
    return ShardInfo(
        int(attributes["max_seq_length"]),
        str(attributes["vocabulary_sha256"]),
        int(attributes["vocab_size"]),
        int(attributes["mask_id"]),
        tuple(int(i) for i in attributes["special_ids"]),
        np.asarray(attributes.get("continuation_ids", []), np.uint8).tobytes(),
    )


def _ranges(offsets: Any, index: I64) -> tuple[I64, I64]:
    starts = offsets[index].astype(np.int64)
    return starts, offsets[index + 1].astype(np.int64) - starts


def _check_format(path: Path, file: h5py.File) -> None:
    found = file.attrs.get("format"), file.attrs.get("version")
    if found != (FORMAT, VERSION):
        raise ShardError(
            f"{path} says format and version {found}; expected ('{FORMAT}', {VERSION}). It was "
            f"not written by this project's `encode` or `shard` (fields: {sorted(file)})."
        )
    missing = [name for name in fields_of(file) if name not in file]
    if missing:
        raise ShardError(f"{path} lacks the fields {missing}; run its rule again.")
    count = int(file.attrs["num_instances"])
    expected = {name: count + name.endswith("offsets") for name in fields_of(file)}
    ragged = {"input_ids", "masked_lm_positions", "masked_lm_ids"}
    lengths = {name: len(file[name]) for name in expected if name not in ragged}
    if lengths != {name: expected[name] for name in lengths}:
        raise ShardError(f"{path} states {count} instances but has {lengths}; run its rule again.")


def _check_ends(path: Path, instances: Instances) -> None:
    ends = [("token", instances.offsets, instances.input_ids)]
    if instances.masked_lm_offsets is not None:
        ends += [
            ("target", instances.masked_lm_offsets, array)
            for array in (instances.masked_lm_positions, instances.masked_lm_ids)
            if array is not None
        ]
    for word, offsets, values in ends:
        if int(offsets[-1]) != len(values):
            raise ShardError(
                f"{path} ends at {word} {int(offsets[-1])} by its offsets but holds {len(values)}; "
                "the file is damaged. Delete it and run its rule again."
            )


def _read(path: Path, dataset: h5py.Dataset) -> NDArray[Any]:
    offset = dataset.id.get_offset()
    small = dataset.name.rsplit("/")[-1] not in (
        "input_ids",
        "masked_lm_positions",
        "masked_lm_ids",
    )
    if small or offset is None:  # None: compressed, chunked or empty
        array: NDArray[Any] = dataset[:]
        return array.astype(np.uint64) if dataset.name.endswith("offsets") else array
    return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
