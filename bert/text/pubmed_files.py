"""Files of PubMed: their order, their checksums, the records in them, and which records stand.

NLM numbers the files of a year, baseline first, update files on from there (pubmed26n0001.xml.gz,
before 2018 medline16n0001.xml.gz), and publishes `<file>.md5` beside each. A later record of the
same PMID and version replaces an earlier one, and a DeleteCitation takes one away; a new baseline
replaces everything of the years before. (NLM, "MEDLINE/PubMed Data" documentation for licensees.)

Records are cut out of the XML by their end tags, without parsing: the text is ASCII-compatible and
NLM writes neither comments nor CDATA around records. What was cut is parsed and compared later, so
a file of another make is an error, never a wrong text. The document type is not passed on to the
parser, and one that declares entities is refused: nothing in a file can expand.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bert.fetch.checksums import read_checksums
from bert.text.compression import open_decompressed

KEPT, REPLACED, DELETED, OLDER_VERSION = range(4)
_NAME = re.compile(r"[A-Za-z]+(\d\d)n(\d{4,5})\.xml(?:\.gz)?")
_BEGIN = rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml(?P<declaration>[^>]*)\?>\s*)?"
_PROLOG = re.compile(
    _BEGIN + rb"(?:<!DOCTYPE[^>\[]*>\s*)?"
    rb"(?P<tag><(?P<root>PubmedArticleSet|MedlineCitationSet)(?:\s[^>]*)?(?<!/)>)"
)
_OWN_DOCTYPE = re.compile(_BEGIN + rb"<!DOCTYPE[^>\[]*\[")
_ENCODING = re.compile(rb"encoding\s*=\s*[\"'](?!utf-?8[\"']|us-ascii[\"'])([^\"']*)", re.I)
_RECORDS = {
    b"PubmedArticleSet": (b"PubmedArticle", b"PubmedBookArticle", b"DeleteCitation"),
    b"MedlineCitationSet": (b"MedlineCitation", b"DeleteCitation"),
}
_PMID = re.compile(
    rb"<PMID(?=[\s>])(?:[^>]*?\sVersion\s*=\s*[\"'](\d{1,4})[\"'])?[^>]*>\s*(\d{1,8})\s*</PMID>"
)
_READ_BYTES = 1 << 20
_LONGEST_RECORD = 64 << 20


class PubmedError(ValueError):
    """A file that is not what NLM publishes, or files that are not all there."""


class Record(NamedTuple):
    """One child of a file's root element.

    Attributes:
        name: "PubmedArticle", "MedlineCitation", "PubmedBookArticle" or "DeleteCitation".
        ids: PMID and version of the citation; of a DeleteCitation, of all that it deletes.
        content: Its XML, white space before it included.
    """

    name: str
    ids: tuple[tuple[int, int], ...]
    content: bytes

    @property
    def is_deletion(self) -> bool:
        """Whether it takes citations away."""
        return self.name == "DeleteCitation"


def order_files(files: Sequence[Path]) -> tuple[list[Path], list[int]]:
    """Returns the files in NLM's order, and the numbers that are missing, counted from 1.

    Raises:
        PubmedError: A name that tells no number, two years, or a number twice.
    """
    numbers: dict[int, Path] = {}
    years = {}
    for path in files:
        match = _NAME.fullmatch(path.name)
        if not match:
            raise PubmedError(
                f"{path} tells no place among the files; expected a name such as "
                "pubmed26n0001.xml.gz. Give it NLM's name back, or leave it out with `pattern`."
            )
        years[match[1]] = path.name
        other = numbers.setdefault(int(match[2]), path)
        if other != path and len(years) == 1:
            raise PubmedError(f"{path} and {other} have the same number; remove one of them.")
    if len(years) > 1:
        raise PubmedError(
            f"The files are of {len(years)} years ({', '.join(sorted(years.values()))}); expected "
            "one, since a baseline replaces all years before it. Choose one year with `pattern`."
        )
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    return [numbers[number] for number in sorted(numbers)], missing


def describe_numbers(numbers: Sequence[int]) -> str:
    """Numbers in runs, shortened: "n0001 to n0003, n0007"."""
    breaks = [i for i, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    runs = [numbers[a:b] for a, b in pairwise([0, *breaks, len(numbers)])]
    named = [f"n{r[0]:04d}" + (f" to n{r[-1]:04d}" if len(r) > 1 else "") for r in runs]
    return ", ".join(named[:20]) + (f" and {len(named) - 20} more gaps" * (len(named) > 20))


def check_md5(path: Path) -> bool:
    """Compares a file with the `.md5` file beside it; returns whether there is one.

    Raises:
        PubmedError: The md5 differs, or the `.md5` file is for another file.
        ChecksumError: The `.md5` file cannot be read.
    """
    beside = path.with_name(f"{path.name}.md5")
    if not beside.exists():
        return False
    listed = read_checksums(beside).get(path.name)
    if listed is None:
        raise PubmedError(f"{beside} does not name {path.name}. Fetch both again.")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != listed:
        raise PubmedError(f"{path} has md5 {found}, {beside.name} says {listed}. Fetch it again.")
    return True


def read_records(path: Path) -> Iterator[tuple[bytes, Record]]:
    """Yields the start tag of the root element and each record, in order.

    Raises:
        PubmedError: The file is not PubMed XML, is cut off, or is not laid out as NLM's are.
        CompressionError: The file is damaged or cut off.
    """
    with open_decompressed(path) as stream:
        buffer = stream.read(_READ_BYTES)
        head = _check_prolog(path, buffer)
        names = _RECORDS[head["root"]]
        ends = re.compile(rb"</(" + b"|".join(names) + rb")>")
        start = head.end()
        while True:
            for end in ends.finditer(buffer, start):
                yield head["tag"], _record(path, buffer[start : end.end()], end[1])
                start = end.end()
            buffer = buffer[start:]
            start = 0
            if len(buffer) > _LONGEST_RECORD:
                raise PubmedError(f"{path} has a record of over {_LONGEST_RECORD >> 20} MiB.")
            block = stream.read(_READ_BYTES)
            if not block:
                break
            buffer += block
    if buffer.strip() != b"</" + head["root"] + b">":
        raise PubmedError(
            f"{path} ends with {buffer[-80:]!r} after the last record; expected the end tag of "
            f"{head['root'].decode()}: it is cut off. Fetch it again."
        )


def _check_prolog(path: Path, start: bytes) -> re.Match[bytes]:
    head = _PROLOG.match(start)
    if _OWN_DOCTYPE.match(start):
        raise PubmedError(
            f"{path} declares a document type of its own, which NLM's files never do; it is "
            "refused, since such declarations can expand without bound. Fetch the file from NLM."
        )
    if head is None:
        raise PubmedError(
            f"{path} starts with {start[:80]!r}; expected PubMed XML with the root element "
            "PubmedArticleSet or MedlineCitationSet. Check `raw` and `pattern`."
        )
    encoding = _ENCODING.search(head["declaration"] or b"")
    if encoding:
        raise PubmedError(f"{path} is in {encoding[1].decode('ascii', 'replace')}; expected UTF-8.")
    return head


def _record(path: Path, content: bytes, name: bytes) -> Record:
    begin = content.lstrip()
    ids = tuple((int(m[2]), int(m[1] or 1)) for m in _PMID.finditer(content))
    if not re.match(rb"<" + name + rb"[\s>]", begin) or not ids:
        raise PubmedError(
            f"{path} has {begin[:80]!r} where a {name.decode()} with a PMID was expected; it is "
            "damaged or laid out unlike NLM's files. Fetch it again."
        )
    return Record(name.decode(), ids if name == b"DeleteCitation" else ids[:1], content)


class Survivors(NamedTuple):
    """What became of each citation, given all that came after it.

    Attributes:
        fates: For each file, packed: a byte for each citation or book, in order.
        newest: PMID to the highest version that stands, for those where it is above 1.
    """

    fates: list[bytes]
    newest: dict[int, int]

    def of_file(self, place: int) -> bytes:
        """KEPT, REPLACED or DELETED for each citation or book of a file, in order."""
        return zlib.decompress(self.fates[place])


def find_survivors(files: Sequence[Path]) -> Survivors:
    """Reads all files, newest first, and finds which records nothing later takes the place of.

    Memory: one byte for each PMID up to the highest (42 MB for all of PubMed) and the packed
    fates, next to nothing where a file is kept whole.

    Raises:
        PubmedError: A file is not PubMed XML.
        CompressionError: A file is damaged.
    """
    later = _Later()
    newest: dict[int, int] = {}
    packed: list[bytes] = []
    for path in reversed(files):
        records = [(record.is_deletion, record.ids) for _, record in read_records(path)]
        fates = bytearray()
        for is_deletion, ids in reversed(records):
            for pmid, version in ids:
                fate = later.exchange(pmid, version, DELETED if is_deletion else REPLACED)
                if is_deletion:
                    continue
                fates.append(fate)
                if fate == KEPT and version > 1:
                    newest[pmid] = max(version, newest.get(pmid, 1))
        packed.append(zlib.compress(fates[::-1], level=1))
    return Survivors(packed[::-1], newest)


class _Later:
    """What the next later record did to each PMID and version, reading backwards."""

    def __init__(self) -> None:
        self._first_versions = bytearray(1 << 20)  # at the PMID; other versions are rare
        self._others: dict[tuple[int, int], int] = {}

    def exchange(self, pmid: int, version: int, event: int) -> int:
        """Notes an event and returns the one noted before: KEPT if there was none."""
        if version != 1:
            before = self._others.get((pmid, version), KEPT)
            self._others[pmid, version] = event
            return before
        if pmid >= len(self._first_versions):
            self._first_versions.extend(bytes(pmid))  # at least doubles it
        before = self._first_versions[pmid]
        self._first_versions[pmid] = event
        return before
