import numpy as np
import pytest

from bert.convert.tensor_bundle import BundleError, open_bundle, read_variable
from bert.manifest import ROOT
from tests.tensor_bundle_files import HEADER, entry, masked, table, write_bundle
from tests.tensorflow_checkpoint import variables, write

INDEX = ROOT / "tests/data/tensorflow/model.ckpt-28252.index"
DATA = INDEX.with_name("model.ckpt-28252.data-00000-of-00001")


@pytest.fixture
def copied(tmp_path):
    """A copy of the checkpoint whose files a test may damage: index and data."""
    files = [tmp_path / INDEX.name, tmp_path / DATA.name]
    for source, target in zip((INDEX, DATA), files, strict=True):
        target.write_bytes(source.read_bytes())
    return files


def test_every_variable_of_a_file_by_tensorflow_is_read_exactly():
    bundle, expected = open_bundle(INDEX), variables()

    assert bundle.entries.keys() == expected.keys()
    for name, values in expected.items():
        found = read_variable(bundle, name)
        assert found.dtype == values.dtype
        assert found.shape == values.shape
        np.testing.assert_array_equal(found, values)


def test_keys_share_their_beginnings_and_go_on_over_blocks(tmp_path):
    values = np.array([1.5, -2.0], "<f4").tobytes()
    one = entry(crc=masked(values))
    two = entry(shape=(), size=4, offset=8, crc=masked(values[:4]))
    first = [HEADER, (0, b"layer/one", one), (6, b"two", two)]  # the second is layer/two
    index = tmp_path / "model.index"
    index.write_bytes(table(first, [(0, b"pool", one)]))
    (tmp_path / "model.data-00000-of-00001").write_bytes(values + values)

    bundle = open_bundle(index)

    assert sorted(bundle.entries) == ["layer/one", "layer/two", "pool"]
    assert read_variable(bundle, "layer/one").tolist() == [1.5, -2.0]
    assert read_variable(bundle, "layer/two").item() == 1.5


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_checkpoint_by_hand_has_the_variables_of_tensorflows(tmp_path, shards, compression):
    files = write_bundle(tmp_path / "x.y-7", variables(), shards=shards, compression=compression)

    bundle, by_tensorflow = open_bundle(files[0]), open_bundle(INDEX)

    assert len(files) == 1 + shards
    assert bundle.entries.keys() == by_tensorflow.entries.keys()
    for name in bundle.entries:
        found, expected = read_variable(bundle, name), read_variable(by_tensorflow, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_damaged_compressed_block_is_refused_by_its_checksum(tmp_path):
    index, _ = write_bundle(tmp_path / "model", variables(), compression=1)
    data = bytearray(index.read_bytes())
    data[40] ^= 1
    index.write_bytes(data)

    with pytest.raises(BundleError, match="at byte 0: a block does not have its checksum"):
        open_bundle(index)


def test_a_table_of_many_blocks_by_tensorflow_is_read(tmp_path):
    """6,000 variables make an index of two blocks; needs the extra `tensorflow`."""
    pytest.importorskip("tensorflow")
    values = {f"layer_{n}/with/a/long/name/kernel": np.float32([n]) for n in range(6000)}
    write(tmp_path / "many", values)

    bundle = open_bundle(tmp_path / "many.index")

    assert len(bundle.entries) == 6000
    assert all(read_variable(bundle, name).tolist() == [float(v[0])] for name, v in values.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "does not end as a LevelDB table does"),
        (lambda data: b"", "does not end as a LevelDB table"),
        (lambda data: b"\x01" + data[1:], "is damaged at byte 0: a block does not have its check"),
        (lambda data: data[200:], "is damaged"),
        (lambda data: table([HEADER], compression=4), "has a block with compression 4"),
        (lambda data: table([(0, b"", b"\x10\x01")]), "big-endian"),
        (lambda data: table([HEADER, (0, b"a", b"\x0b")]), "message with wire type 3"),
        (lambda data: table([(0, b"a", entry())]), r"damaged \(KeyError\(b''\)\)"),
    ],
)
def test_damaged_tables_are_refused(copied, change, message):
    index = copied[0]
    index.write_bytes(change(index.read_bytes()))

    with pytest.raises(BundleError, match=message):
        open_bundle(index)


def test_damaged_and_missing_data_are_refused(copied):
    index, data = copied
    bundle, name = open_bundle(index), "cls/predictions/output_bias"
    whole = bytearray(data.read_bytes())
    whole[bundle.entries[name].offset] ^= 1
    data.write_bytes(whole)
    with pytest.raises(BundleError, match=f"where {name} stands: its 44 bytes do not have their"):
        read_variable(bundle, name)
    data.write_bytes(bytes(whole[:100]))
    with pytest.raises(BundleError, match="damaged or cut short"):
        read_variable(bundle, name)
    data.unlink()
    with pytest.raises(BundleError, match=r"data-00000-of-00001 is missing; it lies beside model"):
        read_variable(bundle, name)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (entry(dtype=7), "a is of type 7; expected whole variables"),
        (entry(extra=b"\x3a\x00"), "a is stored in slices"),
    ],
)
def test_variables_that_are_not_whole_numbers_are_refused(tmp_path, one, message):
    index = tmp_path / "model.index"
    index.write_bytes(table([HEADER, (0, b"a", one)]))

    with pytest.raises(BundleError, match=message):
        read_variable(open_bundle(index), "a")
