"""OpenWebText: web pages as plain text, in whichever of its published layouts.

    openwebtext.tar.xz > openwebtext/urlsf_subset00-1_data.xz (a packed tar) > 0000001-<hash>.txt
    urlsf_subset00.tar > openwebtext/urlsf_subset00-1_data.xz > 0000001-<hash>.txt
    a folder of *_data.xz, or of the .txt files, each in a folder named after its archive

The layout is recognised by the bytes of each file. A document's name is the last two parts of the
path that unpacking everything gives, "urlsf_subset00-1_data/0000001-<hash>.txt": the same in all
layouts, and the form of the metadata lists (train_512k.txt, val_files.txt) that are published for
this corpus. Documents keep the order of the archive, or of the sorted paths in a folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from bert.config import knob
from bert.text.archives import is_archive, read_members
from bert.text.decoding import decode_text, remove_invisible
from bert.text.documents import NamedDocument
from bert.text.paragraphs import split_paragraphs
from bert.text.sentences import split_sentences
from bert.text.source import SourceConfig
from bert.text.unpacked import ArchiveError, Stream, open_stream

COUNTS = (
    "archives",
    "files",
    "dropped_paragraphs",
    "skipped_empty",
    "skipped_not_txt",
    "skipped_short",
)
# Published archives of texts have 0.6 MB; a larger one is unpacked by the parent, member by member.
_SMALL_ARCHIVE = 2 << 20
_LARGEST_TEXT = 64 << 20
_LARGEST_UNPACKED = 256 << 20
_ENDINGS = frozenset({".tar", ".xz", ".txz", ".gz", ".tgz", ".bz2", ".tbz2"})


class OpenWebTextConfig(SourceConfig):
    """Pages of OpenWebText."""

    format: Literal["openwebtext"] = knob(
        "Layout of the raw files: OpenWebText's archives, or the text files in them."
    )
    min_characters: int = knob(
        "Characters of text below which a page is skipped and counted as short.", ge=1
    )
    drop_paragraphs: list[str] = knob(
        "Paragraphs, lower case, that are left out wherever they are a whole paragraph: "
        "captions and calls to action that the page's layout left in the text."
    )


class Item(NamedTuple):
    """A text, or a small archive of texts; on disk or, if it stands in an archive, as bytes."""

    name: str  # of the text; of an archive, the name without endings
    where: str  # for messages
    size: int  # bytes
    packed: bool
    path: Path | None
    content: bytes


def list_items(files: Sequence[Path], config: OpenWebTextConfig) -> Iterator[Item]:
    """Yields the texts, or small archives of texts, of all files.

    Raises:
        ArchiveError: An archive is damaged or unsafe, or the same texts come twice.
    """
    origins: dict[str, str] = {}
    for path in files:
        for item in _file_items(path):
            group = item.name if item.packed else item.name.partition("/")[0]
            origin = item.where if item.packed else item.where.rpartition("/")[0]
            if origins.setdefault(group, origin) != origin:
                raise ArchiveError(
                    f"{group} comes twice, from {origins[group]} and from {origin}; expected one "
                    "layout of the corpus. Choose one with `pattern`."
                )
            yield item


def _file_items(path: Path) -> Iterator[Item]:
    size, where = path.stat().st_size, str(path)
    with open_stream(path) as stream:
        packed = is_archive(stream)
        if packed and (size > _SMALL_ARCHIVE or not _holds_texts(path, where)):
            yield from _archive_items(stream, _stem(path.name), where)
            return
    name = _stem(path.name) if packed else _text_name(path.parent.name, path.name)
    yield Item(name, where, size, packed, path, b"")


def _archive_items(stream: Stream, stem: str, where: str) -> Iterator[Item]:
    for member in read_members(stream, where=where):
        inside = f"{where}/{member.name}"
        packed = is_archive(member.stream)
        if packed and member.size > _SMALL_ARCHIVE:
            yield from _archive_items(member.stream, _stem(member.name), inside)
            continue
        if member.size > _LARGEST_TEXT:
            raise _too_large(inside, member.size)
        content = member.stream.read()
        if packed and not _holds_texts(content, inside):
            with open_stream(content) as inner:
                yield from _archive_items(inner, _stem(member.name), inside)
            continue
        name = _stem(member.name) if packed else _text_name(stem, member.name)
        yield Item(name, inside, member.size, packed, None, content)


def _holds_texts(archive: Path | bytes, where: str) -> bool:
    """Whether an archive starts with a text outside any folder, as the published `*_data.xz` do.

    All its texts then are named after it, so that texts which come twice are noticed here.
    """
    with open_stream(archive) as stream:
        first = next(read_members(stream, where=where), None)
        return first is not None and "/" not in first.name and not is_archive(first.stream)


def read_item(item: Item, config: OpenWebTextConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of a text or of an archive of texts, and the counters to raise.

    Raises:
        ArchiveError: The archive is damaged or unsafe.
        DecodingError: A text is no text in any encoding.
    """
    texts = _texts(item) if item.packed else iter([(item.name, item.where, _content(item))])
    documents: list[NamedDocument] = []
    names = ["archives"] * item.packed
    boilerplate = frozenset(config.drop_paragraphs)
    for name, where, data in texts:
        found, counters = _document(name, data, where, config.min_characters, boilerplate)
        documents += found
        names += counters
    return documents, tuple(names)


