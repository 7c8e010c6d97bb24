"""The file of a task's features, version 1: ragged HDF5, written once and read by every run.

| name | dtype | shape | meaning |
|---|---|---|---|
| `input_ids` | uint16 or uint32 | [sum of lengths] | all features end to end, with [CLS], [SEP] |
| `offsets` | uint32 or uint64 | [N + 1] | feature i is input_ids[offsets[i]:offsets[i+1]] |
| `segment_b_start` | uint16 | [N] | index of B's first token; 0 = no B |
| `targets` | int8 to int64, or float64 | [sum of targets] | targets end to end; empty for "dev" |
| `target_offsets` | as `offsets` | [N + 1] | targets of feature i, as in `offsets` |
| `example` | uint32 | [N] | the example that feature i was made from |
| `place.<field>` | the field's own | [sum of rows, ...] | a field of the places, end to end |
| `place.<field>.offsets` | as `offsets` | [N + 1] | rows of feature i's place, as in `offsets` |

A place is a named tuple of arrays; the last two are there once a field, or not at all. Attributes:
`format`, `version`, `vocabulary_sha256`, `task` (JSON of the resolved section), `counts` (JSON),
`places` (JSON, names of the fields) and `digest` (sha256 of counts, places and the arrays as
stored, in the order of their names). `input_ids`, `targets` and offsets have the smallest of their
dtypes that holds all values. All arrays are contiguous, and equal features give equal bytes.
"""

import hashlib
import json
from collections import namedtuple
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from bert.config import Section
from bert.data.hdf5_file import create_hdf5
from bert.data.ragged import offsets_of
from bert.manifest import atomic_file
from bert.tasks.features import Feature, FeatureSet

FORMAT, VERSION = "bert-features", 1
_OFFSETS_OF = {"input_ids": "offsets", "targets": "target_offsets"}
_DTYPES: dict[str, tuple[type[np.integer[Any]], ...]] = {
    "input_ids": (np.uint16, np.uint32),
    "offsets": (np.uint32, np.uint64),
    "targets": (np.int8, np.int16, np.int32, np.int64),
}


class FeaturesFileError(ValueError):
    """A file that is not a whole file of this format, or was made of something else."""


class Packed(NamedTuple):
    """Features as the arrays of the file, with lengths in place of offsets.

    Attributes:
        arrays: `segment_b_start`, `example` and all ragged arrays by their name in the file.
        lengths: Name of a ragged array to its items' lengths, int64 [N].
        fields: Names of the places' fields.
        counts: Of the feature set.
    """

    arrays: dict[str, NDArray[Any]]
    lengths: dict[str, NDArray[np.int64]]
    fields: tuple[str, ...]
    counts: dict[str, int]


def pack(feature_set: FeatureSet[Any], first_example: int = 0) -> Packed:
    """Features end to end, in a thousandth of the objects; no arrays where there are no features.

    Args:
        feature_set: Its places are named tuples of arrays, all of one type.
        first_example: Added to the index of each example, for a set made of a part of them.
    """
    features, places = feature_set.features, feature_set.places
    if not features:
        return Packed({}, {}, (), feature_set.counts)
    arrays: dict[str, NDArray[Any]] = {
        "segment_b_start": np.array([f.segment_b_start for f in features], np.uint16),
        "example": np.array([f.example + first_example for f in features], np.uint32),
        "input_ids": np.concatenate([f.input_ids for f in features]),
        "targets": np.array([target for f in features for target in f.targets]),
    }
    lengths = {
        "input_ids": [len(f.input_ids) for f in features],
        "targets": [len(f.targets) for f in features],
    }
    fields = tuple(places[0]._fields) if places else ()
    for field in fields:
        rows = [getattr(place, field) for place in places]
        arrays[f"place.{field}"] = np.concatenate(rows)
        lengths[f"place.{field}"] = [len(array) for array in rows]
    whole = {name: np.array(values, np.int64) for name, values in lengths.items()}
    return Packed(arrays, whole, fields, feature_set.counts)


def join(pieces: Sequence[Packed]) -> Packed:
    """Packed features of all pieces, one after another; their counts added up."""
    full = [piece for piece in pieces if piece.arrays] or [pieces[0]]
    arrays, lengths, fields, _ = full[0]
    return Packed(
        {name: np.concatenate([piece.arrays[name] for piece in full]) for name in arrays},
        {name: np.concatenate([piece.lengths[name] for piece in full]) for name in lengths},
        fields,
        {name: sum(piece.counts[name] for piece in pieces) for name in pieces[0].counts},
    )


