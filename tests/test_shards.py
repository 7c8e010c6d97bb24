import h5py
import numpy as np
import pytest

from bert.data.shards import (
    Instances,
    ShardError,
    ShardInfo,
    check_same,
    concatenate,
    gather,
    input_ids_dtype,
    read_info,
    read_instances,
    write_instances,
)

INFO = ShardInfo(128, "ab" * 32, 1000, 4, (0, 1, 2, 3, 4))


def make_instances(lengths, vocab_size=1000, seed=0):
    rng = np.random.default_rng(seed)
    return Instances(
        rng.integers(5, vocab_size, sum(lengths)).astype(input_ids_dtype(vocab_size)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64),
        rng.integers(2, 5, len(lengths)).astype(np.uint16),
        rng.integers(0, 2, len(lengths)).astype(np.uint8),
    )


def write(path, instances, info=INFO):
    write_instances(path, instances, info, seed=7, config={"a": 1})
    return path


@pytest.mark.parametrize("lengths", [[], [5], [5, 128, 9]])
def test_instances_survive_a_round_trip(tmp_path, lengths):
    instances = make_instances(lengths)
    path = write(tmp_path / "a.h5", instances)

    found, info = read_instances(path)

    assert info == INFO
    assert all(np.array_equal(a, b) for a, b in zip(found, instances, strict=True))
    assert [a.dtype for a in found] == [a.dtype for a in instances]
    assert read_info(path) == (INFO, len(lengths), sum(lengths))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_over_two_bytes_are_stored_in_four(tmp_path, vocab_size, dtype):
    instances = make_instances([100], vocab_size)
    instances.input_ids[0] = vocab_size - 1

    found, _ = read_instances(write(tmp_path / "a.h5", instances))

    assert found.input_ids.dtype == dtype
    assert found.input_ids[0] == vocab_size - 1


def test_equal_instances_give_equal_bytes(tmp_path):
    instances = make_instances([5, 6])

    first, second = write(tmp_path / "a.h5", instances), write(tmp_path / "b.h5", instances)

    assert first.read_bytes() == second.read_bytes()


def test_gather_takes_instances_in_the_order_asked_for():
    instances = make_instances([3, 4, 5])

    taken = gather(instances, np.array([2, 0, 2]))

    assert taken.lengths.tolist() == [5, 3, 5]
    assert np.array_equal(taken.input_ids[5:8], instances.input_ids[:3])
    assert np.array_equal(taken.input_ids[:5], taken.input_ids[8:])


def test_concatenate_then_gather_gives_the_pieces_back():
    first, second = make_instances([3, 4], seed=1), make_instances([5], seed=2)

    both = concatenate([first, second], np.uint16)

    again = gather(both, np.array([2]))
    assert all(np.array_equal(a, b) for a, b in zip(again, second, strict=True))


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", make_instances([50] * 100))
    path.write_bytes(path.read_bytes()[:3000])

    with pytest.raises(ShardError, match=r"cannot be opened as HDF5.*Delete it"):
        read_instances(path)


def test_a_changed_byte_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", make_instances([50] * 100))
    with h5py.File(path, "r+") as file:
        file["input_ids"][17] ^= 1

    with pytest.raises(ShardError, match=r"does not have the digest"):
        read_instances(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["input_ids"] = np.zeros((2, 128), np.int32)

    with pytest.raises(ShardError, match=r"format and version \(None, None\).*input_ids"):
        read_info(tmp_path / "a.h5")


def test_a_missing_field_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", make_instances([5]))
    with h5py.File(path, "r+") as file:
        del file["segment_b_start"]

    with pytest.raises(ShardError, match=r"lacks the fields \['segment_b_start'\]"):
        read_info(path)


def test_a_wrong_count_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", make_instances([5]))
    with h5py.File(path, "r+") as file:
        file.attrs["num_instances"] = 2

    with pytest.raises(ShardError, match="states 2 instances but has"):
        read_info(path)


def test_lost_tokens_are_noticed_even_without_the_digest(tmp_path):
    path = write(tmp_path / "a.h5", make_instances([5]))
    with h5py.File(path, "r+") as file:
        file["offsets"][1] = 4

    with pytest.raises(ShardError, match="ends at token 4 by its offsets but holds 5"):
        read_instances(path, verify=False)


def test_a_missing_file_names_its_rule(tmp_path):
    with pytest.raises(FileNotFoundError, match="the rules `encode` and `shard` write it"):
        read_info(tmp_path / "none.h5")


def test_shards_of_another_vocabulary_are_refused(tmp_path):
    other = INFO._replace(vocabulary_sha256="cd" * 32)

    with pytest.raises(ShardError, match=r"vocabulary_sha256 cdcd.*another vocabulary"):
        check_same(tmp_path / "a.h5", other, INFO, companion="b.h5")
