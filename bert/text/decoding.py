"""Bytes of unknown encoding to text, by a fixed order of rules.

1. A byte order mark names UTF-8, UTF-16 or UTF-32.
2. What decodes as UTF-8 is UTF-8.
3. What is mostly ASCII (a Western European text) and has no byte that Windows code page 1252
   leaves undefined is CP1252, which is Latin-1 with more printable characters.
4. Otherwise charset-normalizer guesses, and its first guess that is not mostly capitals is taken.
"""

import codecs
import re

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
    for name in ("utf-8", "cp1252"):
        if name == "utf-8" or _is_western(data):
            try:
                return _checked(data.decode(name), where), name
            except UnicodeDecodeError:
                continue
    guesses = [match.encoding for match in charset_normalizer.from_bytes(data)]
    if not guesses:
        raise _error(where, "no encoding fits its bytes")
    # Russian in CP1251 can be taken for KOI8-R, in which it shows with the case of letters swapped.
    texts = ((_decode(data, name, where), name) for name in guesses)
    likely = ((text, name) for text, name in texts if not _is_mostly_upper(text))
    return next(likely, (_decode(data, guesses[0], where), guesses[0]))


def remove_invisible(text: str) -> str:
    """Drops characters that show nothing and would split or hide words; white space stays."""
    return _INVISIBLE.sub("", text)


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
