"""Counter-based randomness: numbers that are functions of a key and a counter, never of a state.

The data engine needs the same draw for the same (seed, phase, epoch, instance, token) whichever
worker or rank asks, in whatever order. A stateful generator cannot give that; hashing can.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DRAWS_AT_ONCE = 4096


def mix(values: U64) -> U64:
    """Finalizer of SplitMix64: a bijection of 64-bit integers whose output bits look independent.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
    variant 13 of Stafford's mixers.
    """
    z: U64 = values >> np.uint64(30)
    z ^= values
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def make_key(*parts: int) -> np.uint64:
    """One key from a seed and the names of what it is for, such as (seed, phase, epoch)."""
    return np.uint64(make_keys(*parts)[0])


def make_keys(*parts: int | U64) -> U64:
    """Keys as of `make_key`, one for each item of those parts that are arrays."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = mix(key + _GOLDEN) ^ np.asarray(part, np.uint64)
        key = mix(key + _GOLDEN)
    return key


def random_bits(key: np.uint64 | U64, counter: U64) -> U64:
    """64 random bits for each (key, counter); `key` is one number or an array like `counter`."""
    return mix(mix(counter + _GOLDEN) ^ np.asarray(key, np.uint64))


def random_below(key: np.uint64 | U64, counter: U64, bound: int) -> NDArray[np.int64]:
    """Uniform integers in [0, bound) for each (key, counter); bound < 2**32, bias < 2**-32."""
    high = random_bits(key, counter) >> np.uint64(32)
    return ((high * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Yields draws from [0, 1) without end; several times as fast as one call of `rng` each."""
    while True:
        yield from rng.random(_DRAWS_AT_ONCE).tolist()


def permute_each(
    index: NDArray[np.int64], which: NDArray[np.int64], sizes: NDArray[np.int64], keys: U64
) -> NDArray[np.int64]:
    """Images of `index` under keyed pseudo-random permutations that are computed, not stored.

    Permutation p of range(sizes[p]) is a balanced Feistel network of six rounds on the next even
    number of bits, with cycle walking for values that fall outside.

    Args:
        index: [n], each below the size of its permutation.
        which: [n], the permutation of each, below P.
        sizes: [P], each at least 1.
        keys: [P], one a permutation.

    Returns:
        [n] int64, each below the size of its permutation.

    Source: Luby, Rackoff, "How to construct pseudorandom permutations", SIAM J. Comput. 1988;
    cycle walking: Black, Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
    """
    if len(sizes) and sizes.min() < 1:
        raise ValueError(
            f"A permutation of {sizes.min()} items was asked for; expected at least 1."
        )
    halves = [max(1, -(-(size - 1).bit_length() // 2)) for size in sizes.tolist()]
    bits, limits = np.array(halves, np.uint64), sizes.astype(np.uint64)
    rounds = [make_keys(keys, number) for number in range(6)]
    out = index.astype(np.uint64)
    todo = np.arange(len(index))
    while todo.size:
        number = which[todo]
        half = bits[number]
        mask = (np.uint64(1) << half) - np.uint64(1)
        left, right = out[todo] >> half, out[todo] & mask
        for key in rounds:
            left, right = right, left ^ (random_bits(key[number], right) & mask)
        out[todo] = (left << half) | right
        todo = todo[out[todo] >= limits[number]]
    return out.astype(np.int64)
