"""Where a text can be cut into words whose token ids do not depend on their neighbours.

WordPiece: BERT's clean-up works character by character, but for accents, which attach to the
character before them and never to an ASCII one. Spaces and ASCII punctuation always part words,
and nothing removes them; nor the spaces that it puts around ideographs. So cuts are spaces, and
both sides of ASCII punctuation and of an ideograph of U+5000..9FFF. Everything else (control
characters that are removed and join what they stood between, all other spaces and punctuation)
stays inside a word.

Byte-level BPE: GPT-2's pattern takes letters, numbers, other visible characters and white space
apart, gives a space to what follows it, and has no look behind. So a cut is between an ASCII letter
or digit and ASCII punctuation, but for an apostrophe before a letter, which may be a contraction;
and before a space, if no space stands before it and something that is surely visible behind.

Both: before and after a line feed, which is a word by itself.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64

_PUNCTUATION = set(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_GAP, _WORD, _ALONE, _IDEOGRAPH = range(4)  # classes of bytes for WordPiece
_WORDPIECE = bytes(
    _GAP if byte == 0x20
    else _ALONE if byte in _PUNCTUATION or byte == 0x0A
    else _IDEOGRAPH if 0xE5 <= byte <= 0xE9  # its first byte; two more follow
    else _WORD
    for byte in range(256)
)  # fmt: skip
_OTHER, _LETTER, _MARK, _APOSTROPHE, _LINE_END = range(5)  # classes of bytes for byte-level BPE
_BYTE_LEVEL = bytes(
    _LETTER if bytes([byte]).isalnum()
    else _APOSTROPHE if byte == 0x27
    else _MARK if byte in _PUNCTUATION
    else _LINE_END if byte == 0x0A
    else _OTHER
    for byte in range(256)
)  # fmt: skip
_CUT_BETWEEN = bytearray(256)  # at 8 * class before + class after
for _before in range(5):
    for _after in range(5):
        _CUT_BETWEEN[8 * _before + _after] = (
            _LINE_END in (_before, _after)
            or (_before == _LETTER and _after in (_MARK, _APOSTROPHE))
            or (_before == _MARK and _after == _LETTER)
        )
# First bytes of characters that are no white space: ASCII's visible ones, and of the rest all but
# those of U+0080..00BF and U+1000..3FFF, where the white space of Unicode lies.
_VISIBLE = bytes(
    0x21 <= b <= 0x7E or (0xC3 <= b <= 0xF4 and b not in (0xE1, 0xE2, 0xE3)) for b in range(256)
)
WORDPIECE_CUT = re.compile(rb"(?<=[\n !-/:-@\[-`{-~])|(?=[\xe5-\xe9])")
BYTE_LEVEL_CUT = re.compile(
    rb"(?<=\n)|(?<! )(?= [!-~\xc3-\xe0\xe4-\xf4])"
    rb"|(?<=[0-9A-Za-z])(?=[!-/:-@\[-`{-~])|(?<=[!-&(-/:-@\[-`{-~])(?=[0-9A-Za-z])"
)
_LINE_WITHOUT_SPACE = re.compile(rb"\n(?=[^ \n])")


def blocks(text: bytes, cut: re.Pattern[bytes], size: int) -> Iterator[bytes]:
    """Cuts a text that ends with a line feed into blocks of about `size` bytes.

    A longer block is one word. `cut` finds the places where words end.
    """
    start = 0
    while start < len(text):
        found = cut.search(text, min(start + size, len(text)))
        if found is None:
            raise ValueError("The text does not end with a line feed.")
        yield text[start : found.start()]
        start = found.start()


def lines_with_space(text: bytes) -> bytes:
    """Puts a space before every line that has none and is not empty: `add_prefix_space`."""
    return _LINE_WITHOUT_SPACE.sub(b"\n ", b"\n" + text)[1:]


def wordpiece_words(block: bytes) -> tuple[I64, I64]:
    """First byte and length of each word of a block, without the spaces between them."""
    classes = np.frombuffer(block.translate(_WORDPIECE), np.uint8)
    in_word = classes == _WORD
    ideographs = np.flatnonzero(classes == _IDEOGRAPH)
    in_word[ideographs] = True
    goes_on = in_word[1:] & in_word[:-1]  # from each byte to the next
    goes_on[ideographs[ideographs > 0] - 1] = False
    after = ideographs + 3
    goes_on[after[after < len(block)] - 1] = False
    is_start = classes != _GAP
    is_end = is_start.copy()
    is_start[1:] &= ~goes_on
    is_end[:-1] &= ~goes_on
    starts = np.flatnonzero(is_start)
    return starts, np.flatnonzero(is_end) - starts + 1


def byte_level_words(block: bytes) -> tuple[I64, I64]:
    """First byte and length of each word of a block; a space belongs to the word behind it."""
    classes = np.frombuffer(block.translate(_BYTE_LEVEL), np.uint8)
    pairs = (classes[:-1] << 3 | classes[1:]).tobytes().translate(_CUT_BETWEEN)
    is_start = np.ones(len(block), np.bool_)
    is_start[1:] = np.frombuffer(pairs, np.bool_)
    data: NDArray[np.uint8] = np.frombuffer(block, np.uint8)
    # No cut is behind a space, so a byte follows each, and place -1 holds none.
    spaces = np.flatnonzero(data == 0x20)
    visible = np.frombuffer(block.translate(_VISIBLE), np.bool_)
    is_start[spaces[visible[spaces + 1] & (data[spaces - 1] != 0x20)]] = True
    starts = np.flatnonzero(is_start)
    return starts, np.diff(starts, append=len(block))
