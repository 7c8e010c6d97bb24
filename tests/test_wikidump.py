"""Dumps in every layout: plain, one stream, many streams, with and without an index."""

import bz2
import gzip
from xml.sax.saxutils import escape

import pytest

from bert.config import check
from bert.text import ordered, wikidump, wikistreams
from bert.text.compression import CompressionError
from bert.text.extract import extract
from bert.text.wikidump import list_pages, read_head
from bert.text.wikipages import read_pages
from bert.text.wikipedia import WikipediaConfig, list_items, read_item
from bert.text.wikistreams import DumpError, find_streams, read_index, read_streams

SITEINFO = (
    '<siteinfo><dbname>dewiki</dbname><namespaces><namespace key="0" />'
    '<namespace key="6">Datei</namespace><namespace key="14">Kategorie</namespace>'
    '<namespace key="10">Vorlage</namespace></namespaces></siteinfo>'
)
HIDDEN = {"file", "image", "media", "category"}
CONFIG = {
    "format": "wikipedia",
    "raw": "wikipedia",
    "pattern": "*.xml*",
    "licence": "CC-BY-SA-4.0",
    "min_characters": 5,
    "drop_sections": [],
}


def page_xml(title="Rome", text="Rome is old.", ns="0", redirect="", model="wikitext", number=1):
    redirect = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"  <page>\n<title>{title}</title><ns>{ns}</ns><id>{number}</id>{redirect}<revision>"
        f"<id>2</id><timestamp>2001-01-01T00:00:00Z</timestamp><model>{model}</model>"
        f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def head_xml(version="0.10", siteinfo=SITEINFO):
    namespace = f' xmlns="http://www.mediawiki.org/xml/export-{version}/"' if version else ""
    return f"<mediawiki{namespace}>{siteinfo}\n"


def dump_xml(*pages, **head):
    return f"{head_xml(**head)}{''.join(pages)}</mediawiki>\n".encode()


def many_pages(count, padding=0, first=1):
    """Articles of many lengths with a redirect, a talk page and a link to a file among them."""
    return [
        page_xml(
            f"P{n}",
            f"Page {n} is here. [[Datei:x.png|A file.]] "
            + "It goes on. " * (n % 40)
            + "x" * padding,
            ns=str(int(n % 7 == 0)),
            redirect="A" if n % 5 == 0 else "",
            number=n,
        )
        for n in range(first, first + count)
    ]


def multistream(pages, pages_per_stream):
    """A dump as Wikimedia packs it, and its index."""
    stretches = [pages[i : i + pages_per_stream] for i in range(0, len(pages), pages_per_stream)]
    data, index = bz2.compress(head_xml().encode()), []
    number = 1
    for stretch in stretches:
        index += [f"{len(data)}:{number + n}:P: {number + n}\n" for n in range(len(stretch))]
        number += len(stretch)
        data += bz2.compress("".join(stretch).encode())
    return data + bz2.compress(b"</mediawiki>\n"), "".join(index).encode()


def write(path, data):
    path.write_bytes(bz2.compress(data) if path.suffix == ".bz2" else data)
    return path


def config():
    return check(WikipediaConfig, CONFIG, where="a test")


def pages_of(path, index=None):
    items = list(list_pages(path, read_head(path), index))
    assert [item.is_first for item in items] == [True] + [False] * (len(items) - 1)
    assert [item.is_last for item in items] == [False] * (len(items) - 1) + [True]
    return [page for item in items for page in read_pages(item)]


def read_bad(tmp_path, name, data, index=None):
    (tmp_path / name).write_bytes(data)
    return pages_of(tmp_path / name, index)


def extracted(files, folder, workers=1):
    folder.mkdir(exist_ok=True)
    counts = extract(config(), files, folder, workers=workers)
    return counts, (folder / "documents.txt").read_bytes(), (folder / "names.txt").read_bytes()


@pytest.fixture
def small_items(monkeypatch):
    """Cuts every few pages, so that a small dump has many items."""
    monkeypatch.setattr(wikidump, "_ITEM_BYTES", 2000)
    monkeypatch.setattr(wikidump, "_READ_BYTES", 16)
    monkeypatch.setattr(wikistreams, "_RANGE_BYTES", 300)
    monkeypatch.setattr(wikistreams, "_READ_BYTES", 64)
    monkeypatch.setattr(ordered, "_BATCH_WEIGHT", 4000)


# Pages


@pytest.mark.parametrize("version", ["0.8", "0.9", "0.10", "0.11", ""])
@pytest.mark.parametrize("name", ["d.xml", "d.xml.bz2"])
def test_pages_of_every_schema_version_are_read_in_order(tmp_path, version, name):
    data = dump_xml(page_xml("A &amp; B", "x < y", number=7), page_xml("B"), version=version)
    pages = pages_of(write(tmp_path / name, data))
    assert [(p.title, p.text, p.page_id) for p in pages] == [
        ("A & B", "x < y", "7"),
        ("B", "Rome is old.", "1"),
    ]
    assert (pages[1].namespace, pages[1].redirect, pages[1].model) == (0, False, "wikitext")


