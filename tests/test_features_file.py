"""What the features file holds comes back, and nothing else is taken for it."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.tasks.features import IGNORED, Feature, FeatureSet
from bert.tasks.features_file import (
    FeaturesFileError,
    join,
    pack,
    read_features,
    write_features,
)


class Task(Section):
    """A task's section."""

    length: int = knob("Longest sequence in tokens.")


class Place(NamedTuple):
    """Two arrays of different lengths, one of them with two columns."""

    offsets: NDArray[np.int32]
    chosen: NDArray[np.bool_]


TASK, VOCABULARY = Task(length=8), "ab" * 32


def feature(ids: list[int], targets: tuple[float, ...] = (), start: int = 0, example: int = 0):
    return Feature(np.array(ids, np.int64), start, targets, example)


def place(rows: int, seed: int = 0) -> Place:
    rng = np.random.default_rng(seed)
    return Place(rng.integers(0, 99, (rows, 2), np.int32), rng.random(rows + 1) < 0.5)


SPANS = FeatureSet(
    [
        feature([2, 70_000, 3, 5, 3], (3, 4), 3),
        feature([2, 3], (0, 0), 0, 1),
        feature([2, 6, 3], (1, 1), 0, 1),
    ],
    [place(2), place(0), place(5)],
    {"features": 3, "cut": 0},
)
TAGS = FeatureSet(
    [feature([2, 9, 3], (IGNORED, 1, IGNORED)), feature([2, 3], (IGNORED, IGNORED), 0, 1)],
    [],
    {"features": 2},
)
VALUES = FeatureSet([feature([2, 3], (3.8,)), feature([2, 3], (0.1,), 1, 7)], [], {"features": 2})
UNSEEN = FeatureSet([feature([2, 3]), feature([2, 4, 3], (), 1, 1)], [place(1), place(2)], {})


def write(path: Path, feature_set: FeatureSet[Any]) -> Path:
    write_features(path, pack(feature_set), TASK, VOCABULARY)
    return path


def assert_same(found: FeatureSet[Any], expected: FeatureSet[Any]) -> None:
    assert found.counts == expected.counts
    assert [(*map(list, f[:1]), *f[1:]) for f in found.features] == [
        (*map(list, f[:1]), *f[1:]) for f in expected.features
    ]
    assert {f.input_ids.dtype for f in found.features} == {np.dtype(np.int64)}
    assert len(found.places) == len(expected.places)
    for mine, yours in zip(found.places, expected.places, strict=True):
        assert mine._fields == yours._fields
        for a, b in zip(mine, yours, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("feature_set", [SPANS, TAGS, VALUES, UNSEEN], ids=list("stvu"))
def test_what_was_written_is_read(tmp_path: Path, feature_set: FeatureSet[Any]) -> None:
    path = write(tmp_path / "train.h5", feature_set)
    assert_same(read_features(path, TASK, VOCABULARY), feature_set)


def test_targets_keep_their_type(tmp_path: Path) -> None:
    values = read_features(write(tmp_path / "values.h5", VALUES), TASK, VOCABULARY)
    tags = read_features(write(tmp_path / "tags.h5", TAGS), TASK, VOCABULARY)
    assert [f.targets for f in values.features] == [(3.8,), (0.1,)]
    assert {type(target) for f in tags.features for target in f.targets} == {int}


def test_arrays_are_stored_in_the_smallest_dtype_that_holds_them(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "tags.h5", TAGS)) as file:
        found = {name: str(file[name].dtype) for name in file}
    assert found == {
        "example": "uint32",
        "input_ids": "uint16",
        "offsets": "uint32",
        "segment_b_start": "uint16",
        "target_offsets": "uint32",
        "targets": "int8",
    }
    with h5py.File(write(tmp_path / "spans.h5", SPANS)) as file:
        assert file["input_ids"].dtype == np.uint32


def test_equal_features_give_equal_bytes_however_they_are_cut(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", SPANS).read_bytes()
    first = FeatureSet(SPANS.features[:1], SPANS.places[:1], {"features": 1, "cut": 0})
    none = FeatureSet([], [], {"features": 0, "cut": 0})
    rest = [f._replace(example=f.example - 1) for f in SPANS.features[1:]]
    second = FeatureSet(rest, SPANS.places[1:], {"features": 2, "cut": 0})
    joined = join([pack(none), pack(first), pack(none), pack(second, 1)])
    write_features(tmp_path / "joined.h5", joined, TASK, VOCABULARY)
    assert (tmp_path / "joined.h5").read_bytes() == whole


def test_a_missing_file_is_refused_with_its_rule(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.h5 is missing; the rule `features`"):
        read_features(tmp_path / "train.h5", TASK, VOCABULARY)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "train.h5", SPANS)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(FeaturesFileError, match=r"train\.h5 cannot be read as HDF5"):
        read_features(path, TASK, VOCABULARY)


def test_a_changed_value_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.h5", SPANS)
    with h5py.File(path, "r+") as file:
        file["input_ids"][1] = 4
    with pytest.raises(FeaturesFileError, match=r"train\.h5 has the digest .* but states"):
        read_features(path, TASK, VOCABULARY)


def test_changed_counts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.h5", SPANS)
    with h5py.File(path, "r+") as file:
        file.attrs["counts"] = '{"features": 4, "cut": 0}'
    with pytest.raises(FeaturesFileError, match=r"train\.h5 has the digest"):
        read_features(path, TASK, VOCABULARY)


def test_a_file_of_another_format_or_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["version"] = "bert-instances", 1
    with pytest.raises(FeaturesFileError, match=r"\('bert-instances', .*expected \('bert-features"):
        read_features(path, TASK, VOCABULARY)


def test_features_of_another_section_or_vocabulary_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "train.h5", SPANS)
    message = 'made with task {"length": 8}; expected {"length": 9}'
    with pytest.raises(FeaturesFileError, match=re.escape(message)):
        read_features(path, Task(length=9), VOCABULARY)
    with pytest.raises(FeaturesFileError, match=r"vocabulary_sha256 abab.*; expected cdcd"):
        read_features(path, TASK, "cd" * 32)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "train.h5", TAGS)
    before = path.read_bytes()
    bad = pack(SPANS)
    bad.arrays["example"] = np.array([object()])
    with pytest.raises(TypeError):
        write_features(path, bad, TASK, VOCABULARY)
    assert [file.name for file in tmp_path.iterdir()] == ["train.h5"]
    assert path.read_bytes() == before
