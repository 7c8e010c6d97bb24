import subprocess
import sys
from collections import Counter
from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert.data.runs import Runs
from bert.data.shard_writer import open_writer
from bert.data.shards import Instances, ShardError, ShardInfo, gather, read_instances
from bert.data.shuffle import (
    ShardConfig,
    job_shards,
    plan_batches,
    shard_name,
    shard_range,
    write_shards,
)
from bert.data.sources import list_sources, read_slices
from bert.manifest import ROOT
from tests.test_shards import widen_offsets

INFO = ShardInfo(128, "ab" * 32, 60_000, 4, (0, 1, 2, 3, 4))


def numbered(first, count, *, masks=False):
    """Instance n, from `first` on, is 1 + n % 3 tokens of value n, with n % 2 targets."""
    numbers = np.arange(first, first + count)
    lengths, targets = 1 + numbers % 3, numbers % 2
    instances = Instances(
        np.repeat(numbers, lengths).astype(np.uint16),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64),
        np.ones(count, np.uint16),
        (numbers % 2).astype(np.uint8),
    )
    if not masks:
        return instances
    return instances._replace(
        masked_lm_offsets=np.concatenate([[0], np.cumsum(targets)]).astype(np.uint64),
        masked_lm_positions=np.zeros(targets.sum(), np.uint16),
        masked_lm_ids=np.repeat(numbers, targets).astype(np.uint16),
    )


