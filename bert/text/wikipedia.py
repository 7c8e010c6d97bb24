"""Wikipedia's XML dumps: pages out of `pages-articles*.xml.bz2`, articles out of pages.

Reads the export schema of any version (the namespace in the tags is not looked at), bzip2 files
of one or many streams, and plain XML. One page at a time is in memory.
"""

import bz2
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple
from xml.etree import ElementTree

from bert.config import Section, knob
from bert.text.documents import Document
from bert.text.sentences import split_sentences
from bert.text.wikitext import clean_wikitext

COUNTS = (
    "pages",
    "skipped_namespace",
    "skipped_redirect",
    "skipped_not_wikitext",
    "skipped_disambiguation",
    "skipped_short",
)
_BZIP2 = b"BZh"
_FILE, _CATEGORY = "6", "14"
_CANONICAL = frozenset({"file", "image", "media", "category"})
_REDIRECT = re.compile(r"\s*#redirect\b", re.IGNORECASE)
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:[^{}|\n]{0,60}\b)?"
    r"(?:disambig(?:uation)?(?: page| cleanup)?|disamb|dab|hndis|geodis|mathdab|numberdis|roaddis"
    r"|schooldis|hospitaldis|mil-unit-dis)\s*(?:\||\}\})|__DISAMBIG__",
    re.IGNORECASE,
)


class DumpError(ValueError):
    """A file that is not a whole Wikipedia XML dump."""


class WikipediaConfig(Section):
    """Articles of a Wikipedia dump."""

    format: Literal["wikipedia"] = knob("Layout of the raw files: MediaWiki's XML export.")
    raw: str = knob("Name of the item in section `fetch` that holds the dump.", min_length=1)
    pattern: str = knob(
        'Names of the files to read, as a shell pattern; "*.xml*" leaves out the index of a '
        "multistream dump.",
        min_length=1,
    )
    min_characters: int = knob(
        "Characters of clean text below which a page is skipped and counted as short.", ge=1
    )
    drop_sections: list[str] = knob(
        "Headings, lower case, whose sections are left out: lists of notes, books and links."
    )


class Page(NamedTuple):
    """One page as stored in the dump."""

    title: str
    namespace: int
    redirect: bool
    model: str
    text: str
    hidden_namespaces: frozenset[str]


def read_pages(path: Path) -> Iterator[Page]:
    """Yields the pages of one dump file in order.

    Raises:
        DumpError: The file is no bzip2 file though named so, is cut off, or is no MediaWiki XML.
        FileNotFoundError: There is no such file.
    """
    with _open(path) as stream:
        try:
            yield from _parse(stream, path)
        except EOFError:
            raise DumpError(
                f"{path} ends in the middle of a bzip2 stream; expected a whole file. "
                "Fetch it again."
            ) from None
        except ElementTree.ParseError as error:
            raise DumpError(
                f"{path} is not well-formed XML ({error}); expected a whole MediaWiki dump. "
                "Fetch it again."
            ) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise DumpError(
                f"{path} holds damaged bzip2 data ({error}); expected a whole file. Fetch it again."
            ) from None


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        is_bzip2 = stream.read(3) == _BZIP2
    if path.suffix == ".bz2" and not is_bzip2:
        raise DumpError(
            f"{path} is named .bz2 but does not start with {_BZIP2!r}; expected a bzip2 file. "
            "Fetch it again, or rename it if it is plain XML."
        )
    return bz2.open(path, "rb") if is_bzip2 else path.open("rb")


def _parse(stream: IO[bytes], path: Path) -> Iterator[Page]:
    root: ElementTree.Element | None = None
    hidden = _CANONICAL
    for event, element in ElementTree.iterparse(stream, events=("start", "end")):
        name = element.tag.rpartition("}")[2]
        if root is None:
            root = element
            if name != "mediawiki":
                raise DumpError(
                    f"{path} starts with <{name}>; expected <mediawiki>, the root of a dump. "
                    "Set the raw item or `pattern` to the pages-articles files."
                )
        if event == "end" and name == "siteinfo":
            hidden |= _hidden_namespaces(element)
        elif event == "end" and name == "page":
            yield _page(element, hidden, path)
            root.clear()


def _hidden_namespaces(siteinfo: ElementTree.Element) -> frozenset[str]:
    """Names of the file and category namespaces in the language of the dump, lower case."""
    return frozenset(
        (namespace.text or "").lower()
        for namespace in siteinfo.iterfind(".//{*}namespace")
        if namespace.get("key") in {_FILE, _CATEGORY}
    )


def _page(page: ElementTree.Element, hidden: frozenset[str], path: Path) -> Page:
    """Takes the last revision, which is the only one in a pages-articles dump."""
    title, namespace = page.findtext("{*}title") or "", page.findtext("{*}ns") or "0"
    if not re.fullmatch(r"-?\d+", namespace.strip()):
        raise DumpError(
            f"{path}: page {title!r} has the namespace {namespace!r}; expected a number. "
            "Fetch the dump again."
        )
    revisions = page.findall("{*}revision")
    revision = revisions[-1] if revisions else page
    text = revision.findtext("{*}text") or ""
    return Page(
        title=title,
        namespace=int(namespace),
        redirect=page.find("{*}redirect") is not None or _REDIRECT.match(text) is not None,
        model=revision.findtext("{*}model") or "wikitext",
        text=text,
        hidden_namespaces=hidden,
    )


def extract_page(page: Page, config: WikipediaConfig) -> tuple[list[Document], tuple[str, ...]]:
    """Returns the page's article, if it is one, and the names of the counters to raise by one."""
    reason = _skip_reason(page)
    if reason:
        return [], ("pages", reason)
    paragraphs = clean_wikitext(
        page.text,
        drop_sections=frozenset(config.drop_sections),
        hidden_namespaces=page.hidden_namespaces,
    )
    if sum(map(len, paragraphs)) < config.min_characters:
        return [], ("pages", "skipped_short")
    return [[s for p in paragraphs for s in split_sentences(p)]], ("pages",)


def _skip_reason(page: Page) -> str:
    if page.namespace != 0:
        return "skipped_namespace"
    if page.redirect:
        return "skipped_redirect"
    if page.model != "wikitext":
        return "skipped_not_wikitext"
    if page.title.endswith("(disambiguation)") or _DISAMBIGUATION.search(page.text):
        return "skipped_disambiguation"
    return ""
