import random

import pytest

from bert.convert.snappy import SnappyError, decompress
from tests.tensor_bundle_files import compressed


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        # 60: the length less one is in the next byte; 61: in two.
        (b"\x46\xf0\x45" + b"x" * 70, b"x" * 70),
        (b"\xac\x02\xf4\x2b\x01" + b"y" * 300, b"y" * 300),
        # A copy with an 11-bit distance: 4 + 3 bytes, 3 back, which repeats itself.
        (b"\x0a\x08abc\x0d\x03", b"abcabcabca"),
        # With a 16-bit and a 32-bit distance: 6 bytes, 6 back.
        (b"\x0c\x14abcdef\x16\x06\x00", b"abcdefabcdef"),
        (b"\x0c\x14abcdef\x17\x06\x00\x00\x00", b"abcdefabcdef"),
    ],
)
def test_each_element_means_what_the_format_says(block, expected):
    assert decompress(block) == expected


def test_an_11_bit_distance_has_its_upper_bits_in_the_tag():
    data = random.Random(1).randbytes(300)
    literals = b"".join(b"\xec" + data[at : at + 60] for at in range(0, 300, 60))

    # Tag: distance 300 = 1 << 8 | 44, length 4, kind 1.
    assert decompress(b"\xb0\x02" + literals + b"\x21\x2c") == data + data[:4]


def test_a_block_with_repeats_comes_back_whole():
    data = b"bert/encoder/layer_0/kernel" * 9 + bytes(range(256)) * 2
    block = compressed(data)

    assert len(block) < len(data)
    assert decompress(block) == data


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"", "its length is cut short"),
        (b"\xff\xff\xff\xff\xff", "its length is cut short"),
        (b"\x04\x08abc", "3 bytes come out, expected 4"),
        (b"\x03\x08ab", "a literal is cut short"),
        (b"\x46\xf4\x45", "an element is cut short"),
        (b"\x07\x08abc\x01\x04", "a copy starts 4 bytes back, after 3 bytes"),
        (b"\x07\x08abc\x01\x00", "a copy starts 0 bytes back"),
    ],
)
def test_damaged_blocks_are_refused(block, message):
    with pytest.raises(SnappyError, match=message):
        decompress(block)