def write_files(folder, files, *, info=INFO, masks=False, seed=1, phase=1, part=0):
    """Instance files with the given sizes of runs, as `encode` writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, first = [], 0
    for sizes in files:
        runs = Runs(seed, phase, part, tuple(sizes))
        path = folder / f"part-{part:05d}.h5"
        with open_writer(
            path, info, seed=seed, config={}, has_masks=masks, more=runs.attributes()
        ) as writer:
            for run, size in enumerate(sizes):
                made = numbered(first, size, masks=masks)
                writer.append(gather(made, np.argsort(runs.keys(run))))
                first += size
        paths.append(path)
        part += 1
    return paths


def make_config(shards, jobs=1, seed=1):
    return ShardConfig(seed=seed, shards=shards, jobs=jobs, given=None)


def write_all(files, folder, config, *, batch_order=slice(None)):
    """Writes all shards of all jobs; returns their files in order."""
    folder.mkdir(parents=True, exist_ok=True)
    sources, info = list_sources(files)
    for job in range(min(config.jobs, config.shards)):
        batches = plan_batches(sources, job_shards(job, config), config.shards)
        for batch in batches[batch_order]:
            write_shards(sources, info, batch, config, folder, phase=1)
    paths = [folder / shard_name(shard, config.shards) for shard in range(config.shards)]
    assert sorted(folder.iterdir()) == paths
    return paths


def build(files, folder, config):
    """All shards of all jobs, in order."""
    return [read_instances(path)[0] for path in write_all(files, folder, config)]


def numbers_of(shard):
    """The number of each instance; checks that it came whole, with its label and targets."""
    ends = shard.offsets.astype(int)
    found = []
    for i, (start, end) in enumerate(pairwise(ends)):
        number = int(shard.input_ids[start])
        assert shard.input_ids[start:end].tolist() == [number] * (1 + number % 3)
        assert shard.next_sentence_labels[i] == number % 2
        if shard.has_masks:
            low, high = map(int, shard.masked_lm_offsets[i : i + 2])
            assert shard.masked_lm_ids[low:high].tolist() == [number] * (number % 2)
        found.append(number)
    return found


def small_pieces(monkeypatch, piece=200, batch=300):
    monkeypatch.setattr("bert.data.shuffle._PIECE_BYTES", piece)
    monkeypatch.setattr("bert.data.shuffle._BATCH_BYTES", batch)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("total", [1, 6, 7, 8, 97, 5000])
def test_every_instance_is_in_exactly_one_shard_whatever_their_numbers(tmp_path, total, masks):
    """7 shards: one instance, fewer, as many, one more, a prime number, and many."""
    sizes = [[total // 2, 0], [], [0], [total // 4, total - total // 2 - total // 4]]

    shards = build(
        write_files(tmp_path / "in", sizes, masks=masks), tmp_path / "out", make_config(7)
    )

    found = [numbers_of(shard) for shard in shards]
    assert Counter(n for numbers in found for n in numbers) == Counter(range(total))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=4).filter(
        lambda files: sum(map(sum, files))
    ),
    shards=st.integers(1, 20),
)
def test_nothing_is_lost_for_any_sizes(tmp_path_factory, sizes, shards):
    folder = tmp_path_factory.mktemp("any")
    found = build(write_files(folder / "in", sizes), folder / "out", make_config(shards))

    numbers = [n for shard in found for n in numbers_of(shard)]
    assert sorted(numbers) == list(range(sum(map(sum, sizes))))


def test_jobs_batches_and_their_order_change_no_byte(tmp_path, monkeypatch):
    files = write_files(tmp_path / "in", [[200, 100], [150], [50, 1]])
    write_all(files, tmp_path / "one", make_config(9))
    for name, jobs, order in [("two", 2, slice(None)), ("seven", 7, slice(None, None, -1))]:
        write_all(files, tmp_path / name, make_config(9, jobs), batch_order=order)
    monkeypatch.setattr("bert.data.shuffle._BATCH_BYTES", 1)
    write_all(files, tmp_path / "single", make_config(9))

    for name in ("two", "seven", "single"):
        for path in (tmp_path / "one").iterdir():
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes()


def test_large_shards_go_through_memory_in_pieces(tmp_path, monkeypatch):
    """Pieces change the order inside a shard, and nothing else."""
    files = write_files(tmp_path / "in", [[2000, 1000], [1500]], masks=True)
    whole = build(files, tmp_path / "whole", make_config(3))
    small_pieces(monkeypatch)
    pieces = build(files, tmp_path / "pieces", make_config(3))

    for one, other in zip(whole, pieces, strict=True):
        assert numbers_of(one) != numbers_of(other)
        assert sorted(numbers_of(one)) == sorted(numbers_of(other))


def test_a_slice_is_read_as_if_the_files_were_one(tmp_path):
    files = write_files(tmp_path / "in", [[5, 7], [], [6]], masks=True)
    sources, _ = list_sources(files)
    whole = [read_instances(path)[0] for path in files]

    found = read_slices(sources, np.array([1, 0, 2]), np.array([4, 0, 6]))

    expected = numbers_of(gather(whole[0], np.arange(1, 4)))
    assert numbers_of(found) == expected + numbers_of(gather(whole[2], np.arange(2, 6)))


def test_a_very_large_file_with_wide_offsets_is_merged_with_the_others(tmp_path):
    plain = write_files(tmp_path / "plain", [[5], [4, 3]], masks=True)
    mixed = write_files(tmp_path / "mixed", [[5], [4, 3]], masks=True)
    widen_offsets(mixed[1])

    one, other = (
        build(files, tmp_path / "out" / files[0].parent.name, make_config(2))
        for files in (plain, mixed)
    )

    for a, b in zip(one, other, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_shard_sizes_differ_by_at_most_one():
    sizes = [high - low for low, high in (shard_range(s, 2048, 100_003) for s in range(2048))]

    assert sum(sizes) == 100_003
    assert max(sizes) - min(sizes) == 1


def test_neighbours_are_spread_over_the_shards(tmp_path):
    """100 neighbours over 10 shards: a shard with none has probability 10 * 0.9^100 = 3e-4."""
    shards = build(write_files(tmp_path / "in", [[500], [500]]), tmp_path / "out", make_config(10))

    assert all((shard.input_ids < 100).any() for shard in shards)


def test_the_order_inside_a_shard_leaves_no_trace_of_files_or_numbers(tmp_path):
    """Spearman's rank correlation of a random order has standard deviation 1/sqrt(n - 1)."""
    files = write_files(tmp_path / "in", [[3000], [3000]])
    (shard,) = build(files, tmp_path / "out", make_config(1))

    numbers = np.array(numbers_of(shard))
    places = np.arange(len(numbers))
    assert abs(np.corrcoef(places, numbers)[0, 1]) < 5 / np.sqrt(len(numbers) - 1)
    assert abs(np.corrcoef(places, numbers < 3000)[0, 1]) < 5 / np.sqrt(len(numbers) - 1)


