from collections import Counter

import numpy as np
import pytest

from bert.data.shards import Instances, ShardError, ShardInfo, write_instances
from bert.data.shuffle import ShardConfig, build_shard, job_shards, list_sources, shard_range

INFO = ShardInfo(128, "ab" * 32, 60_000, 4, (0, 1, 2, 3, 4))


def write_files(folder, counts, info=INFO):
    """Instance files; instance n, counted over all files, is 1 + n % 3 tokens of value n."""
    files, number = [], 0
    for place, count in enumerate(counts):
        lengths = [1 + n % 3 for n in range(number, number + count)]
        ids = [n for n, length in enumerate(lengths, number) for _ in range(length)]
        instances = Instances(
            np.array(ids, np.uint16),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64),
            np.full(count, 1, np.uint16),
            np.arange(number, number + count).astype(np.uint8) % 2,
        )
        path = folder / f"part-{place}.h5"
        write_instances(path, instances, info, seed=1, config={})
        files.append(path)
        number += count
    return files


def all_shards(files, config):
    sources, info = list_sources(files)
    return [build_shard(sources, info, shard, config, 1) for shard in range(config.shards)]


@pytest.mark.parametrize("total", [1, 6, 7, 8, 97])
def test_every_instance_is_in_exactly_one_shard_whatever_their_numbers(tmp_path, total):
    """7 shards and fewer, as many, one more, and a prime number of instances."""
    counts = [total // 2, 0, total - total // 2]
    files = write_files(tmp_path, [c for c in counts if c])

    shards = all_shards(files, ShardConfig(seed=1, shards=7, jobs=2))

    seen = Counter()
    for shard in shards:
        for start, end in zip(shard.offsets[:-1], shard.offsets[1:], strict=True):
            ids = shard.input_ids[int(start) : int(end)]
            assert len(set(ids.tolist())) == 1
            assert len(ids) == 1 + ids[0] % 3
            seen[int(ids[0])] += 1
    assert seen == Counter(range(total))


def test_shard_sizes_differ_by_at_most_one():
    sizes = [high - low for low, high in (shard_range(s, 2048, 100_003) for s in range(2048))]

    assert sum(sizes) == 100_003
    assert max(sizes) - min(sizes) == 1


def test_labels_move_with_their_instances(tmp_path):
    for shard in all_shards(write_files(tmp_path, [50]), ShardConfig(seed=1, shards=3, jobs=1)):
        first = shard.input_ids[shard.offsets[:-1].astype(int)]
        assert np.array_equal(first % 2, shard.next_sentence_labels)


def test_the_cut_into_files_does_not_change_the_shards(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    config = ShardConfig(seed=1, shards=4, jobs=1)

    one = all_shards(write_files(tmp_path / "one", [90]), config)
    three = all_shards(write_files(tmp_path / "three", [20, 30, 40]), config)

    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a.input_ids, b.input_ids)


def test_neighbours_are_spread_over_the_shards(tmp_path):
    """100 neighbours over 10 shards: a shard with none has probability 10 * 0.9^100 = 3e-4."""
    shards = all_shards(write_files(tmp_path, [1000]), ShardConfig(seed=2, shards=10, jobs=1))

    assert all((shard.input_ids < 100).any() for shard in shards)


@pytest.mark.parametrize(("shards", "jobs"), [(2048, 32), (7, 3), (5, 5)])
def test_jobs_share_the_shards_without_gap_or_overlap(shards, jobs):
    config = ShardConfig(seed=1, shards=shards, jobs=jobs)

    numbers = [shard for job in range(jobs) for shard in job_shards(job, config)]

    assert numbers == list(range(shards))


def test_files_of_two_vocabularies_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = write_files(tmp_path / "a", [3])
    files += write_files(tmp_path / "b", [3], INFO._replace(vocabulary_sha256="cd" * 32))

    with pytest.raises(ShardError, match="another vocabulary"):
        list_sources(files)


def test_no_instances_at_all_are_refused():
    with pytest.raises(ValueError, match="hold no instance"):
        list_sources([])
