import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.fetch.checksums import Expected
from bert.fetch.listing import ListingError, parse_listing, select
from tests.web import md5, sha1, sha256

BASE = "https://x.org/pub/d/"


def parse(text, base=BASE):
    return parse_listing(text, base, "the list")


def test_checksum_lines_of_every_algorithm_are_read():
    text = f"{md5(b'a')}  a.gz\n{sha1(b'b')} *sub/b c.gz\n\n{sha256(b'c')}  ./c.gz\n"

    listed = parse(text)

    assert [(one.name, one.place) for one in listed] == [
        ("a.gz", "a.gz"),
        ("c.gz", "c.gz"),
        ("sub/b c.gz", "sub/b%20c.gz"),
    ]
    assert [one.expected for one in listed] == [
        Expected(md5=md5(b"a")),
        Expected(sha256=sha256(b"c")),
        Expected(sha1=sha1(b"b")),
    ]


def test_the_form_of_nlm_is_read():
    (listed,) = parse(f"MD5(pubmed26n0001.xml.gz)= {md5(b'a')}\n")

    assert (listed.name, listed.expected.md5) == ("pubmed26n0001.xml.gz", md5(b"a"))


def test_addresses_and_names_a_line_are_read_and_comments_are_not():
    listed = parse("# pinned\nhttps://y.org/q/b%20c.txt?v=1\n\n  a.txt\n")

    assert [(one.name, one.place) for one in listed] == [
        ("a.txt", "a.txt"),
        ("b c.txt", "https://y.org/q/b%20c.txt?v=1"),
    ]


def test_a_checksum_may_stand_before_a_whole_address():
    (listed,) = parse(f"{sha256(b'a')}  https://y.org/q/a.txt\n")

    assert listed == ("a.txt", "https://y.org/q/a.txt", Expected(sha256=sha256(b"a")), None, True)


INDEX = """<!DOCTYPE HTML><html><head><title>Index of /pub/d</title></head><body><pre>
<a href="?C=N;O=D">Name</a> <a href="/pub/">Parent Directory</a> <a href="../">../</a>
<a href="pubmed26n0001.xml.gz">pubmed26n0001.xml.gz</a> 2026-01-15 17:02 19M
<a href="pubmed26n0001.xml.gz.md5">pubmed26n0001.xml.gz.md5</a> 60
<a href="/pub/d/pubmed26n0002.xml.gz">pubmed26n0002.xml.gz</a>
<A HREF='https://x.org/pub/d/with%20space.gz#top'>x</A>
<a href="sub/">sub/</a> <a href="https://elsewhere.org/file.gz">other</a> <a name="x">anchor</a>
<a href="README.txt">README.txt</a> <a href="README.txt">again</a> <a href="lone.md5">lone.md5</a>
</pre></body></html>"""


def test_an_index_page_gives_the_files_of_its_folder_with_their_checksum_files():
    listed = {one.name: (one.place, one.sidecar) for one in parse(INDEX)}

    assert listed == {
        "pubmed26n0001.xml.gz": ("pubmed26n0001.xml.gz", "pubmed26n0001.xml.gz.md5"),
        "pubmed26n0002.xml.gz": ("pubmed26n0002.xml.gz", None),
        "with space.gz": ("with%20space.gz", None),
        "README.txt": ("README.txt", None),
        "lone.md5": ("lone.md5", None),
    }


STATUS = {
    "version": "0.8",
    "jobs": {
        "articlesdump": {
            "status": "done",
            "updated": "2026-04-02 01:02:03",
            "files": {
                "w-20260401-pages-articles1.xml-p1p9.bz2": {
                    "size": 7,
                    "url": "/w/20260401/w-20260401-pages-articles1.xml-p1p9.bz2",
                    "md5": md5(b"a"),
                    "sha1": sha1(b"a"),
                }
            },
        },
        "metahistory7zdump": {
            "status": "in-progress",
            "files": {"w-20260401-pages-meta-history1.7z": {}},
        },
        "waiting": {"status": "waiting"},
    },
}