def test_redirects_namespaces_and_models_are_read(tmp_path):
    data = dump_xml(
        page_xml("A", redirect="B"),
        page_xml("C", text="#REDIRECT [[B]]"),
        page_xml("Talk:A", ns="1"),
        page_xml("D", model="json"),
    )
    pages = pages_of(write(tmp_path / "d.xml", data))
    assert [p.redirect for p in pages] == [True, True, False, False]
    assert [p.namespace for p in pages] == [0, 0, 1, 0]
    assert pages[3].model == "json"


@pytest.mark.parametrize("version", ["0.11", ""])
def test_the_head_names_the_site_and_the_file_and_category_namespaces(tmp_path, version):
    head = read_head(write(tmp_path / "d.xml", dump_xml(page_xml(number=9), version=version)))
    assert (head.site, head.first_page) == ("dewiki", 9)
    assert head.hidden_namespaces == HIDDEN | {"datei", "kategorie"}
    head = read_head(write(tmp_path / "e.xml", dump_xml(siteinfo="")))
    assert (head.site, head.first_page, head.hidden_namespaces) == ("", None, HIDDEN)


def test_the_last_revision_counts_and_missing_text_is_empty(tmp_path):
    revision = "<revision><text>{}</text></revision>"
    start = "<page><title>A</title><ns>0</ns><id>1</id>"
    data = dump_xml(
        f"{start}{revision.format('old')}{revision.format('new')}</page>",
        f'{start}<revision><text deleted="deleted" /></revision></page>',
    )
    assert [p.text for p in pages_of(write(tmp_path / "d.xml", data))] == ["new", ""]


def test_a_dump_without_pages_is_a_whole_dump(tmp_path):
    assert pages_of(write(tmp_path / "d.xml", dump_xml())) == []


# Layouts


@pytest.mark.parametrize("per_stream", [1, 7, 1000])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_layout_gives_the_same_bytes_with_any_number_of_workers(
    tmp_path, small_items, per_stream, workers
):
    pages = many_pages(60, padding=30)
    whole = "".join([head_xml(), *pages, "</mediawiki>\n"]).encode()
    streams, index = multistream(pages, per_stream)
    single = write(tmp_path / "single.xml.bz2", whole)
    expected = extracted([single], tmp_path / "out")
    counts = expected[0]
    assert counts["pages"] == 60
    assert counts["documents"] == 60 - counts["skipped_redirect"] - counts["skipped_namespace"]
    assert b"A file" not in expected[1]

    (tmp_path / "d.xml.gz").write_bytes(gzip.compress(whole))
    (tmp_path / "d-multistream1.xml-p1p60.bz2").write_bytes(streams)
    (tmp_path / "d-multistream-index1.txt-p1p60.bz2").write_bytes(bz2.compress(index))
    dump, listing = sorted(tmp_path.glob("d-*"))[::-1]
    plain = write(tmp_path / "d.xml", whole)
    for files in ([plain], [tmp_path / "d.xml.gz"], [single], [dump], [listing, dump]):
        assert extracted(files, tmp_path / "out", workers) == expected


def test_a_large_plain_file_is_cut_at_pages_only(tmp_path, small_items):
    data = dump_xml(*many_pages(100))
    path = write(tmp_path / "d.xml", data)
    items = list(list_pages(path, read_head(path), None))
    assert len(items) > 10
    assert b"".join(data[i.start : i.end] for i in items) == data[read_head(path).size :]
    assert all(data[i.start :].lstrip().startswith(b"<page>") for i in items)
    assert all(item.content is None for item in items)


def test_a_multistream_file_is_read_by_ranges_that_cover_it(tmp_path, small_items):
    data, _ = multistream(many_pages(100, padding=200), 3)
    (tmp_path / "d.xml.bz2").write_bytes(data)
    items = list(list_pages(tmp_path / "d.xml.bz2", read_head(tmp_path / "d.xml.bz2"), None))
    assert len(items) > 5
    assert all(item.packed and item.content is None for item in items)
    head = len(bz2.compress(head_xml().encode()))
    assert [i.start for i in items] == [head, *(i.end for i in items[:-1])]
    assert items[-1].end == len(data)


def test_streams_that_end_in_the_middle_of_pages_are_read_as_one(tmp_path, small_items):
    data = dump_xml(*many_pages(50))
    streams = [bz2.compress(data[i : i + 700]) for i in range(0, len(data), 700)]
    (tmp_path / "d.xml.bz2").write_bytes(b"".join(streams))
    assert [p.title for p in pages_of(tmp_path / "d.xml.bz2")] == [f"P{n}" for n in range(1, 51)]


