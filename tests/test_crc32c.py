import random

import google_crc32c
import pytest

from bert.convert import crc32c as module
from bert.convert.crc32c import crc32c, crc32c_numpy, masked_crc32c

# RFC 3720, appendix B.4; the check value of the CRC catalogue.
KNOWN = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


@pytest.mark.parametrize(("data", "expected"), KNOWN)
def test_published_values(data, expected):
    assert crc32c_numpy(data) == expected == crc32c(data)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1023, 1024, 1025, 4099, 16_384, 100_001])
def test_numpy_agrees_with_the_library_at_every_border(monkeypatch, size):
    monkeypatch.setattr(module, "_CHUNK", 16 * 1024)
    data = random.Random(size).randbytes(size)

    assert crc32c_numpy(data) == google_crc32c.value(data)


def test_without_the_library_numpy_takes_its_place(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(module, "import_module", missing)

    assert crc32c(b"123456789") == 0xE3069283


def test_the_mask_is_a_turn_and_a_sum():
    turned = 0xE3069283 >> 15 | 0xE3069283 << 17 & 0xFFFFFFFF

    assert masked_crc32c(b"123456789") == (turned + 0xA282EAD8) % 2**32