def test_the_seed_changes_the_order_and_not_the_shard(tmp_path):
    files = write_files(tmp_path / "in", [[300]])
    one = build(files, tmp_path / "a", make_config(2))
    other = build(files, tmp_path / "b", make_config(2, seed=2))

    for a, b in zip(one, other, strict=True):
        assert numbers_of(a) != numbers_of(b)
        assert sorted(numbers_of(a)) == sorted(numbers_of(b))


@pytest.mark.parametrize(("shards", "jobs"), [(2048, 32), (7, 3), (5, 5), (3, 8)])
def test_jobs_share_the_shards_without_gap_or_overlap(shards, jobs):
    config = make_config(shards, jobs)

    numbers = [s for job in range(min(jobs, shards)) for s in job_shards(job, config)]

    assert numbers == list(range(shards))


def test_more_files_than_may_be_open_are_merged(tmp_path):
    """150 instance files and 70 shards under a limit of 64 open files."""
    write_files(tmp_path / "in", [[5]] * 150)
    code = (
        "import resource, sys; from pathlib import Path; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from tests.test_shuffle import make_config, write_all; "
        f"files = sorted(Path({str(tmp_path / 'in')!r}).iterdir()); "
        f"write_all(files, Path({str(tmp_path / 'out')!r}), make_config(70))"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

    shards = [read_instances(path)[0] for path in (tmp_path / "out").iterdir()]
    assert sorted(n for shard in shards for n in numbers_of(shard)) == list(range(750))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"info": INFO._replace(vocabulary_sha256="cd" * 32)}, "another vocabulary"),
        ({"seed": 2}, "encoded with different settings"),
        ({"phase": 2}, "encoded with different settings"),
        ({"masks": True}, "encoded with different settings"),
        ({"part": 0}, "are both of part 0"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, changes, message):
    files = write_files(tmp_path / "a", [[3]])
    files += write_files(tmp_path / "b", [[3]], **{"part": 1} | changes)

    with pytest.raises(ShardError, match=message):
        list_sources(files)


def test_a_shard_is_no_instance_file(tmp_path):
    build(write_files(tmp_path / "in", [[30]]), tmp_path / "out", make_config(1))

    with pytest.raises(ShardError, match="has no runs; it is a shard"):
        list_sources(list((tmp_path / "out").iterdir()))


def test_runs_that_do_not_add_up_are_refused(tmp_path):
    (path,) = write_files(tmp_path, [[30]])
    with h5py.File(path, "r+") as file:
        file.attrs["run_sizes"] = np.array([29], np.uint64)

    with pytest.raises(ShardError, match="runs of 29 instances together, but 30"):
        list_sources([path])


def test_a_file_that_was_cut_short_meanwhile_is_refused(tmp_path):
    files = write_files(tmp_path, [[3000]])
    sources, _ = list_sources(files)
    files[0].write_bytes(files[0].read_bytes()[:5000])

    with pytest.raises(ShardError, match="it is cut short"):
        read_slices(sources, np.array([0]), np.array([3000]))


@pytest.mark.parametrize("sizes", [[], [[]], [[0], [0, 0]]])
def test_no_instances_at_all_are_refused(tmp_path, sizes):
    files = write_files(tmp_path, sizes)

    with pytest.raises(ValueError, match=f"{len(sizes)} instance files hold no instance"):
        list_sources(files)