@pytest.mark.parametrize("read_bytes", [1, 3, 9, 10, 11, 64])
def test_starts_of_streams_are_found_wherever_blocks_are_read(tmp_path, monkeypatch, read_bytes):
    monkeypatch.setattr(wikistreams, "_READ_BYTES", read_bytes)
    streams = [bz2.compress(b"x" * n, level) for n, level in ((5, 9), (0, 1), (400, 5), (1, 2))]
    (tmp_path / "d").write_bytes(b"".join(streams))
    starts = [sum(map(len, streams[:n])) for n in range(len(streams))]
    assert list(find_streams(tmp_path / "d")) == starts
    assert read_streams(tmp_path / "d", 0, starts[3]) == b"x" * 405


def test_several_files_are_read_one_after_the_other(tmp_path):
    files = [
        write(tmp_path / f"d{n}.xml.bz2", dump_xml(*many_pages(20, first=20 * n + 1)))
        for n in range(3)
    ]
    counts, _, names = extracted(files, tmp_path / "out")
    assert (counts["files"], counts["pages"]) == (3, 60)
    assert names.split() == sorted(names.split(), key=int)


# Damage


def test_a_cut_off_bz2_file_is_refused(tmp_path):
    data = bz2.compress(dump_xml(page_xml()))
    with pytest.raises(CompressionError, match=r"d.xml.bz2 ends in the middle of.*Fetch it again"):
        read_bad(tmp_path, "d.xml.bz2", data[:-9])


@pytest.mark.parametrize("cut", [30, 200, 1000])
def test_a_cut_off_multistream_file_is_refused(tmp_path, cut):
    data, _ = multistream(many_pages(50), 10)
    with pytest.raises(ValueError, match=r"d.xml.bz2 ends? in the middle of .*Fetch"):
        read_bad(tmp_path, "d.xml.bz2", data[:-cut])


def test_a_multistream_file_that_lacks_its_last_streams_is_refused(tmp_path):
    data, _ = multistream(many_pages(50), 10)
    starts = [data.rfind(b"BZh"), data.rfind(b"BZh", 0, data.rfind(b"BZh"))]
    for start in starts:
        with pytest.raises(DumpError, match=r"d.xml.bz2 does not end with </mediawiki>.*Fetch"):
            read_bad(tmp_path, "d.xml.bz2", data[:start])


@pytest.mark.parametrize("cut", [1, 5, 12, 20, 100])
def test_cut_off_xml_is_refused(tmp_path, cut):
    data = dump_xml(page_xml("A"), page_xml("B")).rstrip()
    for name, content in (("d.xml", data[:-cut]), ("d.xml.bz2", bz2.compress(data[:-cut]))):
        with pytest.raises(DumpError, match=rf"{name} does not end with </mediawiki>.*Fetch"):
            read_bad(tmp_path, name, content)


def test_a_damaged_bz2_file_is_refused(tmp_path):
    data = bytearray(bz2.compress(dump_xml(*many_pages(50))))
    data[len(data) // 2] ^= 255
    with pytest.raises(CompressionError, match=r"d.xml.bz2 holds damaged .bz2 data"):
        read_bad(tmp_path, "d.xml.bz2", bytes(data))


def test_a_damaged_stream_is_refused_with_its_place(tmp_path):
    data, _ = multistream(many_pages(500), 100)
    data = bytearray(data)
    data[-300] ^= 255
    problem = r"bytes \d+ to \d+ of .*d.xml.bz2 are no undamaged bzip2 streams"
    with pytest.raises(DumpError, match=problem):
        read_bad(tmp_path, "d.xml.bz2", bytes(data))


@pytest.mark.parametrize("data", [b"", b"<html>No such file</html>"])
def test_a_file_that_is_only_named_bz2_is_refused(tmp_path, data):
    with pytest.raises(CompressionError, match=r"named .bz2 but starts with.*expected b'BZh'"):
        read_bad(tmp_path, "d.xml.bz2", data)


@pytest.mark.parametrize(
    "data",
    [b"", b"no XML", b"<mediawiki><page></mediawiki>", b"\x00\xff", dump_xml("<page>&x;</page>")],
)
def test_malformed_xml_is_refused(tmp_path, data):
    with pytest.raises(DumpError, match=r"d.xml is not well-formed XML \(.*Fetch it again"):
        read_bad(tmp_path, "d.xml", data)


def test_two_dumps_in_one_file_are_refused(tmp_path):
    with pytest.raises(DumpError, match="is not well-formed XML"):
        read_bad(tmp_path, "d.xml", 2 * dump_xml(page_xml()))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html></html>", "starts with <html>; expected <mediawiki>"),
        (b"<feed>" + b"<doc></doc>" * 100_000, "no <page> in its first MiB"),
        (dump_xml(page_xml(), "<logitem />"), "holds <logitem> beside its pages"),
        (dump_xml(page_xml(ns="x")), "page 'Rome' has the namespace 'x'; expected a number"),
        (dump_xml(page_xml(number="")), "page 'Rome' has the id ''; expected a number"),
    ],
)
def test_xml_of_another_kind_is_refused(tmp_path, data, problem):
    with pytest.raises(DumpError, match=problem):
        read_bad(tmp_path, "d.xml", data)