def write_features(path: Path, packed: Packed, task: Section, vocabulary_sha256: str) -> None:
    """Writes the file whole or not at all. Equal arguments give equal bytes.

    Args:
        path: The file.
        packed: See `pack`.
        task: The resolved task section that the features were made with.
        vocabulary_sha256: Digest of the vocabulary that they were made with.
    """
    arrays = {name: _stored(name, array) for name, array in packed.arrays.items()}
    for name, lengths in packed.lengths.items():
        arrays[_offsets_name(name)] = _stored("offsets", offsets_of(lengths))
    counts, places = json.dumps(packed.counts), json.dumps(packed.fields)
    attributes = {
        "counts": counts,
        "digest": _digest(arrays, counts, places),
        "format": FORMAT,
        "places": places,
        "task": _json(task),
        "version": VERSION,
        "vocabulary_sha256": vocabulary_sha256,
    }
    with atomic_file(path) as temporary, create_hdf5(temporary) as file:
        for name in sorted(arrays):
            file.create_dataset(name, data=arrays[name], track_times=False)
        for name, value in attributes.items():
            file.attrs[name] = value


def read_features(path: Path, task: Section, vocabulary_sha256: str) -> FeatureSet[Any]:
    """Reads the features back, places included.

    Args:
        path: The file.
        task: The resolved task section; the file must have been made with the same.
        vocabulary_sha256: Digest of the vocabulary; likewise.

    Returns:
        The features as the task made them; a place has the names and arrays of the task's own.

    Raises:
        FileNotFoundError: There is no such file.
        FeaturesFileError: Another kind of file, cut short, damaged, or made with another task
            section or vocabulary.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; the rule `features` writes it.")
    with _open(path) as file:
        _check_maker(path, file, task, vocabulary_sha256)
        arrays = {name: file[name][...] for name in file}
        stated = {name: str(file.attrs[name]) for name in ("digest", "counts", "places")}
        digest = _digest(arrays, stated["counts"], stated["places"])
    if digest != stated["digest"]:
        raise FeaturesFileError(
            f"{path} has the digest {digest} but states {stated['digest']}; the file is damaged. "
            "Delete it and run the rule `features` again."
        )
    ids = _items(arrays | {"input_ids": arrays["input_ids"].astype(np.int64)}, "input_ids")
    targets = [tuple(values.tolist()) for values in _items(arrays, "targets")]
    starts, examples = arrays["segment_b_start"].tolist(), arrays["example"].tolist()
    features = list(map(Feature, ids, starts, targets, examples))
    places = _places(arrays, json.loads(stated["places"]))
    return FeatureSet(features, places, json.loads(stated["counts"]))


def _places(arrays: dict[str, NDArray[Any]], fields: list[str]) -> list[Any]:
    if not fields:
        return []
    place = namedtuple("Place", fields)  # type: ignore[misc]
    columns = [_items(arrays, f"place.{field}") for field in fields]
    return [place(*values) for values in zip(*columns, strict=True)]


def _items(arrays: dict[str, NDArray[Any]], name: str) -> list[NDArray[Any]]:
    """The items of a ragged array, as views of it."""
    return np.split(arrays[name], arrays[_offsets_name(name)][1:-1].astype(np.int64))


def _offsets_name(name: str) -> str:
    return _OFFSETS_OF.get(name, f"{name}.offsets")


def _stored(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Values in the first dtype of their array that holds them all; others as they are."""
    if name not in _DTYPES or (values.size and values.dtype.kind == "f"):
        return values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    limits = ((dtype, np.iinfo(dtype)) for dtype in _DTYPES[name])
    fitting = [dtype for dtype, limit in limits if limit.min <= low and high <= limit.max]
    return values.astype(fitting[0])


def _digest(arrays: dict[str, NDArray[Any]], *attributes: str) -> str:
    hasher = hashlib.sha256("\n".join(attributes).encode())
    for name in sorted(arrays):
        hasher.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        hasher.update(arrays[name].tobytes())
    return hasher.hexdigest()


def _json(task: Section) -> str:
    return json.dumps(task.model_dump(mode="json"), sort_keys=True)


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Opens a file for reading; what h5py raises of a damaged one becomes one error."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FeaturesFileError:
        raise
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise FeaturesFileError(
            f"{path} cannot be read as HDF5 ({error}); it is cut short, damaged or another kind "
            "of file. Delete it and run the rule `features` again."
        ) from None


def _check_maker(path: Path, file: h5py.File, task: Section, vocabulary_sha256: str) -> None:
    found = file.attrs.get("format"), file.attrs.get("version")
    if found != (FORMAT, VERSION):
        raise FeaturesFileError(
            f"{path} says format and version {found}; expected ('{FORMAT}', {VERSION}). It is no "
            "file of the rule `features` of this version; run that again."
        )
    made = {"task": _json(task), "vocabulary_sha256": vocabulary_sha256}
    for name, expected in made.items():
        if file.attrs[name] != expected:
            raise FeaturesFileError(
                f"{path} was made with {name} {file.attrs[name]}; expected {expected}. Run the "
                "rule `features` again with the section and the vocabulary of this run."
            )
