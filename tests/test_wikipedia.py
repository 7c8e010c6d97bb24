import bz2
from xml.sax.saxutils import escape

import pytest

from bert.config import ConfigError, check
from bert.text.wikipedia import DumpError, Page, WikipediaConfig, extract_page, read_pages

CONFIG = {
    "format": "wikipedia",
    "raw": "wikipedia",
    "pattern": "*.xml*",
    "min_characters": 20,
    "drop_sections": ["notes"],
}
ARTICLE = "'''Rome''' is a [[city]]. It is old.\n\n== Notes ==\nNone. At all."
SITEINFO = (
    '<siteinfo><namespaces><namespace key="0" /><namespace key="6">Datei</namespace>'
    '<namespace key="14">Kategorie</namespace><namespace key="10">Vorlage</namespace>'
    "</namespaces></siteinfo>"
)


def page_xml(title="Rome", text=ARTICLE, ns="0", redirect="", model="wikitext"):
    redirect = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{redirect}<revision><id>2</id>"
        f"<timestamp>2001-01-01T00:00:00Z</timestamp><model>{model}</model>"
        f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision></page>'
    )


def dump_xml(*pages, version="0.10", siteinfo=SITEINFO):
    namespace = f' xmlns="http://www.mediawiki.org/xml/export-{version}/"' if version else ""
    return f"<mediawiki{namespace}>{siteinfo}{''.join(pages)}</mediawiki>".encode()


def write(path, data):
    path.write_bytes(bz2.compress(data) if path.suffix == ".bz2" else data)
    return path


def page(title="Rome", text=ARTICLE, namespace=0, redirect=False, model="wikitext"):
    hidden = frozenset({"file", "category"})
    return Page(title, namespace, redirect, model, text, hidden)


def config(**changes):
    return check(WikipediaConfig, CONFIG | changes, where="a test")


# Reading dumps


@pytest.mark.parametrize("version", ["0.8", "0.9", "0.10", "0.11", ""])
@pytest.mark.parametrize("name", ["d.xml", "d.xml.bz2"])
def test_pages_of_every_schema_version_are_read_in_order(tmp_path, version, name):
    data = dump_xml(
        page_xml("A & B".replace("&", "&amp;"), "x < y"), page_xml("B"), version=version
    )
    pages = list(read_pages(write(tmp_path / name, data)))
    assert [p.title for p in pages] == ["A & B", "B"]
    assert pages[0].text == "x < y"
    assert pages[1].text == ARTICLE
    assert (pages[1].namespace, pages[1].redirect, pages[1].model) == (0, False, "wikitext")


def test_a_multistream_file_is_read_across_its_streams(tmp_path):
    data = dump_xml(*(page_xml(f"P{n}") for n in range(20)))
    streams = [bz2.compress(data[i : i + 700]) for i in range(0, len(data), 700)]
    assert len(streams) > 5
    (tmp_path / "d.xml.bz2").write_bytes(b"".join(streams))
    assert [p.title for p in read_pages(tmp_path / "d.xml.bz2")] == [f"P{n}" for n in range(20)]


def test_redirects_namespaces_and_models_are_read(tmp_path):
    data = dump_xml(
        page_xml("A", redirect="B"),
        page_xml("C", text="#REDIRECT [[B]]"),
        page_xml("Talk:A", ns="1"),
        page_xml("D", model="json"),
    )
    pages = list(read_pages(write(tmp_path / "d.xml", data)))
    assert [p.redirect for p in pages] == [True, True, False, False]
    assert [p.namespace for p in pages] == [0, 0, 1, 0]
    assert pages[3].model == "json"


def test_names_of_the_file_and_category_namespaces_come_from_the_dump(tmp_path):
    (found,) = read_pages(write(tmp_path / "d.xml", dump_xml(page_xml())))
    assert found.hidden_namespaces == {"file", "image", "media", "category", "datei", "kategorie"}
    (found,) = read_pages(write(tmp_path / "e.xml", dump_xml(page_xml(), siteinfo="")))
    assert found.hidden_namespaces == {"file", "image", "media", "category"}


def test_the_last_revision_counts_and_missing_text_is_empty(tmp_path):
    revision = "<revision><text>{}</text></revision>"
    data = dump_xml(
        f"<page><title>A</title><ns>0</ns>{revision.format('old')}{revision.format('new')}</page>",
        '<page><title>B</title><ns>0</ns><revision><text deleted="deleted" /></revision></page>',
    )
    assert [p.text for p in read_pages(write(tmp_path / "d.xml", data))] == ["new", ""]


