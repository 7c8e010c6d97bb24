import h5py
import numpy as np
import pytest

from bert.data.shard_writer import open_writer, write_instances
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
    stored_offsets_dtype,
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


def with_masks(instances, targets):
    """The same instances with `targets[i]` targets at the first places of instance i."""
    return instances._replace(
        masked_lm_offsets=np.concatenate([[0], np.cumsum(targets)]).astype(np.uint64),
        masked_lm_positions=np.concatenate([np.arange(n) for n in targets]).astype(np.uint16),
        masked_lm_ids=np.arange(sum(targets)).astype(instances.input_ids.dtype),
    )


def write(path, instances, info=INFO):
    write_instances(path, instances, info, seed=7, config={"a": 1})
    return path


def same(found, expected):
    left, right = found.arrays(), expected.arrays()
    assert left.keys() == right.keys()
    assert [a.dtype for a in left.values()] == [a.dtype for a in right.values()]
    assert all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(("end", "dtype"), [(0, "u4"), (2**32 - 1, "u4"), (2**32, "u8")])
def test_offsets_are_stored_as_narrow_as_their_end_allows(end, dtype):
    assert np.dtype(stored_offsets_dtype(end)) == np.dtype(dtype)


def test_wide_offsets_of_a_very_large_file_are_read_alike(tmp_path):
    instances = with_masks(make_instances([5, 128, 9]), [2, 0, 3])
    path = write(tmp_path / "a.h5", instances)
    widen_offsets(path)

    same(read_instances(path)[0], instances)


def widen_offsets(path):
    """Stores the offsets as a file of 2**32 tokens would."""
    with h5py.File(path, "r+") as file:
        for name in [name for name in file if name.endswith("offsets")]:
            assert file[name].dtype == np.uint32
            values = file[name][:].astype(np.uint64)
            del file[name]
            file.create_dataset(name, data=values, track_times=False)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [[], [5], [5, 128, 9]])
def test_instances_survive_a_round_trip(tmp_path, lengths, masked):
    instances = make_instances(lengths)
    if masked and lengths:
        instances = with_masks(instances, [2, 0, 3][: len(lengths)])
    path = write(tmp_path / "a.h5", instances)

    found, info = read_instances(path)

    assert info == INFO
    same(found, instances)
    assert read_info(path) == (INFO, len(lengths), sum(lengths))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_over_two_bytes_are_stored_in_four(tmp_path, vocab_size, dtype):
    instances = make_instances([100], vocab_size)
    instances.input_ids[0] = vocab_size - 1

    info = INFO._replace(vocab_size=vocab_size)

    found, _ = read_instances(write(tmp_path / "a.h5", instances, info))

    assert found.input_ids.dtype == dtype
    assert found.input_ids[0] == vocab_size - 1


def test_ids_of_another_width_than_the_vocabulary_needs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="input_ids is uint32; the format has uint16"):
        write(tmp_path / "a.h5", make_instances([5], 70_000))


def test_equal_instances_give_equal_bytes(tmp_path):
    instances = make_instances([5, 6])

    first, second = write(tmp_path / "a.h5", instances), write(tmp_path / "b.h5", instances)

    assert first.read_bytes() == second.read_bytes()


def test_the_pieces_in_which_instances_are_appended_do_not_show(tmp_path):
    instances = with_masks(make_instances([5, 6, 7, 8]), [1, 0, 2, 3])
    whole = write(tmp_path / "a.h5", instances)

    with open_writer(tmp_path / "b.h5", INFO, seed=7, config={"a": 1}, has_masks=True) as writer:
        for low, high in [(0, 1), (1, 1), (1, 4)]:
            writer.append(gather(instances, np.arange(low, high)))

    assert (tmp_path / "b.h5").read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        with open_writer(tmp_path / "a.h5", INFO, seed=7, config={}) as writer:
            writer.append(make_instances([5]))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())


