import bz2
import json

import pytest

from bert.config import check
from bert.text.decoding import DecodingError
from bert.text.wikiextractor import (
    WikiExtractorConfig,
    WikiExtractorError,
    list_items,
    read_item,
)

CONFIG = {"format": "wikiextractor", "raw": "a", "pattern": "wiki_*", "licence": "CC-BY-SA-4.0"}
TEXT = """<doc id="12" url="http://en.wikipedia.org/wiki?curid=12" title="A &amp; B">
A &amp; B

A &amp; B (; born 1942) are two.<br>They are friends &lt;ref&gt;of C&lt;/ref&gt; for long.
History.
See also
{| class="x"
!scope=col|Name
|}
They left [http://a.org the town] in 1990.

</doc>
<doc id="13" url="http://en.wikipedia.org/wiki?curid=13" title="Empty">
Empty

</doc>
<doc id="14" revid="9" url="https://en.wikipedia.org/wiki?curid=14" title="The "C" is > B">
It is so.
</doc>
"""
DOCUMENTS = [
    (
        "12",
        [
            "A & B (born 1942) are two.",
            "They are friends of C for long.",
            "History.",
            "They left the town in 1990.",
        ],
    ),
    ("14", ["It is so."]),
]


def read(tmp_path, contents):
    config = check(WikiExtractorConfig, CONFIG, where="a test")
    files = []
    for name, data in contents.items():
        files.append(tmp_path / name)
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].write_bytes(data)
    items = list(list_items(files, config))
    results = [read_item(item, config) for item in items]
    documents = [tuple(d) for found, _ in results for d in found]
    return documents, sorted(name for _, names in results for name in names)


def as_json(text):
    pages = []
    for block in text.split("</doc>\n")[:-1]:
        head, body = block.split("\n", 1)
        title = head.split('title="')[1].removesuffix('">').replace("&amp;", "&")
        pages.append({"id": head.split('"')[1], "revid": "1", "title": title, "text": body})
    return "".join(json.dumps(page) + "\n" for page in pages).encode()


COUNTERS = ["files", "pages", "pages", "pages", "skipped_empty"]


@pytest.mark.parametrize("make", [str.encode, as_json], ids=["text", "json"])
@pytest.mark.parametrize("pack", [bytes, bz2.compress], ids=["plain", "bz2"])
def test_both_layouts_give_the_same_articles(tmp_path, make, pack):
    name = "wiki_00" if pack is bytes else "wiki_00.bz2"
    assert read(tmp_path, {f"AA/{name}": pack(make(TEXT))}) == (DOCUMENTS, COUNTERS)


def test_line_ends_do_not_change_the_articles(tmp_path):
    data = TEXT.replace("\n", "\r\n").encode()
    assert read(tmp_path, {"AA/wiki_00": data}) == (DOCUMENTS, COUNTERS)


def test_an_empty_file_has_no_article(tmp_path):
    assert read(tmp_path, {"AA/wiki_00": b"", "AA/wiki_01": b"\n"}) == ([], ["files", "files"])


@pytest.mark.parametrize("make", [str.encode, as_json], ids=["text", "json"])
def test_articles_do_not_depend_on_how_they_lie_in_files(tmp_path, make):
    block = '<doc id="%d" url="u" title="T%d">\nT%d\n\nIt is %d here. ' + "x" * 4000 + "\n</doc>\n"
    blocks = [make(block % (n, n, n, n)) for n in range(1200)]
    one, counters = read(tmp_path, {"AA/wiki_00": b"".join(blocks)})
    halves = {"wiki_01": b"".join(blocks[:500]), "wiki_02": b"".join(blocks[500:])}
    assert one == read(tmp_path, halves)[0]
    assert [name for name, _ in one] == [str(n) for n in range(1200)]
    assert counters.count("files") == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Some text.\n", "wiki_00, line 1: found 'Some text.' outside of a block"),
        (TEXT + "More.\n", "wiki_00, line 20: found 'More.' outside of a block"),
        (TEXT.replace("</doc>\n", "", 1), "line 12: found a <doc> inside of another"),
        (TEXT.removesuffix("</doc>\n"), "line 17: found no </doc> for page 14"),
        ('{"id": "1", "text": "a"}\n', r"line 1: found a line that is no page \(KeyError"),
        ('{"id": "1"\n', r"line 1: found a line that is no page"),
        ('{"id": 1, "title": "a", "text": "b"}\n', "line 1: found values that are no text"),
        ("{}\n[1]\n", "line 1: found a line that is no page"),
    ],
)
def test_what_is_no_output_of_wikiextractor_is_refused_with_its_line(tmp_path, data, problem):
    with pytest.raises(WikiExtractorError, match=problem):
        read(tmp_path, {"AA/wiki_00": data.encode()})


def test_text_that_is_no_utf8_is_refused(tmp_path):
    with pytest.raises(DecodingError, match="wiki_00, line 4"):
        read(tmp_path, {"AA/wiki_00": TEXT.encode().replace(b"are two", b"\xff")})