def read_bad(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return list(read_pages(tmp_path / name))


def test_a_cut_off_bz2_file_is_refused(tmp_path):
    data = bz2.compress(dump_xml(page_xml()))
    with pytest.raises(DumpError, match=r"d.xml.bz2 ends in the middle of a bzip2 stream.*Fetch"):
        read_bad(tmp_path, "d.xml.bz2", data[:-9])


def test_a_multistream_file_that_lacks_whole_streams_is_refused(tmp_path):
    data = dump_xml(page_xml("A"), page_xml("B"))
    with pytest.raises(DumpError, match=r"d.xml.bz2 is not well-formed XML"):
        read_bad(tmp_path, "d.xml.bz2", bz2.compress(data[:400]))


def test_a_damaged_bz2_file_is_refused(tmp_path):
    data = bytearray(bz2.compress(dump_xml(*(page_xml(f"P{n}") for n in range(50)))))
    data[len(data) // 2] ^= 255
    with pytest.raises(DumpError, match=r"d.xml.bz2 holds damaged bzip2 data"):
        read_bad(tmp_path, "d.xml.bz2", bytes(data))


@pytest.mark.parametrize("data", [b"", b"<html>No such file</html>"])
def test_a_file_that_is_only_named_bz2_is_refused(tmp_path, data):
    with pytest.raises(DumpError, match=r"named .bz2 but does not start with b'BZh'"):
        read_bad(tmp_path, "d.xml.bz2", data)


@pytest.mark.parametrize("data", [b"", b"no XML", b"<mediawiki><page></mediawiki>", b"\x00\xff"])
def test_malformed_xml_is_refused(tmp_path, data):
    with pytest.raises(DumpError, match=r"d.xml is not well-formed XML \(.*Fetch it again"):
        read_bad(tmp_path, "d.xml", data)


def test_xml_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DumpError, match=r"starts with <html>; expected <mediawiki>"):
        read_bad(tmp_path, "d.xml", b"<html></html>")


def test_a_namespace_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(DumpError, match=r"page 'Rome' has the namespace 'x'; expected a number"):
        read_bad(tmp_path, "d.xml", dump_xml(page_xml(ns="x")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"d\.xml"):
        list(read_pages(tmp_path / "d.xml"))


# Articles


def test_an_article_becomes_one_document_of_its_sentences():
    documents, counters = extract_page(page(), config())
    assert documents == [["Rome is a city.", "It is old."]]
    assert counters == ("pages",)


SKIPPED = {
    "skipped_namespace": [page(namespace=1), page(namespace=10), page(namespace=1, redirect=True)],
    "skipped_redirect": [page(redirect=True)],
    "skipped_not_wikitext": [page(model="json")],
    "skipped_disambiguation": [
        page(title="Rome (disambiguation)"),
        *(
            page(text=ARTICLE + end)
            for end in (
                "{{disambiguation}}",
                "{{Disambiguation|geo}}",
                "{{ disambig }}",
                "{{Human name disambiguation}}",
                "{{hndis|Rome}}",
                "{{dab}}",
                "__DISAMBIG__",
            )
        ),
    ],
    "skipped_short": [page(text="Rome is old."), page(text=""), page(text="{{a}}" * 50)],
}


@pytest.mark.parametrize("reason", SKIPPED)
def test_what_is_no_article_is_counted_by_its_reason(reason):
    for skipped in SKIPPED[reason]:
        assert extract_page(skipped, config()) == ([], ("pages", reason))


@pytest.mark.parametrize(
    "text",
    ["{{disambiguation needed}}", "{{about|a|b|Rome (disambiguation)}}", "{{redirect|disambig}}"],
)
def test_pages_that_only_mention_disambiguation_are_articles(text):
    assert len(extract_page(page(text=text + ARTICLE), config())[0]) == 1


def test_a_page_of_just_enough_characters_is_kept():
    length = len("Rome is a city. It is old.")
    assert extract_page(page(), config(min_characters=length))[0]
    assert not extract_page(page(), config(min_characters=length + 1))[0]


def test_dropped_sections_are_those_of_the_config():
    documents, _ = extract_page(page(), config(drop_sections=[]))
    assert documents == [["Rome is a city.", "It is old.", "None.", "At all."]]


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_characters", 0), ("pattern", ""), ("raw", ""), ("drop_sections", "notes")],
)
def test_knobs_out_of_range_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"{key} is "):
        config(**{key: value})
