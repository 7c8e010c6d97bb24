import numpy as np
import pytest

from bert.data.randomness import Permutation, make_key, mix, random_below, random_bits


def test_mix_is_the_published_splitmix64_output_function():
    """SplitMix64 seeded with 0 yields 0xE220A8397B1DCDAF first; its state is then the increment."""
    golden = np.array([0x9E3779B97F4A7C15], np.uint64)

    assert int(mix(golden)[0]) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 65_537])
def test_permutation_meets_every_number_once(size):
    image = Permutation(size, make_key(1, 2))(np.arange(size))

    assert np.array_equal(np.sort(image), np.arange(size))


def test_permutation_does_not_depend_on_what_is_asked_together():
    permutation = Permutation(1000, make_key(5))
    whole = permutation(np.arange(1000))

    assert np.array_equal(permutation(np.array([999, 0, 500])), whole[[999, 0, 500]])


def test_permutations_of_two_keys_differ():
    index = np.arange(1000)

    same = np.count_nonzero(
        Permutation(1000, make_key(1))(index) == Permutation(1000, make_key(2))(index)
    )

    assert same < 12  # expected 1, Poisson: 12 or more has probability below 1e-9


def test_permutation_leaves_no_trace_of_the_order():
    """Spearman's rank correlation of a random permutation has standard deviation 1/sqrt(n - 1)."""
    size = 10_000
    image = Permutation(size, make_key(3))(np.arange(size))

    correlation = np.corrcoef(np.arange(size), image)[0, 1]

    assert abs(correlation) < 5 / np.sqrt(size - 1)


def test_an_empty_permutation_is_refused():
    with pytest.raises(ValueError, match="permutation of 0 items"):
        Permutation(0, make_key(1))


def test_random_below_is_uniform_and_below_the_bound():
    """Chi-square with 9 degrees of freedom: above 60 has probability below 1e-8."""
    drawn = random_below(make_key(9), np.arange(100_000, dtype=np.uint64), 10)

    counts = np.bincount(drawn, minlength=10)

    assert len(counts) == 10
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 60


def test_every_part_of_a_key_matters():
    keys = {int(make_key(*parts)) for parts in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (1, 2), (1, 2, 0)]}

    assert len(keys) == 5


def test_random_bits_takes_a_key_for_each_counter():
    keys = np.array([make_key(1), make_key(2)])
    counter = np.array([7, 7], np.uint64)

    both = random_bits(keys, counter)

    assert both[0] == random_bits(keys[0], counter)[0]
    assert both[0] != both[1]
