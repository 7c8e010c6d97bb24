import gzip
import hashlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import check
from bert.fetch.checksums import ChecksumError
from bert.text import pubmed, pubmed_files
from bert.text.compression import CompressionError
from bert.text.extract import extract
from bert.text.pubmed import PubmedConfig, list_items, read_item
from bert.text.pubmed_files import PubmedError, describe_numbers, order_files

SECTION = {
    "format": "pubmed",
    "raw": "pubmed",
    "pattern": "*.xml.gz",
    "licence": "NLM terms",
    "title": False,
    "other_abstracts": [],
    "min_characters": 5,
    "allow_missing_files": False,
}
DOCTYPES = {
    2016: "<!DOCTYPE MedlineCitationSet PUBLIC "
    '"-//NLM//DTD Medline Citation, 1st January, 2016//EN"\n'
    '  "https://www.nlm.nih.gov/databases/dtd/nlmmedlinecitationset_160101.dtd">\n',
    2018: '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2018//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_180101.dtd">\n',
    2026: '<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_260101.dtd">\n',
}


def record(pmid, text="It is {}.", version=1, year=2026, attributes=""):
    """A citation as in the files of a year; other PMIDs stand in it, as comments and references."""
    abstract = (
        f"<Abstract><AbstractText>{text.format(pmid)}</AbstractText></Abstract>" if text else ""
    )
    medline = (
        f'<MedlineCitation Status="MEDLINE" Owner="NLM"{attributes}>\n'
        f'<PMID Version="{version}">{pmid}</PMID><Article PubModel="Print">'
        f"<ArticleTitle>Title of {pmid}.</ArticleTitle>{abstract}</Article>"
        '<CommentsCorrectionsList><CommentsCorrections><PMID Version="1">77</PMID>'
        "</CommentsCorrections></CommentsCorrectionsList></MedlineCitation>"
    )
    if year < 2017:
        return medline
    return (
        f'<PubmedArticle>{medline}<PubmedData><ArticleIdList><ArticleId IdType="pubmed">{pmid}'
        "</ArticleId></ArticleIdList></PubmedData></PubmedArticle>"
    )


def deletion(*pmids, version=1):
    inner = "".join(f'<PMID Version="{version}">{pmid}</PMID>\n' for pmid in pmids)
    return f"<DeleteCitation>\n{inner}</DeleteCitation>"


def document(*records, year=2026):
    root = "MedlineCitationSet" if year < 2017 else "PubmedArticleSet"
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n{DOCTYPES[year]}<{root}>\n'
    return (head + "\n".join(records) + f"\n</{root}>\n").encode()


