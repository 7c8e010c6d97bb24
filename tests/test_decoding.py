import codecs

import pytest

from bert.text.decoding import DecodingError, decode_text, decode_utf8, remove_invisible

FRENCH = "L'été, Zoë a mangé un gâteau à la crème. " * 20
QUOTED = "\u201cIt was so,\u201d he said \u2014 or so they say. "
# In KOI8-R these bytes are letters too, with capitals and small ones swapped.
RUSSIAN = (
    "\u0412\u0441\u0435 \u0441\u0447\u0430\u0441\u0442\u043b\u0438\u0432\u044b\u0435 "
    "\u0441\u0435\u043c\u044c\u0438 \u043f\u043e\u0445\u043e\u0436\u0438 "
    "\u0434\u0440\u0443\u0433 \u043d\u0430 \u0434\u0440\u0443\u0433\u0430, "
    "\u043a\u0430\u0436\u0434\u0430\u044f "
    "\u043d\u0435\u0441\u0447\u0430\u0441\u0442\u043b\u0438\u0432\u0430 "
    "\u043f\u043e-\u0441\u0432\u043e\u0435\u043c\u0443. "
) * 20


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (FRENCH.encode(), "utf-8", FRENCH),
        (codecs.BOM_UTF8 + FRENCH.encode(), "utf-8", FRENCH),
        (FRENCH.encode("utf-16"), "utf-16", FRENCH),
        (codecs.BOM_UTF16_BE + FRENCH.encode("utf-16-be"), "utf-16", FRENCH),
        (FRENCH.encode("utf-32"), "utf-32", FRENCH),
        (codecs.BOM_UTF32_BE + FRENCH.encode("utf-32-be"), "utf-32", FRENCH),
        (FRENCH.encode("latin-1"), "cp1252", FRENCH),
        (QUOTED.encode("cp1252"), "cp1252", QUOTED),
        (RUSSIAN.encode("cp1251"), "cp1251", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "koi8_r", RUSSIAN),
        (RUSSIAN.encode(), "utf-8", RUSSIAN),
        # UTF-8 with a little CP1252 pasted in, and cut in the middle of a character.
        (
            FRENCH.encode() + b"\x93caf\xe9\x94 " + FRENCH.encode()[:-1] + "\xe9".encode()[:1],
            "utf-8_mixed",
            f"{FRENCH}\u201ccaf\xe9\u201d {FRENCH[:-1]}\xc3",
        ),
        (b"plain", "utf-8", "plain"),
        (b"", "utf-8", ""),
    ],
)
def test_text_of_any_encoding_is_read(data, encoding, text):
    assert decode_text(data, where="a") == (text, encoding)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (codecs.BOM_UTF8 + b"\xff", "it is marked or taken for utf-8-sig"),
        (codecs.BOM_UTF16_LE + b"a", "it is marked or taken for utf-16"),
        (b"PK\x03\x04\x00\x00 abc", "it holds NUL characters, so it is a binary file"),
        (bytes(range(256)) * 4, "no encoding fits its bytes"),
    ],
)
def test_bytes_that_are_no_text_are_refused(data, problem):
    with pytest.raises(DecodingError, match=rf"books/a.txt is no text: {problem}.*leave it out"):
        decode_text(data, where="books/a.txt")


def test_characters_that_show_nothing_are_dropped_and_white_space_is_not():
    assert remove_invisible("a\x00\u200bb\xad \ufeffc\u202ed\x9f") == "ab cd"
    assert (
        remove_invisible("a\t\n\r\x0b\x0c\x1c\x85\u2028\xa0b")
        == "a\t\n\r\x0b\x0c\x1c\x85\u2028\xa0b"
    )


def test_the_mark_of_a_pieces_first_line_is_no_text_and_a_bad_line_is_named():
    data = codecs.BOM_UTF8 + b"a\n"
    assert decode_utf8(data, where="f", first_line=1) == "a\n"
    assert decode_utf8(data, where="f", first_line=2) == "\ufeffa\n"
    with pytest.raises(DecodingError, match=r"f, line 8: .*expected UTF-8\. Convert"):
        decode_utf8(b"a\n\xff\n", where="f", first_line=7)
