"""Small dumps of a wiki."""

import bz2
from xml.sax.saxutils import escape

from bert.config import check
from bert.text.extract import extract
from bert.text.wikidump import list_pages, read_head
from bert.text.wikipages import read_pages
from bert.text.wikipedia import WikipediaConfig

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