def test_instances_with_masks_do_not_go_into_a_file_without(tmp_path):
    masked = with_masks(make_instances([5]), [1])

    with (
        open_writer(tmp_path / "a.h5", INFO, seed=7, config={}) as writer,
        pytest.raises(ValueError, match="for all instances of a file or for none"),
    ):
        writer.append(masked)


def test_a_file_says_which_tokens_continue_a_word(tmp_path):
    continues = np.arange(1000) % 3 == 0
    info = INFO._replace(continuation_ids=np.packbits(continues).tobytes())

    _, found = read_instances(write(tmp_path / "a.h5", make_instances([5]), info))

    assert found == info
    assert np.array_equal(found.is_continuation(), continues)


def test_a_file_that_does_not_say_so_is_refused_where_words_are_asked_for():
    with pytest.raises(ShardError, match="which tokens continue a word"):
        INFO.is_continuation()


def test_an_instance_costs_eleven_bytes_beside_its_tokens(tmp_path):
    """8 for its offset, 2 and 1: at 110 tokens an instance 2.1 bytes a token, headers aside."""
    path = write(tmp_path / "a.h5", make_instances([110] * 5000))

    assert path.stat().st_size < 5000 * (2 * 110 + 11) + 10_000


def test_gather_takes_instances_in_the_order_asked_for():
    instances = make_instances([3, 4, 5])

    taken = gather(instances, np.array([2, 0, 2]))

    assert taken.lengths.tolist() == [5, 3, 5]
    assert np.array_equal(taken.input_ids[5:8], instances.input_ids[:3])
    assert np.array_equal(taken.input_ids[:5], taken.input_ids[8:])


def test_masks_move_with_their_instances():
    instances = with_masks(make_instances([3, 4, 5]), [1, 0, 2])

    taken = gather(instances, np.array([2, 1, 0]))

    assert taken.masked_lm_offsets.tolist() == [0, 2, 2, 3]
    assert taken.masked_lm_ids.tolist() == [1, 2, 0]
    assert taken.masked_lm_positions.tolist() == [0, 1, 0]


def test_gather_is_the_same_over_the_borders_of_its_blocks():
    """Over 2**18 tokens it works in blocks, and one instance may be longer than a block."""
    lengths = [100_000, 300_000, 1, 250_000, 70_000]
    instances = make_instances(lengths)
    pieces = np.split(instances.input_ids, np.cumsum(lengths)[:-1])

    taken = gather(instances, np.array([3, 1, 0, 2, 1, 4]))

    assert np.array_equal(taken.input_ids, np.concatenate([pieces[i] for i in (3, 1, 0, 2, 1, 4)]))


def test_concatenate_then_gather_gives_the_pieces_back():
    first = with_masks(make_instances([3, 4], seed=1), [1, 2])
    second = with_masks(make_instances([5], seed=2), [3])

    both = concatenate([first, second], np.uint16)

    same(gather(both, np.array([2])), second)
    same(gather(both, np.array([0, 1])), first)
    assert len(concatenate([], np.uint16).lengths) == 0


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


def test_lost_targets_are_noticed(tmp_path):
    path = write(tmp_path / "a.h5", with_masks(make_instances([5]), [3]))
    with h5py.File(path, "r+") as file:
        file["masked_lm_offsets"][1] = 2

    with pytest.raises(ShardError, match="ends at target 2 by its offsets but holds 3"):
        read_instances(path, verify=False)


def test_a_missing_file_names_its_rule(tmp_path):
    with pytest.raises(FileNotFoundError, match="the rules `encode` and `shard` write it"):
        read_info(tmp_path / "none.h5")


def test_shards_of_another_vocabulary_are_refused(tmp_path):
    other = INFO._replace(vocabulary_sha256="cd" * 32)

    with pytest.raises(ShardError, match=r"vocabulary_sha256 cdcd.*another vocabulary"):
        check_same(tmp_path / "a.h5", other, INFO, companion="b.h5")