def write(folder, *files, name="pubmed26n{:04d}.xml.gz"):
    """Writes files numbered from 1; a file is bytes, or a list of its records."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(files, start=1):
        path = folder / name.format(number)
        data = content if isinstance(content, bytes) else document(*content)
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        paths.append(path)
    return paths


def read(files, **changes):
    """Names and texts of the documents, and the counts above zero."""
    config = check(PubmedConfig, SECTION | changes, where="a test")
    documents, counts = [], {}
    for item in list_items(files, config):
        found, names = read_item(item, config)
        documents += [(d.name, " ".join(d.sentences)) for d in found]
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    assert set(counts) <= set(pubmed.COUNTS)
    return documents, counts


# What is read


@pytest.mark.parametrize("year", DOCTYPES)
@pytest.mark.parametrize("packed", [".gz", ""])
def test_citations_of_all_layouts_become_documents_named_by_pmid(tmp_path, year, packed):
    data = document(
        record(11, year=year), record(12, "", year=year), record(13, year=year), year=year
    )
    files = write(tmp_path, data, name="medline16n{:04d}.xml" + packed)
    documents, counts = read(files)
    assert documents == [("11", "It is 11."), ("13", "It is 13.")]
    assert counts == {"files": 1, "md5_missing": 1, "citations": 3, "skipped_no_abstract": 1}


def test_titles_come_first_where_wanted_and_short_abstracts_are_counted(tmp_path):
    files = write(tmp_path, [record(1, "It is a long one."), record(2, "So.")])
    documents, counts = read(files, title=True, min_characters=4)
    assert documents == [("1", "Title of 1. It is a long one.")]
    assert counts["skipped_short"] == 1


def test_formulas_are_read_with_the_prefix_declared_anywhere_or_nowhere(tmp_path):
    text = "It is <mml:math{}><mml:mi>x</mml:mi></mml:math>."
    space = ' xmlns:mml="http://www.w3.org/1998/Math/MathML"'
    files = write(
        tmp_path,
        [record(1, text.replace("{}", "")), record(2, text.replace("{}", space))],
        document(record(3, text.replace("{}", ""))).replace(
            b"<PubmedArticleSet>", f"<PubmedArticleSet{space}>".encode()
        ),
    )
    assert [text for _, text in read(files)[0]] == ["It is x."] * 3


def test_books_are_skipped_and_counted(tmp_path):
    book = '<BookDocument><PMID Version="1">5</PMID></BookDocument>'
    book = f"<PubmedBookArticle>{book}</PubmedBookArticle>"
    documents, counts = read(write(tmp_path, [record(1), book, record(2)]))
    assert [name for name, _ in documents] == ["1", "2"]
    assert (counts["citations"], counts["skipped_book"]) == (3, 1)


# Which records stand


def test_a_later_record_replaces_an_earlier_one_and_a_deletion_drops_it(tmp_path):
    files = write(
        tmp_path,
        [record(1, "First {}."), record(2, "First {}."), record(3), record(4, "First {}.")],
        [record(2, "Second {}."), record(5), deletion(3, 99)],
        [record(2, "Third {}."), record(6), record(6, "Again {}."), deletion(4)],
        [record(4, "Back {}.")],
    )
    documents, counts = read(files)
    assert documents == [
        ("1", "First 1."),
        ("5", "It is 5."),
        ("2", "Third 2."),
        ("6", "Again 6."),
        ("4", "Back 4."),
    ]
    # Replaced: 2 twice, 6 once. Deleted: 3, and 4 before it came back.
    assert counts == {
        "files": 4,
        "md5_missing": 4,
        "citations": 10,
        "deletions": 3,
        "skipped_replaced": 3,
        "skipped_deleted": 2,
    }


def test_of_the_versions_of_an_article_the_highest_that_stands_counts(tmp_path):
    files = write(
        tmp_path,
        [record(1, "One."), record(1, "Two.", version=2), record(2, "One.")],
        [record(3, "Two.", version=2), record(2, "Two.", version=2), record(1, "New one.")],
        [record(3, "One."), deletion(2, version=2)],
    )
    documents, counts = read(files, min_characters=1)
    assert documents == [("1", "Two."), ("2", "One."), ("3", "Two.")]
    assert counts["skipped_older_version"] == 2  # version 1 of 1 (its new record), and of 3
    assert (counts["skipped_replaced"], counts["skipped_deleted"]) == (1, 1)


EVENTS = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.integers(1, 3)), max_size=8),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(EVENTS)
def test_what_stands_is_what_a_database_would_hold(tmp_path_factory, files):
    """The oracle loads file by file into a dictionary, as NLM tells licensees to."""
    database, written, place = {}, [], 0
    for events in files:
        records = []
        for is_deletion, pmid, version in events:
            place += 1
            if is_deletion:
                database.pop((pmid, version), None)
                records.append(deletion(pmid, version=version))
            else:
                database[pmid, version] = place
                records.append(record(pmid, f"Text number {place}.", version))
        written.append(records)
    newest = {}
    for (pmid, _), number in sorted(database.items()):
        newest[pmid] = (number, str(pmid))
    expected = [(pmid, f"Text number {number}.") for number, pmid in sorted(newest.values())]
    documents, counts = read(write(tmp_path_factory.mktemp("pubmed"), *written))
    assert documents == expected
    skipped = sum(count for name, count in counts.items() if name.startswith("skipped_"))
    assert len(documents) + skipped == counts.get("citations", 0)


def test_the_bytes_do_not_depend_on_workers_or_on_the_size_of_items(tmp_path, monkeypatch):
    monkeypatch.setattr(pubmed_files, "_READ_BYTES", 1000)
    files = write(tmp_path / "raw", *[[record(n) for n in range(s, s + 40)] for s in (1, 21, 41)])
    config = check(PubmedConfig, SECTION, where="a test")
    written = []
    for workers, size in ((1, 1 << 20), (1, 700), (2, 700), (3, 5000)):
        monkeypatch.setattr(pubmed, "_ITEM_BYTES", size)
        folder = tmp_path / f"{workers}-{size}"
        folder.mkdir()
        counts = extract(config, files[::-1], folder, workers=workers)
        written.append(
            (counts, *((folder / n).read_bytes() for n in ("documents.txt", "names.txt")))
        )
    assert all(one == written[0] for one in written)
    assert written[0][2].decode().split() == [str(n) for n in range(1, 81)]
    assert written[0][0]["skipped_replaced"] == 40


def test_memory_does_not_grow_with_the_number_of_citations(tmp_path, monkeypatch):
    monkeypatch.setattr(pubmed_files, "_READ_BYTES", 1 << 15)
    monkeypatch.setattr(pubmed, "_ITEM_BYTES", 1 << 15)
    peaks = []
    for count in (2, 16):
        files = write(
            tmp_path / str(count),
            *[[record(n * 100 + i, "It is so. " * 50) for i in range(100)] for n in range(count)],
        )
        config = check(PubmedConfig, SECTION, where="a test")
        tracemalloc.start()
        for item in list_items(files, config):
            read_item(item, config)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# Files: order, gaps, checksums


def test_files_are_read_in_the_order_of_their_numbers(tmp_path):
    names = ["b/pubmed26n0002.xml.gz", "z/pubmed26n0001.xml.gz", "a/pubmed26n10000.xml.gz"]
    files, missing = order_files([tmp_path / name for name in names])
    assert [path.name[8:-7] for path in files] == ["n0001", "n0002", "n10000"]
    assert missing == list(range(3, 10000))


def test_missing_files_are_named(tmp_path):
    files = write(tmp_path, *[[record(n)] for n in range(1, 8)])
    chosen = [files[n] for n in (1, 4, 6)]
    with pytest.raises(
        PubmedError,
        match=r"4 files are missing before .*n0007.*: n0001, n0003 to n0004, n0006. Fetch",
    ):
        read(chosen)
    documents, counts = read(chosen, allow_missing_files=True)
    assert [name for name, _ in documents] == ["2", "5", "7"]
    assert counts["missing_files"] == 4


def test_many_gaps_are_shortened():
    assert describe_numbers(range(2, 62, 2)).endswith("n0040 and 10 more gaps")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["citations.xml.gz"], r"tells no place among the files; expected a name such as pubmed26"),
        (["pubmed25n0001.xml.gz", "pubmed26n0002.xml.gz"], r"are of 2 years \(pubmed25n0001"),
        (["a/pubmed26n0001.xml.gz", "b/pubmed26n0001.xml.gz"], "have the same number"),
        (["pubmed26n0001.xml.gz", "pubmed26n0001.xml"], "have the same number"),
    ],
)
def test_files_without_one_order_are_refused(tmp_path, names, problem):
    with pytest.raises(PubmedError, match=problem):
        order_files([tmp_path / name for name in names])


def sidecar(path, text=None):
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    path.with_name(f"{path.name}.md5").write_text(text or f"MD5({path.name})= {digest}\n")


def test_md5_files_beside_the_files_are_checked_and_counted(tmp_path):
    files = write(tmp_path, [record(1)], [record(2)], [record(3)])
    sidecar(files[0])
    sidecar(files[2])
    _, counts = read(files)
    assert (counts["md5_checked"], counts["md5_missing"]) == (2, 1)


def test_a_wrong_md5_is_refused(tmp_path):
    (file,) = write(tmp_path, [record(1)])
    sidecar(file, f"MD5({file.name})= {'0' * 32}\n")
    with pytest.raises(PubmedError, match=r"n0001.xml.gz has md5 \w{32}, .* says 0{32}"):
        read([file])
    sidecar(file, f"MD5(pubmed26n0002.xml.gz)= {'0' * 32}\n")
    with pytest.raises(PubmedError, match=r"does not name pubmed26n0001.xml.gz"):
        read([file])
    sidecar(file, "<html>")
    with pytest.raises(ChecksumError, match="line 1 is '<html>'"):
        read([file])


# Damaged and hostile files


def test_a_cut_off_gzip_file_is_refused(tmp_path):
    (file,) = write(tmp_path, [record(n) for n in range(100)])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CompressionError, match="ends in the middle"):
        read([file])


@pytest.mark.parametrize("cut", [5, 40, 200])
def test_cut_off_xml_is_refused(tmp_path, cut):
    files = write(tmp_path, document(record(1), record(2), record(3))[:-cut])
    with pytest.raises(PubmedError, match=r"after the last record; .* it is cut off"):
        read(files)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"<html><body>404</body></html>",
        b"<?xml version='1.0'?><mediawiki></mediawiki>",
        b"%PDF-",
    ],
)
def test_what_is_no_pubmed_xml_is_refused(tmp_path, data):
    with pytest.raises(PubmedError, match=r"starts with .*; expected PubMed XML"):
        read(write(tmp_path, data))


def test_a_document_type_of_its_own_is_refused(tmp_path):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    data = f'<!DOCTYPE PubmedArticleSet [<!ENTITY l0 "ha">{laughs}]>'
    data += f"<PubmedArticleSet>{record(1, '&l9;')}</PubmedArticleSet>"
    with pytest.raises(PubmedError, match="declares a document type of its own"):
        read(write(tmp_path, data.encode()))


@pytest.mark.parametrize("text", ["It is &nbsp; so.", "It is <i>so.", "It is \x00 so."])
def test_a_citation_that_is_not_well_formed_is_refused_with_its_place(tmp_path, text):
    with pytest.raises(PubmedError, match=r"n0001.xml.gz, PMID 1 to 2: not well-formed XML"):
        read(write(tmp_path, [record(1), record(2, text)]))


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    data = document(record(1, "It is caf\u00e9.")).replace("\u00e9".encode(), b"\xe9")
    with pytest.raises(PubmedError, match="not well-formed XML"):
        read(write(tmp_path, data))
    with pytest.raises(PubmedError, match="is in ISO-8859-1; expected UTF-8"):
        read(write(tmp_path, data.replace(b"UTF-8", b"ISO-8859-1")))


def test_records_hidden_in_comments_or_cdata_are_refused(tmp_path):
    hidden = f"<!-- {record(7)} -->"
    with pytest.raises(PubmedError, match="laid out unlike NLM's files"):
        read(write(tmp_path, [record(1), hidden]))
    with pytest.raises(PubmedError, match="laid out unlike NLM's files"):
        read(write(tmp_path, [record(1, "<![CDATA[</PubmedArticle>]]>")]))
    inner = '<!-- <PMID Version="1">8</PMID> -->'
    with pytest.raises(PubmedError, match="not the 1 that were cut out"):
        read(write(tmp_path, document(record(1)).replace(b"<PMID", f"{inner}<PMID".encode(), 1)))


def test_a_record_without_a_pmid_is_refused(tmp_path):
    with pytest.raises(PubmedError, match="where a PubmedArticle with a PMID was expected"):
        read(write(tmp_path, [record(1), "<PubmedArticle></PubmedArticle>"]))


def test_a_record_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pubmed_files, "_LONGEST_RECORD", 1 << 21)
    with pytest.raises(PubmedError, match="has a record of over 2 MiB"):
        read(write(tmp_path, [record(1, "It is. " * 1_000_000)]))