def test_dumpstatus_gives_address_size_and_checksums():
    listed = parse(json.dumps(STATUS))

    assert select(listed, "*pages-articles*", "the list") == [
        (
            "w-20260401-pages-articles1.xml-p1p9.bz2",
            "https://x.org/w/20260401/w-20260401-pages-articles1.xml-p1p9.bz2",
            Expected(size=7, md5=md5(b"a"), sha1=sha1(b"a")),
            None,
            True,
        )
    ]


def test_a_file_that_the_server_still_writes_is_refused():
    with pytest.raises(ListingError, match=r"1 files are not finished yet, such as w-.*7z"):
        select(parse(json.dumps(STATUS)), "*.7z", "the list")


HUB = "https://huggingface.co/api/datasets/wikimedia/wikipedia/tree/b04c8d1/20231101.en"


def test_the_list_of_a_hugging_face_folder_gives_sizes_and_sha256():
    entries = [
        {"type": "directory", "oid": "1", "size": 0, "path": "20231101.en/more"},
        {
            "type": "file",
            "oid": sha1(b"pointer"),
            "size": 3,
            "lfs": {"oid": sha256(b"abc"), "size": 3, "pointerSize": 134},
            "path": "20231101.en/train-00000-of-00041.parquet",
        },
        {"type": "file", "oid": sha1(b"git blob"), "size": 9, "path": "20231101.en/README.md"},
    ]

    small, large = parse_listing(json.dumps(entries), "", HUB)

    base = "https://huggingface.co/datasets/wikimedia/wikipedia/resolve/b04c8d1/20231101.en/"
    assert small[:3] == ("20231101.en/README.md", base + "README.md", Expected(size=9))
    assert large[1:3] == (
        base + "train-00000-of-00041.parquet",
        Expected(size=3, sha256=sha256(b"abc")),
    )
    (model,) = parse_listing(
        json.dumps(entries[2:]), "", "https://huggingface.co/api/models/google-bert/x/tree/main"
    )
    assert model.place == "https://huggingface.co/google-bert/x/resolve/main/20231101.en/README.md"


def test_a_hugging_face_list_that_may_go_on_is_refused():
    entries = [{"type": "file", "size": 1, "path": str(number)} for number in range(1000)]

    with pytest.raises(ListingError, match="has 1000 entries and may go on"):
        parse_listing(json.dumps(entries), "", HUB)
    with pytest.raises(ListingError, match="is not a list of a repository's files"):
        parse_listing('[{"path": 3}]', "", HUB)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is a JSON array; expected one only from"),
        ("", "names no file"),
        ("# only a comment\n", "names no file"),
        ("<html><body>Please log in</body></html>", "names no file"),
        ("two words\n", "line 1 is 'two words'; expected"),
        ("a\nb\na\n", "names a 2 times"),
        ("../../etc/passwd\n", "names '../../etc/passwd'; expected a path below"),
        ("/etc/passwd\n", "names '/etc/passwd'"),
        (f"{md5(b'a')}  a\x07b\n", "expected a path below its folder"),
        ('{"jobs": 3}', "not like a dumpstatus.json"),
        ('{"jobs"', "not like a dumpstatus.json"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(text, message):
    with pytest.raises(ListingError, match=re.escape(message)):
        parse(text)


def test_a_pattern_without_a_slash_is_about_the_last_part_of_the_name():
    listed = parse("a/x.gz\nb/x.gz\nb/y.txt\n")

    assert [one.name for one in select(listed, "*.gz", "l")] == ["a/x.gz", "b/x.gz"]
    assert [one.name for one in select(listed, "b/*", "l")] == ["b/x.gz", "b/y.txt"]
    assert len(select(listed, None, "l")) == 3
    with pytest.raises(ListingError, match=r"none of the 3 files of l matches .*'\*\.xz'.*a/x\.gz"):
        select(listed, "*.xz", "l")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=300))
def test_any_text_is_a_list_or_one_clear_error(text):
    try:
        listed = parse(text)
    except ListingError:
        return
    assert listed
    assert all(".." not in one.name.split("/") and one.name[0] != "/" for one in listed)
