"""Counter-based randomness: numbers that are functions of a key and a counter, never of a state.

The data engine needs the same draw for the same (seed, phase, epoch, instance, token) whichever
worker or rank asks, in whatever order. A stateful generator cannot give that; hashing can.
"""

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: U64) -> U64:
    """Finalizer of SplitMix64: a bijection of 64-bit integers whose output bits look independent.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
    variant 13 of Stafford's mixers.
    """
    z: U64 = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def make_key(*parts: int) -> np.uint64:
    """One key from a seed and the names of what it is for, such as (seed, phase, epoch)."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = mix(key + _GOLDEN) ^ np.uint64(part)
        key = mix(key + _GOLDEN)
    return np.uint64(key[0])


def random_bits(key: np.uint64 | U64, counter: U64) -> U64:
    """64 random bits for each (key, counter); `key` is one number or an array like `counter`."""
    return mix(mix(counter + _GOLDEN) ^ np.asarray(key, np.uint64))


def random_below(key: np.uint64 | U64, counter: U64, bound: int) -> NDArray[np.int64]:
    """Uniform integers in [0, bound) for each (key, counter); bound < 2**32, bias < 2**-32."""
    high = random_bits(key, counter) >> np.uint64(32)
    return ((high * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


class Permutation:
    """A keyed pseudo-random permutation of range(size) that is computed, not stored.

    A balanced Feistel network of six rounds on the next even number of bits, with cycle walking
    for values that fall outside. Memory does not depend on `size`.

    Source: Luby, Rackoff, "How to construct pseudorandom permutations", SIAM J. Comput. 1988;
    cycle walking: Black, Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
    """

    def __init__(self, size: int, key: np.uint64) -> None:
        """Permutation of range(size) chosen by `key`."""
        if size < 1:
            raise ValueError(f"A permutation of {size} items was asked for; expected at least 1.")
        self.size = size
        half = max(1, -(-(size - 1).bit_length() // 2))
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._keys = [make_key(int(key), number) for number in range(6)]

    def __call__(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Images of `index` (each in [0, size)), in the same shape."""
        out = self._round_trip(index.astype(np.uint64))
        outside = np.flatnonzero(out >= np.uint64(self.size))
        while outside.size:
            out[outside] = self._round_trip(out[outside])
            outside = outside[out[outside] >= np.uint64(self.size)]
        return out.astype(np.int64)

    def _round_trip(self, value: U64) -> U64:
        left, right = value >> self._half, value & self._mask
        for key in self._keys:
            left, right = right, left ^ (random_bits(key, right) & self._mask)
        return (left << self._half) | right
