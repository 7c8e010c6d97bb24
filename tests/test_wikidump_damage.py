"""Damaged dumps, and indexes."""

import bz2

import pytest

from bert.text import wikidump, wikistreams
from bert.text.compression import CompressionError
from bert.text.wikidump import list_pages, read_head
from bert.text.wikipedia import list_items, read_item
from bert.text.wikistreams import DumpError, read_index
from tests.dumps import (
    config,
    dump_xml,
    many_pages,
    multistream,
    page_xml,
    read_bad,
    write,
)

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
