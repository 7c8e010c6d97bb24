"""Files of other systems: written as those systems write them, read back as the same instances."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.data.corpus import Corpus
from bert.data.dialects.reading import natural_key, read_file, read_header
from bert.data.dialects.rows import DialectError
from bert.data.dialects.writing import DialectConfig, check_writable, file_name, write_file
from bert.data.masking import MaskingConfig, instance_keys, mask_tokens, with_masks
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo, concatenate
from bert.data.tfrecord import encode_examples, write_records

INFO = ShardInfo(
    32, "ab" * 32, 30_000, 4, (0, 1, 2, 3, 4), np.packbits(np.ones(30_000, bool)).tobytes()
)
MASKING = {
    "unit": "token", "span": None, "mask_prob": 0.15, "max_predictions": 5,
    "mask_token_share": 0.8, "random_token_share": 0.1,
}  # fmt: skip
STATIC = ["nvidia", "mlperf_fixed", "mlperf_varlength", "tfrecord_mlperf", "tfrecord_cerebras"]
FIXED = ("input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids",
         "next_sentence_labels")  # fmt: skip


def config_of(format, **changes):
    static = {"max_predictions": 5, "masking": MASKING} if format != "gpauloski" else {}
    base = {"format": format, "files": 3, "seed": 7, "max_predictions": None, "masking": None}
    return check(DialectConfig, base | static | changes, where="a test")


def make_instances(count=23, seed=0, second=True, longest=32):
    """Pairs (or single segments) of 5 to 32 tokens; one is as long as a row."""
    rng = np.random.default_rng(seed)
    pieces, starts = [], []
    for number in range(count):
        ids = rng.integers(5, INFO.vocab_size, longest if number == 3 else rng.integers(5, 33))
        middle = int(rng.integers(3, len(ids) - 1))
        ids[0], ids[-1] = 2, 3
        if second:
            ids[middle - 1] = 3
        pieces.append(ids)
        starts.append(middle if second else 0)
    return Instances(
        np.concatenate(pieces).astype(np.uint16),
        np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.uint64),
        np.array(starts, np.uint16),
        rng.integers(0, 2, count).astype(np.uint8) if second else np.zeros(count, np.uint8),
    )


def corpus_of(folder, instances, info=INFO):
    write_instances(folder / "own.h5", instances, info, seed=1, config={})
    return Corpus([folder / "own.h5"])


def masked_once(instances, seed=7):
    """The masks that an export draws: epoch 0, instances by their numbers."""
    index = np.arange(len(instances.segment_b_start))
    keys = instance_keys(seed, 1, np.zeros_like(index), index)
    config = MaskingConfig(**MASKING)
    return with_masks(
        instances, mask_tokens(instances.input_ids, instances.offsets, keys, config, INFO)
    )


def export(folder, corpus, config):
    paths = []
    for number in range(config.files):
        paths.append(folder / file_name(config, "wiki", number, corpus.info.max_seq_length))
        write_file(corpus, config, paths[-1], number, phase=1)
    return paths


def read_all(paths, info=INFO):
    dialect = read_header(paths[0]).dialect
    corpora = [read_file(path, dialect, info) for path in paths]
    return dialect, concatenate(corpora, np.uint16)


def assert_same(found, expected):
    assert found.arrays().keys() == expected.arrays().keys()
    for name, array in expected.arrays().items():
        assert np.array_equal(getattr(found, name), array), name


@pytest.mark.parametrize("format", STATIC)
@pytest.mark.parametrize("second", [True, False])
def test_static_formats_come_back_as_the_same_instances_and_masks(tmp_path, format, second):
    instances = make_instances(second=second)
    corpus = corpus_of(tmp_path, instances)

    dialect, found = read_all(export(tmp_path / "out", corpus, config_of(format)))

    assert dialect == ("tfrecord" if "tfrecord" in format else format)
    assert_same(found, masked_once(instances))


@pytest.mark.parametrize("second", [True, False])
def test_gpauloskis_files_come_back_unmasked(tmp_path, second):
    instances = make_instances(second=second)
    corpus = corpus_of(tmp_path, instances)

    paths = export(tmp_path / "out", corpus, config_of("gpauloski"))
    dialect, found = read_all(paths)

    assert dialect == "gpauloski"
    assert_same(found, instances)
    with h5py.File(paths[0]) as file:
        assert file["special_token_positions"].shape == (7, 3 if second else 2)


@pytest.mark.parametrize("format", STATIC)
def test_stored_masks_are_exported_as_they_are(tmp_path, format):
    stored = masked_once(make_instances(), seed=99)
    corpus = corpus_of(tmp_path, stored)

    _, found = read_all(export(tmp_path / "out", corpus, config_of(format, masking=None)))

    assert_same(found, stored)


def test_stored_masks_are_taken_back_for_gpauloski_and_for_new_masks(tmp_path):
    instances = make_instances()
    corpus = corpus_of(tmp_path, masked_once(instances, seed=99))

    assert_same(read_all(export(tmp_path / "a", corpus, config_of("gpauloski")))[1], instances)
    again = read_all(export(tmp_path / "b", corpus, config_of("nvidia")))[1]
    assert_same(again, masked_once(instances))


@pytest.mark.parametrize(
    ("format", "names"),
    [
        ("nvidia", ["wiki_training_0.hdf5", "wiki_training_2.hdf5"]),
        ("mlperf_fixed", [f"3_shards_uncompressed_32/part_{n}_of_3.hdf5" for n in (0, 2)]),
        ("mlperf_varlength", [f"3_shards_varlength/part_0000{n}_of_00003.hdf5" for n in (0, 2)]),
        ("gpauloski", ["train_0.hdf5", "train_2.hdf5"]),
        ("tfrecord_mlperf", ["part-00000-of-00003", "part-00002-of-00003"]),
        ("tfrecord_cerebras", ["wiki-1.tfrecords", "wiki-3.tfrecords"]),
    ],
)
def test_files_are_named_as_the_other_system_names_them(format, names):
    assert [file_name(config_of(format), "wiki", n, 32) for n in (0, 2)] == names


@pytest.mark.parametrize(("format", "compression"), [("nvidia", "gzip"), ("mlperf_fixed", None)])
def test_fixed_files_have_the_published_fields(tmp_path, format, compression):
    corpus = corpus_of(tmp_path, make_instances())
    path = export(tmp_path / "out", corpus, config_of(format))[0]

    with h5py.File(path) as file:
        found = {n: (d.dtype.str.strip("<|"), d.shape, d.compression) for n, d in file.items()}

    shapes = dict.fromkeys(FIXED[:3], (7, 32)) | dict.fromkeys(FIXED[3:5], (7, 5))
    dtypes = dict(zip(FIXED, ("i4", "i1", "i1", "i4", "i4", "i1"), strict=True))
    assert found == {n: (dtypes[n], shapes.get(n, (7,)), compression) for n in FIXED}


def test_varlength_files_have_the_published_fields(tmp_path):
    corpus = corpus_of(tmp_path, make_instances())
    path = export(tmp_path / "out", corpus, config_of("mlperf_varlength"))[0]

    with h5py.File(path) as file:
        found = {name: h5py.check_vlen_dtype(dataset.dtype) for name, dataset in file.items()}
        labels = file["next_sentence_labels"]
        assert (labels.dtype, labels.shape) == (np.int8, (7,))

    ints = {"input_ids": np.int16, "segment_ids": np.int8, "masked_lm_positions": np.int16,
            "masked_lm_ids": np.int16, "next_sentence_labels": None}  # fmt: skip
    assert found == ints


def write_fixed(path, **changes):
    """A file of Intel's layout by hand: 4 rows of 10 places and 3 targets."""
    values = {
        "input_ids": np.tile([2, 10, 4, 3, 12, 4, 3, 0, 0, 0], (4, 1)).astype("i4"),
        "input_mask": np.tile([1] * 7 + [0] * 3, (4, 1)).astype("i1"),
        "segment_ids": np.tile([0] * 4 + [1] * 3 + [0] * 3, (4, 1)).astype("i1"),
        "masked_lm_positions": np.tile([2, 5, 0], (4, 1)).astype("i4"),
        "masked_lm_ids": np.tile([11, 13, 0], (4, 1)).astype("i4"),
        "next_sentence_labels": np.array([0, 1, 0, 1], "i1"),
    }
    for name, change in changes.items():
        row, place, value = change
        values[name] = values[name].astype("i4")
        values[name][(row, place) if values[name].ndim == 2 else row] = value
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
    return path


