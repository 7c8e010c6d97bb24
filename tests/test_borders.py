import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.data.borders import find_borders
from bert.data.runs import ORDER, Runs, instance_keys


def literal_borders(files, ranks):
    """Sorts all keys, and counts in each run those that are among the first `rank`."""
    runs = [file.keys(run) for file in files for run in range(len(file.sizes))]
    everything = np.sort(np.concatenate([*runs, np.zeros(0, np.uint64)]))
    return [[int(np.isin(keys, everything[:rank]).sum()) for rank in ranks] for keys in runs]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.lists(st.integers(0, 60), max_size=4), min_size=1, max_size=5),
    shards=st.integers(1, 50),
    seed=st.integers(0, 2**40),
)
def test_borders_are_those_of_all_keys_sorted(sizes, shards, seed):
    files = [Runs(seed, 1, part, tuple(runs)) for part, runs in enumerate(sizes)]
    total = sum(map(sum, sizes))
    ranks = np.array([shard * total // shards for shard in range(shards + 1)])

    borders = find_borders(files, ranks)

    assert borders.tolist() == literal_borders(files, ranks) or not total
    assert borders.sum(axis=0).tolist() == ranks.tolist()


def test_borders_of_many_instances_add_up_to_their_ranks():
    """With several buckets a border, which small numbers of instances do not need."""
    files = [Runs(1, 2, part, (40_000, 1, 30_011)) for part in range(5)]
    total = 5 * 70_012
    ranks = np.array([shard * total // 1000 for shard in range(300, 601)])

    borders = find_borders(files, ranks)

    assert borders.sum(axis=0).tolist() == ranks.tolist()
    assert (np.diff(borders.astype(np.int64), axis=1) >= 0).all()
    assert borders[:2, 7].tolist() == [row[0] for row in literal_borders(files, ranks[7:8])[:2]]


def test_no_two_instances_share_a_key():
    keys = np.concatenate(
        [
            instance_keys(1, 1, part, run, np.arange(20_000), use=ORDER)
            for part in (0, 1, 1023)
            for run in (0, 1, 4095)
        ]
    )

    assert len(np.unique(keys)) == len(keys)


def test_keys_are_uniform():
    """Chi-square with 15 degrees of freedom: above 70 has probability below 1e-8."""
    keys = instance_keys(5, 2, 7, 3, np.arange(160_000), use=ORDER)

    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)

    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 70


@pytest.mark.parametrize(("part", "run"), [(1 << 20, 0), (0, 1 << 12)])
def test_numbers_that_no_key_is_there_for_are_refused(part, run):
    with pytest.raises(ValueError, match=f"Run {run} of part {part} has no keys"):
        instance_keys(1, 1, part, run, np.arange(1), use=ORDER)
