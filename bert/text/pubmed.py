"""PubMed: the citations of NLM's baseline and update files as documents, one a PMID.

A document is the citation's abstract, with the title in front if wanted; its name is the PMID.
Which files there are is what was fetched: all numbers up to the highest must be there, and a
`.md5` file beside a file must fit. Of a citation that comes several times, only the last record
counts, none if it was deleted, and of an article's versions the highest (see
`bert.text.pubmed_files`). Documents stand in the order of the files and of the records in them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from bert.config import knob
from bert.text.documents import NamedDocument
from bert.text.pubmed_files import (
    KEPT,
    OLDER_VERSION,
    PubmedError,
    Record,
    Survivors,
    check_md5,
    describe_numbers,
    find_survivors,
    order_files,
    read_records,
)
from bert.text.pubmed_text import citation_sentences
from bert.text.source import SourceConfig

COUNTS = (
    "files",
    "missing_files",
    "md5_checked",
    "md5_missing",
    "citations",
    "deletions",
    "skipped_replaced",
    "skipped_deleted",
    "skipped_older_version",
    "skipped_book",
    "skipped_no_abstract",
    "skipped_short",
    "other_abstracts",
    "other_abstracts_left_out",
    "truncated_abstracts",
    "dropped_copyright_lines",
)
_ITEM_BYTES = 1 << 20
_FATES = ("", "skipped_replaced", "skipped_deleted", "skipped_older_version")
_MATHML = b' xmlns:mml="http://www.w3.org/1998/Math/MathML"'


class PubmedConfig(SourceConfig):
    """Abstracts of PubMed."""

    format: Literal["pubmed"] = knob("Layout of the raw files: NLM's PubMed XML.")
    title: bool = knob("Whether the title opens the document, as a sentence of its own.")
    other_abstracts: list[str] = knob(
        "Languages (ISO 639-2) of further abstracts of a citation that are added to its English "
        "one, or stand for it: eng adds plain summaries and those of other databases."
    )
    min_characters: int = knob(
        "Characters of the abstract below which a citation is skipped and counted as short.", ge=1
    )
    allow_missing_files: bool = knob(
        "Whether files may be missing between n0001 and the highest number; they are counted."
    )


class Item(NamedTuple):
    """Some citations of one file that stand, and what was counted on the way to them."""

    where: str
    root: bytes  # start tag of the file's root element
    content: bytes  # XML of the citations
    pmids: tuple[int, ...]
    counters: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of work."""
        return len(self.content)


def list_items(files: Sequence[Path], config: PubmedConfig) -> Iterator[Item]:
    """Yields the citations that stand, about 1 MiB at a time. Reads every file twice.

    Raises:
        PubmedError: Files are missing, of two years, damaged, or not PubMed XML.
        ChecksumError: A `.md5` file cannot be read.
        CompressionError: A file is damaged or cut off.
    """
    paths, missing = order_files(files)
    if missing and not config.allow_missing_files:
        raise PubmedError(
            f"{len(missing)} files are missing before {paths[-1].name}: "
            f"{describe_numbers(missing)}. Fetch them, or set allow_missing_files to true."
        )
    checks = ["md5_checked" if check_md5(path) else "md5_missing" for path in paths]
    first = ["missing_files"] * len(missing)
    survivors = find_survivors(paths)
    for place, path in enumerate(paths):
        yield from _file_items(path, survivors, place, [*first, "files", checks[place]])
        first = []


def _file_items(
    path: Path, survivors: Survivors, place: int, counters: list[str]
) -> Iterator[Item]:
    fates = iter(survivors.of_file(place))
    contents: list[bytes] = []
    pmids: list[int] = []
    size = 0
    root = b""
    for root, record in read_records(path):
        if record.is_deletion:
            counters += ["deletions"] * len(record.ids)
            continue
        reason = _skip_reason(record, next(fates), survivors.newest)
        counters += ["citations", reason] if reason else ["citations"]
        if reason:
            continue
        contents.append(record.content)
        pmids.append(record.ids[0][0])
        size += len(record.content)
        if size >= _ITEM_BYTES:
            yield Item(str(path), root, b"".join(contents), tuple(pmids), tuple(counters))
            contents, pmids, counters, size = [], [], [], 0
    yield Item(str(path), root, b"".join(contents), tuple(pmids), tuple(counters))


def _skip_reason(record: Record, fate: int, newest: dict[int, int]) -> str:
    if record.name == "PubmedBookArticle":
        return "skipped_book"
    pmid, version = record.ids[0]
    if fate == KEPT and version != newest.get(pmid, 1):
        fate = OLDER_VERSION
    return _FATES[fate]


def read_item(item: Item, config: PubmedConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of some citations, and the counters to raise.

    Raises:
        PubmedError: The citations are not well-formed XML, or not those that were cut out.
    """
    counters = list(item.counters)
    documents = []
    for pmid, citation in zip(item.pmids, _citations(item), strict=True):
        sentences, characters, names = citation_sentences(
            citation, with_title=config.title, languages=config.other_abstracts
        )
        counters += names
        if not sentences:
            counters.append("skipped_no_abstract")
        elif characters < config.min_characters:
            counters.append("skipped_short")
        else:
            documents.append(NamedDocument(str(pmid), sentences))
    return documents, tuple(counters)


def _citations(item: Item) -> list[ElementTree.Element]:
    if not item.pmids:
        return []
    root = item.root if b"xmlns:mml" in item.root else item.root[:-1] + _MATHML + b">"
    name = item.root[1:-1].split()[0]
    where = f"{item.where}, PMID {item.pmids[0]} to {item.pmids[-1]}"
    try:
        records = ElementTree.XML(root + item.content + b"</" + name + b">")
    except ElementTree.ParseError as error:
        raise PubmedError(f"{where}: not well-formed XML ({error}). Fetch it again.") from None
    citations = [
        record if record.tag == "MedlineCitation" else record.find("MedlineCitation")
        for record in records
    ]
    found = [c.findtext("PMID", "").strip() if c is not None else "" for c in citations]
    if found != list(map(str, item.pmids)):
        raise PubmedError(
            f"{where}: parsing finds {len(found)} citations that are not the {len(item.pmids)} "
            "that were cut out; the file is damaged or laid out unlike NLM's. Fetch it again."
        )
    return [citation for citation in citations if citation is not None]
