"""The normal form in which texts are compared: words without case, punctuation and layout.

ASCII letters become small ones, every other ASCII character that is no digit separates words. A
word with further characters is brought to Unicode's form NFKC and case-folded; letters, marks and
numbers (categories L, M and N) are kept, everything else separates words. "The Caf\u00e9's 2nd
hat!" becomes `the caf\u00e9 s 2nd hat`. Two texts are equal when their words are.
"""

import unicodedata
from hashlib import blake2b

DIGEST_BYTES = 16

_KEPT = "LMN"
_MOST_WORDS = 1 << 16


class _Separators(dict[int, int]):
    """Code point to itself if it belongs to words, else to a space; for `str.translate`."""

    def __missing__(self, code: int) -> int:
        kept = unicodedata.category(chr(code))[0] in _KEPT
        self[code] = code if kept else ord(" ")
        return self[code]


class _Words(dict[bytes, list[bytes]]):
    """A word with characters beyond ASCII to its normal form, remembered in bounded memory."""

    def __missing__(self, word: bytes) -> list[bytes]:
        if len(self) >= _MOST_WORDS:
            self.clear()
        folded = unicodedata.normalize("NFKC", word.decode("utf-8", "replace")).casefold()
        value = self[word] = folded.translate(_SEPARATORS).encode("utf-8").split()
        return value


_SEPARATORS = _Separators()
_WORDS = _Words()
_ASCII = "".join(map(chr, range(128))).lower().translate(_SEPARATORS).encode() + bytes(
    range(128, 256)
)


def normal_words(text: bytes) -> list[bytes]:
    """The words of a UTF-8 text in their normal form; what is not UTF-8 separates words."""
    if text.isascii():
        return text.translate(_ASCII).split()
    normal: list[bytes] = []
    for line in text.split(b"\n"):
        words = line.translate(_ASCII).split()
        if line.isascii():
            normal += words
            continue
        for word in words:
            if word.isascii():
                normal.append(word)
            else:
                normal += _WORDS[word]
    return normal


def document_words(document: bytes) -> list[bytes]:
    """What a document is compared by: its words, or itself if it has none (symbols only)."""
    return normal_words(document) or [document]


def text_digest(words: list[bytes]) -> bytes:
    """16 bytes that are equal for texts of equal words (BLAKE2b)."""
    return blake2b(b" ".join(words), digest_size=DIGEST_BYTES).digest()