def _content(item: Item) -> bytes:
    if item.path is None:
        return item.content
    if item.size > _LARGEST_TEXT:
        raise _too_large(item.where, item.size)
    return item.path.read_bytes()


def _texts(item: Item) -> Iterator[tuple[str, str, bytes]]:
    """Yields name, place and bytes of each text in a small archive, at any depth."""
    with open_stream(item.path or item.content) as stream:
        yield from _unpack(stream, item.name, item.where)


def _unpack(stream: Stream, stem: str, where: str) -> Iterator[tuple[str, str, bytes]]:
    total = 0
    for member in read_members(stream, where=where):
        inside = f"{where}/{member.name}"
        total += member.size
        if total > _LARGEST_UNPACKED:
            raise _too_large(where, total)
        if is_archive(member.stream):
            yield from _unpack(member.stream, _stem(member.name), inside)
        else:
            yield _text_name(stem, member.name), inside, member.stream.read()


def _document(
    name: str, data: bytes, where: str, min_characters: int, boilerplate: frozenset[str]
) -> tuple[list[NamedDocument], list[str]]:
    if not name.endswith(".txt") or name.rpartition("/")[2].startswith("."):
        return [], ["files", "skipped_not_txt"]
    text, encoding = decode_text(data, where=where)
    blocks = split_paragraphs(remove_invisible(text).splitlines())
    paragraphs = [" ".join(" ".join(lines).split()) for lines in blocks]
    kept = [paragraph for paragraph in paragraphs if paragraph.lower() not in boilerplate]
    counters = ["files", f"encoding_{encoding}"]
    counters += ["dropped_paragraphs"] * (len(paragraphs) - len(kept))
    sentences = [sentence for paragraph in kept for sentence in split_sentences(paragraph)]
    if not sentences:
        return [], [*counters, "skipped_empty"]
    if sum(map(len, kept)) < min_characters:
        return [], [*counters, "skipped_short"]
    return [NamedDocument(name, sentences)], counters


def _stem(name: str) -> str:
    """Last part of a name without the endings of archives."""
    path = PurePosixPath(name)
    while path.suffix in _ENDINGS:
        path = path.with_suffix("")
    return path.name


def _text_name(folder: str, name: str) -> str:
    return "/".join([folder, *name.split("/")][-2:])


def _too_large(where: str, size: int) -> ArchiveError:
    return ArchiveError(
        f"{where} has {size} bytes; expected pages of at most {_LARGEST_TEXT >> 20} MiB, and "
        f"{_LARGEST_UNPACKED >> 20} MiB of them in a small archive. Check `raw` and `pattern`."
    )
