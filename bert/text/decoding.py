"""Bytes of unknown encoding to text, by a fixed order of rules.

1. A byte order mark names UTF-8, UTF-16 or UTF-32.
2. What decodes as UTF-8 is UTF-8. If at most one non-ASCII character in ten is damaged, it is UTF-8
   into which other text was pasted, and the bytes that do not fit are read as CP1252.
3. What is mostly ASCII (a Western European text) and has no byte that Windows code page 1252
   leaves undefined is CP1252, which is Latin-1 with more printable characters.
4. Otherwise charset-normalizer guesses, and its first guess that is not mostly capitals is taken.
"""

import codecs
import re
from contextlib import suppress

import charset_normalizer

# Most specific first: the mark of UTF-32-LE starts with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16"),
)
# French has about 4 accented letters in 100, Finnish 6; Russian in CP1251 has over 75.
_WESTERN_SHARE = 0.2
# Controls other than white space, soft hyphen, zero-width space, directions, byte order mark.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)

_NOT_ASCII = re.compile("[^\x00-\x7f]")
_ESCAPED = re.compile("[\udc80-\udcff]")  # the bytes that Python's "surrogateescape" hides


class DecodingError(ValueError):
    """Bytes that are no text in any encoding that was tried."""


def decode_text(data: bytes, *, where: str) -> tuple[str, str]:
    """Returns the text and the name of its encoding.

    Args:
        data: The whole file.
        where: The file's name, for the message.

    Raises:
        DecodingError: No encoding fits.
    """
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _decode(data, codec, where), name
    try:
        return _checked(data.decode("utf-8"), where), "utf-8"
    except UnicodeDecodeError:
        mixed = _decode_mixed(data)
    if mixed is not None:
        return _checked(mixed, where), "utf-8_mixed"
    if _is_western(data):
        with suppress(UnicodeDecodeError):
            return _checked(data.decode("cp1252"), where), "cp1252"
    guesses = [match.encoding for match in charset_normalizer.from_bytes(data)]
    if not guesses:
        raise _error(where, "no encoding fits its bytes")
    # Russian in CP1251 can be taken for KOI8-R, in which it shows with the case of letters swapped.
    texts = ((_decode(data, name, where), name) for name in guesses)
    likely = ((text, name) for text, name in texts if not _is_mostly_upper(text))
    return next(likely, (_decode(data, guesses[0], where), guesses[0]))


def decode_utf8(data: bytes, *, where: str, first_line: int) -> str:
    """Returns UTF-8 text that is a piece of a file, without the byte order mark of line 1.

    Args:
        data: Whole lines.
        where: The file's name, for the message.
        first_line: Number of the first line, from 1.

    Raises:
        DecodingError: The bytes are not UTF-8; names the line.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise DecodingError(
            f"{where}, line {line}: {error}; expected UTF-8. Convert the file to UTF-8."
        ) from None
    return text.removeprefix("\ufeff") if first_line == 1 else text


def remove_invisible(text: str) -> str:
    """Drops characters that show nothing and would split or hide words; white space stays."""
    return _INVISIBLE.sub("", text)


def _decode_mixed(data: bytes) -> str | None:
    """UTF-8 with at most a tenth of its non-ASCII characters damaged; None if it is not that."""
    text = data.decode("utf-8", "surrogateescape")
    damaged = len(_ESCAPED.findall(text))
    if 10 * damaged > len(_NOT_ASCII.findall(text)):
        return None
    return _ESCAPED.sub(lambda m: bytes([ord(m[0]) - 0xDC00]).decode("cp1252", "replace"), text)


def _is_western(data: bytes) -> bool:
    ascii_bytes = len(data.translate(None, delete=bytes(range(128, 256))))
    return len(data) - ascii_bytes <= _WESTERN_SHARE * len(data)


def _is_mostly_upper(text: str) -> bool:
    return sum(map(str.isupper, text)) > sum(map(str.islower, text))


def _decode(data: bytes, codec: str, where: str) -> str:
    try:
        return _checked(data.decode(codec), where)
    except UnicodeDecodeError as error:
        raise _error(where, f"it is marked or taken for {codec}, but {error}") from None


def _checked(text: str, where: str) -> str:
    if "\0" in text:
        raise _error(where, "it holds NUL characters, so it is a binary file")
    return text


def _error(where: str, problem: str) -> DecodingError:
    return DecodingError(
        f"{where} is no text: {problem}. Expected UTF-8 or another text encoding; convert the "
        "file to UTF-8 or leave it out."
    )
