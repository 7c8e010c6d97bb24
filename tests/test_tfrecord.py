import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.data.tfrecord import (
    TFRecordError,
    count_records,
    decode_column,
    decode_varints,
    encode_examples,
    encode_varints,
    parse_example,
    read_records,
    write_records,
)

FEATURES = {
    "input_ids": np.array([[2, 300, 4, 70_000, 3, 0]]),
    "input_mask": np.array([[1, 1, 1, 1, 1, 0]]),
    "segment_ids": np.array([[0, 0, 0, 1, 1, 0]]),
    "masked_lm_positions": np.array([[2, 0]]),
    "masked_lm_ids": np.array([[-1, 0]]),
    "masked_lm_weights": np.array([[1.0, 0.0]], np.float32),
    "next_sentence_labels": np.array([[1]]),
}
# What TensorFlow 2.21 writes of FEATURES: tf.io.TFRecordWriter, SerializeToString(deterministic).
TENSORFLOW = bytes.fromhex(
    "d700000000000000e5a25c690ad4010a1a0a09696e7075745f696473120d1a0b0a0902ac0204f0a20403000a180a"
    "0a696e7075745f6d61736b120a1a080a060101010101000a200a0d6d61736b65645f6c6d5f696473120f1a0d0a0b"
    "ffffffffffffffffff01000a1d0a136d61736b65645f6c6d5f706f736974696f6e7312061a040a0202000a210a11"
    "6d61736b65645f6c6d5f77656967687473120c120a0a080000803f000000000a1d0a146e6578745f73656e74656e"
    "63655f6c6162656c7312051a030a01010a190a0b7365676d656e745f696473120a1a080a0600000001010095631b"
    "f6"
)


def test_a_file_is_byte_for_byte_the_one_that_tensorflow_writes(tmp_path):
    write_records(tmp_path / "one", encode_examples(FEATURES))

    assert (tmp_path / "one").read_bytes() == TENSORFLOW


def test_a_file_that_tensorflow_wrote_is_read_back(tmp_path):
    (tmp_path / "one").write_bytes(TENSORFLOW)

    (example,) = (parse_example(record) for record in read_records(tmp_path / "one"))

    assert example.keys() == FEATURES.keys()
    for name, values in FEATURES.items():
        assert decode_column([example[name]])[0].tolist() == values[0].tolist(), name


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_varints_come_back(values):
    data, sizes = encode_varints(np.array(values, np.int64))

    decoded, ends = decode_varints(data)

    assert decoded.tolist() == values
    assert ends.tolist() == np.cumsum(sizes).tolist()


def test_varints_by_hand():
    """300 = 0b10_0101100: low seven bits first, 0xAC 0x02 (protobuf's own example)."""
    assert encode_varints(np.array([300, 1]))[0].tolist() == [0xAC, 0x02, 0x01]


def test_unpacked_lists_are_understood():
    """Feature {int64_list {value: 1 value: 300}} with one tag a value."""
    values = bytes([0x08, 0x01, 0x08, 0xAC, 0x02])
    feature = bytes([0x1A, len(values)]) + values
    entry = bytes([0x0A, 1]) + b"x" + bytes([0x12, len(feature)]) + feature
    record = bytes([0x0A, len(entry) + 2, 0x0A, len(entry)]) + entry

    assert decode_column([parse_example(record)["x"]])[0].tolist() == [1, 300]


@pytest.mark.parametrize("cut", [3, 11, 20, len(TENSORFLOW) - 1])
@pytest.mark.parametrize("reader", [lambda path: list(read_records(path)), count_records])
def test_a_file_that_is_cut_short_is_refused(tmp_path, cut, reader):
    (tmp_path / "one").write_bytes(TENSORFLOW[:cut])

    with pytest.raises(TFRecordError, match="is damaged at byte 0"):
        reader(tmp_path / "one")


def test_a_changed_byte_is_noticed(tmp_path):
    (tmp_path / "one").write_bytes(TENSORFLOW[:50] + b"!" + TENSORFLOW[51:])

    with pytest.raises(TFRecordError, match="does not have its checksum"):
        list(read_records(tmp_path / "one"))


def test_records_are_counted_without_reading_them(tmp_path):
    (tmp_path / "three").write_bytes(TENSORFLOW * 3)

    assert count_records(tmp_path / "three") == 3


@pytest.mark.parametrize("record", [b"hello", b"\x0a\x05\x0a\x03\x0a\x01x", b"\x0a\xff"])
def test_what_is_no_example_is_refused(record):
    with pytest.raises(TFRecordError, match=r"not a tf\.train\.Example"):
        parse_example(record)


def test_without_the_checksum_library_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)

    with pytest.raises(TFRecordError, match=r"bert-pretraining\[tfrecord\]"):
        write_records(tmp_path / "one", [b"x"])
