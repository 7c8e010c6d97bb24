"""Articles of Wikipedia out of its XML dumps.

A dump is one file or many; a file is plain XML, bzip2 in one stream, or bzip2 in many streams
(multistream), with or without its index. Redirects, disambiguation pages, pages of other
namespaces and pages with little text are skipped and counted by reason. A sentence around a formula
that is no plain text would have a hole: it is dropped and counted.
"""

import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Literal

from bert.config import knob
from bert.text.documents import Document, NamedDocument
from bert.text.sentences import split_sentences
from bert.text.source import SourceConfig
from bert.text.wikidump import Item, list_pages, read_head
from bert.text.wikipages import Page, read_pages
from bert.text.wikistreams import DumpError, dump_of_index, is_index
from bert.text.wikitags import FORMULA
from bert.text.wikitext import clean_wikitext

COUNTS = (
    "files",
    "pages",
    "skipped_namespace",
    "skipped_redirect",
    "skipped_not_wikitext",
    "skipped_disambiguation",
    "skipped_short",
    "dropped_sentences",
)
_DISAMBIGUATION = re.compile(
    r"\{\{\s*(?:[^{}|\n]{0,60}\b)?"
    r"(?:disambig(?:uation)?(?: page| cleanup)?|disamb|dab|hndis|geodis|mathdab|numberdis|roaddis"
    r"|schooldis|hospitaldis|mil-unit-dis)\s*(?:\||\}\})|__DISAMBIG__",
    re.IGNORECASE,
)


class WikipediaConfig(SourceConfig):
    """Articles of a Wikipedia dump."""

    format: Literal["wikipedia"] = knob("Layout of the raw files: MediaWiki's XML export.")
    min_characters: int = knob(
        "Characters of clean text below which a page is skipped and counted as short.", ge=1
    )
    drop_sections: list[str] = knob(
        "Headings, lower case, whose sections are left out: lists of notes, books and links."
    )


def list_items(files: Sequence[Path], config: WikipediaConfig) -> Iterator[Item]:
    """Yields stretches of whole pages of all dump files, in order.

    An index of a multistream dump among the files says where its dump's streams start and which
    pages they hold; without it the streams are found by their first bytes.

    Raises:
        DumpError: A file is no MediaWiki XML, two files hold the same pages, or an index has no
            dump or does not fit it.
        CompressionError: A file is compressed and damaged.
        FileNotFoundError: A file is missing.
    """
    indexes = {dump_of_index(path): path for path in files if is_index(path.name)}
    seen: dict[tuple[str, int], Path] = {}
    for path in files:
        if is_index(path.name):
            continue
        head = read_head(path)
        if head.first_page is not None:
            other = seen.setdefault((head.site, head.first_page), path)
            if other != path:
                raise DumpError(
                    f"{path} and {other} start with the same page, {head.first_page}; expected "
                    "files that share no page. Choose one of the dumps with `pattern`."
                )
        yield from list_pages(path, head, indexes.pop(str(path).removesuffix(".bz2"), None))
    if indexes:
        index = min(indexes.values())
        raise DumpError(
            f"{index} is an index without its dump, which would be {dump_of_index(index)}.bz2. "
            "Change `pattern` so that it matches both, or the dump only."
        )


def read_item(item: Item, config: WikipediaConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the articles of some pages, named by page id, and the counters to raise by one.

    Raises:
        DumpError: The file is cut off or damaged, or its index does not fit.
    """
    documents = []
    counters = ["files"] * item.is_first
    for page in read_pages(item):
        counters.append("pages")
        reason = skip_reason(page)
        sentences, dropped = ([], 0) if reason else article(page, item.hidden_namespaces, config)
        counters += ["dropped_sentences"] * dropped
        if sentences:
            documents.append(NamedDocument(page.page_id, sentences))
        else:
            counters.append(reason or "skipped_short")
    return documents, tuple(counters)


def article(
    page: Page, hidden_namespaces: Set[str], config: WikipediaConfig
) -> tuple[Document, int]:
    """The sentences of a page, and how many were dropped for a formula that is no text.

    A page with less than `min_characters` has no sentence.
    """
    paragraphs = clean_wikitext(
        page.text,
        drop_sections=frozenset(config.drop_sections),
        hidden_namespaces=hidden_namespaces,
    )
    if sum(map(len, paragraphs)) < config.min_characters:
        return [], 0
    sentences = [sentence for paragraph in paragraphs for sentence in split_sentences(paragraph)]
    whole = [sentence for sentence in sentences if FORMULA not in sentence]
    return whole, len(sentences) - len(whole)


def skip_reason(page: Page) -> str:
    """The counter of the reason why a page is no article; empty for an article."""
    if page.namespace != 0:
        return "skipped_namespace"
    if page.redirect:
        return "skipped_redirect"
    if page.model != "wikitext":
        return "skipped_not_wikitext"
    if page.title.endswith("(disambiguation)") or _DISAMBIGUATION.search(page.text):
        return "skipped_disambiguation"
    return ""
