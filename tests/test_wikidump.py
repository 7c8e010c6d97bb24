"""Pages of a dump, in every layout."""

import bz2
import gzip

import pytest

from bert.text import wikistreams
from bert.text.wikidump import list_pages, read_head
from bert.text.wikistreams import find_streams, read_streams
from tests.dumps import (
    HIDDEN,
    dump_xml,
    extracted,
    head_xml,
    many_pages,
    multistream,
    page_xml,
    pages_of,
    write,
)

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
