from itertools import islice

import numpy as np
import pytest

from bert.data.randomness import (
    make_key,
    make_keys,
    mix,
    permute_each,
    random_below,
    random_bits,
    uniforms,
)


def permute(index, size, key):
    """Images under one permutation."""
    return permute_each(index, np.zeros_like(index), np.array([size]), np.array([key]))


def test_mix_is_the_published_splitmix64_output_function():
    """SplitMix64 seeded with 0 yields 0xE220A8397B1DCDAF first; its state is then the increment."""
    golden = np.array([0x9E3779B97F4A7C15], np.uint64)

    assert int(mix(golden)[0]) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 65_537])
def test_permutation_meets_every_number_once(size):
    image = permute(np.arange(size), size, make_key(1, 2))

    assert np.array_equal(np.sort(image), np.arange(size))


def test_permutation_does_not_depend_on_what_is_asked_together():
    sizes, keys = np.array([7, 1000, 12]), make_keys(5, np.arange(3))
    alone = [permute(np.arange(size), size, key) for size, key in zip(sizes, keys, strict=True)]
    index, which = np.array([999, 3, 0, 11, 500]), np.array([1, 0, 1, 2, 1])

    together = permute_each(index, which, sizes, keys)

    assert together.tolist() == [alone[p][i] for i, p in zip(index, which, strict=True)]


def test_permutations_of_two_keys_differ():
    index = np.arange(1000)

    same = np.count_nonzero(permute(index, 1000, make_key(1)) == permute(index, 1000, make_key(2)))

    assert same < 12  # expected 1, Poisson: 12 or more has probability below 1e-9


def test_permutation_leaves_no_trace_of_the_order():
    """Spearman's rank correlation of a random permutation has standard deviation 1/sqrt(n - 1)."""
    size = 10_000
    image = permute(np.arange(size), size, make_key(3))

    correlation = np.corrcoef(np.arange(size), image)[0, 1]

    assert abs(correlation) < 5 / np.sqrt(size - 1)


def test_many_keys_are_the_keys_one_by_one():
    assert make_keys(1, np.arange(3), 4).tolist() == [int(make_key(1, n, 4)) for n in range(3)]


def test_an_empty_permutation_is_refused():
    with pytest.raises(ValueError, match="permutation of 0 items"):
        permute(np.arange(1), 0, make_key(1))


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


def test_uniforms_are_the_draws_of_the_generator_one_by_one():
    rng = np.random.default_rng(3)

    drawn = list(islice(uniforms(np.random.default_rng(3)), 10_000))

    assert drawn == [rng.random() for _ in range(10_000)]


def test_mix_leaves_its_argument_alone():
    values = np.arange(5, dtype=np.uint64)

    mix(values)

    assert values.tolist() == [0, 1, 2, 3, 4]
