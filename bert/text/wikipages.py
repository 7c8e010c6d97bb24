"""Pages out of a stretch of a Wikipedia dump, of the export schema of any version."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bert.text.wikidump import END, Item, malformed
from bert.text.wikistreams import DumpError, read_streams

_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)


class Page(NamedTuple):
    """One page as stored in the dump."""

    page_id: str
    title: str
    namespace: int
    redirect: bool
    model: str
    text: str


def read_pages(item: Item) -> Iterator[Page]:
    """Yields the pages of an item.

    Raises:
        DumpError: It does not hold whole pages, or other pages than the index states.
    """
    root = _parse_pages(_load(item), item)
    if item.page_ids is not None:
        found = tuple(int(page.findtext("id") or -1) for page in root)
        if found != item.page_ids:
            raise DumpError(
                f"{item.path}, bytes {item.start} to {item.end}, holds the pages {_ends(found)}; "
                f"its index states {_ends(item.page_ids)}. Fetch both again, or leave the index "
                "out by `pattern`."
            )
    for page in root:
        yield _page(page, item.path)


def _ends(numbers: tuple[int, ...]) -> str:
    return f"{numbers[:1]} to {numbers[-1:]}, {len(numbers)} in all"


def _load(item: Item) -> bytes:
    if item.content is not None:
        return item.content
    if item.packed:
        return read_streams(item.path, item.start, item.end)
    with item.path.open("rb") as stream:
        stream.seek(item.start)
        return stream.read(item.end - item.start)


def _parse_pages(data: bytes, item: Item) -> ElementTree.Element:
    if item.is_last:
        end = data.rfind(END)
        if end < 0 or data[end + len(END) :].strip():
            raise DumpError(
                f"{item.path} does not end with </mediawiki>; expected a whole dump. "
                "Fetch it again."
            )
        data = data[:end]
    parser = ElementTree.XMLParser()
    try:
        for piece in (b"<mediawiki>", data, END):
            parser.feed(piece)
        root: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise malformed(item.path, item.start, error) from None
    for element in root:
        if element.tag != "page":
            raise DumpError(
                f"{item.path} holds <{element.tag}> beside its pages; expected <page> only. "
                "Set the raw item or `pattern` to the pages-articles files."
            )
    return root


def _page(page: ElementTree.Element, path: Path) -> Page:
    """Takes the last revision, which is the only one in a pages-articles dump."""
    title, namespace = page.findtext("title") or "", page.findtext("ns") or "0"
    page_id = (page.findtext("id") or "").strip()
    for name, value in (("namespace", namespace.strip()), ("id", page_id)):
        if not re.fullmatch(r"-?[0-9]+", value):
            raise DumpError(
                f"{path}: page {title!r} has the {name} {value!r}; expected a number. "
                "Fetch the dump again."
            )
    revisions = page.findall("revision")
    revision = revisions[-1] if revisions else page
    text = revision.findtext("text") or ""
    return Page(
        page_id=page_id,
        title=title,
        namespace=int(namespace),
        redirect=page.find("redirect") is not None or _REDIRECT.match(text) is not None,
        model=revision.findtext("model") or "wikitext",
        text=text,
    )