def test_a_page_larger_than_memory_allows_is_refused(tmp_path, monkeypatch, small_items):
    monkeypatch.setattr(wikidump, "LARGEST_XML", 5000)
    monkeypatch.setattr(wikistreams, "LARGEST_XML", 5000)
    data = dump_xml(page_xml("A", "x" * 9000), *many_pages(3))
    for name, content in (("d.xml", data), ("d.xml.bz2", bz2.compress(data))):
        with pytest.raises(DumpError, match=r"no <page> in the 0 MiB after byte \d+"):
            read_bad(tmp_path, name, content)
    streams, _ = multistream([page_xml("A", "x" * 9000)], 1)
    with pytest.raises(DumpError, match="hold over 0 MiB of text"):
        read_bad(tmp_path, "d.xml.bz2", streams)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"d\.xml"):
        list(list_items([tmp_path / "d.xml"], config()))


def test_files_that_start_with_the_same_page_are_refused(tmp_path):
    data = dump_xml(*many_pages(3))
    files = [write(tmp_path / "a.xml", data), write(tmp_path / "b.xml.bz2", data)]
    with pytest.raises(DumpError, match=r"b.xml.bz2 and .*a.xml start with the same page, 1"):
        list(list_items(files, config()))


# Indexes


def indexed(tmp_path, data, index):
    (tmp_path / "d-multistream.xml.bz2").write_bytes(data)
    (tmp_path / "d-multistream-index.txt").write_bytes(index)
    items = list_items(sorted(tmp_path.iterdir()), config())
    return [documents for item in items for documents, _ in [read_item(item, config())]]


def test_an_index_names_the_offsets_and_pages_of_streams(tmp_path):
    (tmp_path / "i.txt").write_bytes(b"600:10:A\n600:12:B: C\n900:13:D\n")
    assert list(read_index(tmp_path / "i.txt")) == [(600, (10, 12)), (900, (13,))]


WRONG_INDEXES = {
    "of another dump": (lambda data, index: (data, index.replace(b":5:", b":500:")), "5.*states"),
    "beyond the file": (lambda data, index: (data, index + b"99999999:51:X\n"), "99999999 of"),
    "that falls": (lambda data, index: (data, index + b"9:51:X\n"), "offset 9 after"),
    "between streams": (
        lambda data, index: (data, f"{len(data) - 99}:1:X\n".encode()),
        "end in the middle of a bzip2 stream",
    ),
    "that starts late": (
        lambda data, index: (data, b"".join(index.splitlines(keepends=True)[10:])),
        "does not fit.*its first offset stands after",
    ),
    "that is no index": (lambda data, index: (data, b"<html>\n"), "line 1: .*is no line of an"),
    "with a title cut off": (lambda data, index: (data, index[:-6]), "line 50: .*is no line of"),
}


@pytest.mark.parametrize("kind", WRONG_INDEXES)
def test_an_index_that_does_not_fit_is_refused(tmp_path, kind):
    spoil, problem = WRONG_INDEXES[kind]
    data, index = multistream(many_pages(50), 10)
    assert len(indexed(tmp_path, data, index)) > 0
    with pytest.raises(DumpError, match=problem):
        indexed(tmp_path, *spoil(data, index))


def test_an_index_without_its_dump_is_refused(tmp_path):
    path = tmp_path / "d-multistream-index.txt.bz2"
    path.write_bytes(bz2.compress(b"600:10:A\n"))
    with pytest.raises(
        DumpError, match=r"without its dump, which would be .*d-multistream.xml.bz2"
    ):
        list(list_items([path], config()))


def test_an_index_of_a_plain_file_is_refused(tmp_path):
    path = write(tmp_path / "d.xml", dump_xml(page_xml()))
    with pytest.raises(DumpError, match=r"belongs to a bzip2 file, but .*d.xml is none"):
        list(list_pages(path, read_head(path), tmp_path / "d-index.txt"))


def test_streams_too_large_to_be_held_are_refused_with_an_index(tmp_path, monkeypatch):
    monkeypatch.setattr(wikistreams, "_LARGEST_RANGE", 500)
    data, index = multistream(many_pages(200), 100)
    with pytest.raises(DumpError, match="no start of a bzip2 stream in the"):
        indexed(tmp_path, data, index)