def test_a_fixed_file_by_hand(tmp_path):
    found = read_file(write_fixed(tmp_path / "a.hdf5"), "mlperf_fixed", INFO)

    assert found.offsets.tolist() == [0, 7, 14, 21, 28]
    assert found.input_ids[:7].tolist() == [2, 10, 4, 3, 12, 4, 3]
    assert found.segment_b_start.tolist() == [4] * 4
    assert found.next_sentence_labels.tolist() == [0, 1, 0, 1]
    assert found.masked_lm_offsets.tolist() == [0, 2, 4, 6, 8]
    assert found.masked_lm_positions[:2].tolist() == [2, 5]
    assert found.masked_lm_ids[:2].tolist() == [11, 13]


def test_rows_with_all_targets_and_with_none_are_read(tmp_path):
    path = write_fixed(tmp_path / "a.hdf5", masked_lm_positions=(0, slice(0, 3), [1, 2, 5]))
    with h5py.File(path, "r+") as file:
        file["masked_lm_positions"][1] = 0
        file["masked_lm_ids"][0] = [9, 11, 13]

    found = read_file(path, "mlperf_fixed", INFO)

    assert np.diff(found.masked_lm_offsets.astype(int)).tolist() == [3, 0, 2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": (1, 1, 30_000)}, "input_ids holds 30000, but the vocabulary has 30000"),
        ({"input_ids": (1, 1, -5)}, "input_ids holds -5; an id is never negative"),
        ({"masked_lm_ids": (1, 1, -5)}, "masked_lm_ids holds -5.*int16"),
        ({"input_mask": (1, 2, 0)}, "input_mask is not one run of ones .* in 1 of 4 rows"),
        ({"input_mask": (2, slice(None), 0)}, "input_mask is not one run of ones .* first in 2"),
        ({"segment_ids": (1, 5, 0)}, "segment_ids is not a run of 0"),
        ({"masked_lm_positions": (0, 0, 0)}, "has a 0, which means padding, before"),
        ({"masked_lm_positions": (0, 1, 8)}, "points behind the last token"),
        ({"masked_lm_positions": (0, 1, 2)}, "does not ascend"),
        ({"next_sentence_labels": (3, None, 2)}, "neither 0 nor 1"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_the_file_and_the_row(tmp_path, change, message):
    path = write_fixed(tmp_path / "a.hdf5", **change)

    with pytest.raises(DialectError, match=message) as caught:
        read_file(path, "mlperf_fixed", INFO)

    assert "a.hdf5" in str(caught.value)


def test_an_inverted_input_mask_of_a_tfrecord_is_understood(tmp_path):
    features = {
        "input_ids": np.array([[2, 10, 4, 3, 0, 0]]),
        "input_mask": np.array([[0, 0, 0, 0, 1, 1]]),
        "segment_ids": np.array([[0, 0, 0, 0, 2, 2]]),
        "masked_lm_positions": np.array([[2, 0]]),
        "masked_lm_ids": np.array([[11, 0]]),
        "masked_lm_weights": np.array([[2.5, 0.0]], np.float32),
        "next_sentence_labels": np.array([[1]]),
    }
    write_records(tmp_path / "a", encode_examples(features))

    found = read_file(tmp_path / "a", "tfrecord", INFO)

    assert found.input_ids.tolist() == [2, 10, 4, 3]
    assert found.segment_b_start.tolist() == [0]
    assert found.masked_lm_ids.tolist() == [11]


def test_files_that_are_cut_short_or_unknown_are_refused(tmp_path):
    whole = write_fixed(tmp_path / "a.hdf5").read_bytes()
    (tmp_path / "short.hdf5").write_bytes(whole[:-500])
    (tmp_path / "text.hdf5").write_text("not a shard, but long enough for a head")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["input_ids"] = [[1]]

    for name, message in [
        ("short", "short.hdf5 cannot be read"),
        ("text", "text.hdf5 cannot be read .* damaged at byte 0"),
        ("other", r"other.hdf5: its fields are \['input_ids'\]; expected"),
    ]:
        with pytest.raises(DialectError, match=message):
            read_header(tmp_path / f"{name}.hdf5")


@pytest.mark.parametrize("positions", [[0, 3], [0, 3, 12], [1, 3, 6], [0, 6, 6], [0, 1, 2, 3]])
def test_special_places_that_make_no_sense_are_refused(tmp_path, positions):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["input_ids"] = np.tile([2, 10, 4, 3, 12, 4, 3, 0, 0, 0], (4, 1))
        file["special_token_positions"] = np.tile(positions, (4, 1))
        file["next_sentence_labels"] = np.zeros(4, "i1")

    if positions == [0, 3]:
        assert read_file(tmp_path / "a.hdf5", "gpauloski", INFO).offsets[1] == 4
        return
    with pytest.raises(DialectError, match="special_token_positions"):
        read_file(tmp_path / "a.hdf5", "gpauloski", INFO)


def test_parts_are_sorted_by_number(tmp_path):
    names = [tmp_path / f"part_{n}_of_2048.hdf5" for n in (10, 9, 100, 0)]

    ordered = [path.name.split("_")[1] for path in sorted(names, key=natural_key)]

    assert ordered == ["0", "9", "10", "100"]


def test_a_vocabulary_that_overflows_int16_is_refused(tmp_path):
    corpus = corpus_of(tmp_path, make_instances(), INFO._replace(vocab_size=32_769))

    with pytest.raises(DialectError, match="at most 32768 tokens; this one has 32769"):
        check_writable(corpus, config_of("mlperf_varlength"))
    check_writable(corpus, config_of("mlperf_fixed"))


def test_more_targets_than_places_are_refused(tmp_path):
    corpus = corpus_of(tmp_path, masked_once(make_instances()))
    small = config_of("mlperf_fixed", masking=None, max_predictions=2)

    with pytest.raises(DialectError, match="up to 5 targets, but max_predictions is 2"):
        export(tmp_path / "out", corpus, small)


def test_masks_that_are_not_there_cannot_be_exported(tmp_path):
    corpus = corpus_of(tmp_path, make_instances())

    with pytest.raises(DialectError, match=r"own.h5 and its companions hold none. Give masking"):
        export(tmp_path / "out", corpus, config_of("nvidia", masking=None))


def test_more_files_than_instances_are_refused(tmp_path):
    with pytest.raises(DialectError, match="files is 24, but there are only 23 instances"):
        check_writable(corpus_of(tmp_path, make_instances()), config_of("nvidia", files=24))


@pytest.mark.parametrize(
    ("format", "changes", "message"),
    [
        ("gpauloski", {"max_predictions": 20}, "gpauloski's files are not masked"),
        ("nvidia", {"max_predictions": None}, "nvidia needs max_predictions"),
        ("nvidia", {"max_predictions": 4}, "masking.max_predictions is 5, but a row has room"),
    ],
)
def test_settings_that_the_format_cannot_have_are_refused(format, changes, message):
    with pytest.raises(ConfigError, match=message):
        config_of(format, **changes)


@given(seed=st.integers(0, 500), count=st.integers(4, 40), files=st.integers(1, 4))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_round_trips_hold_for_any_instances(tmp_path_factory, seed, count, files):
    folder = tmp_path_factory.mktemp("trip")
    instances = make_instances(count, seed)
    corpus = corpus_of(folder, instances)
    for format in ("nvidia", "mlperf_varlength", "tfrecord_mlperf"):
        paths = export(folder / format, corpus, config_of(format, files=files))
        assert_same(read_all(paths)[1], masked_once(instances))
