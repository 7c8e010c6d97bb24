"""Stage `extract`: the raw files of one source to documents in the text format.

A format module turns raw items into documents and names the counters that each item raises; this
module selects the files, runs the format over them and writes what comes out, in order.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from os.path import commonpath
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bert.config import Section, check, load_values
from bert.text import books, plain, wikipedia
from bert.text.books import BooksConfig, extract_book
from bert.text.documents import Document, DocumentWriter
from bert.text.ordered import map_in_order
from bert.text.plain import Results4Config
from bert.text.wikipedia import Page, WikipediaConfig, extract_page, read_pages

logger = logging.getLogger(__name__)

ExtractConfig = Annotated[
    WikipediaConfig | BooksConfig | Results4Config, Field(discriminator="format")
]
Extracted = tuple[list[Document], tuple[str, ...]]
_COUNTS = {"wikipedia": wikipedia.COUNTS, "books": books.COUNTS, "results4": plain.COUNTS}


class ExtractError(ValueError):
    """A source without files to read, or without documents in them."""


class _Source(Section):
    extract: ExtractConfig


def load_extract_section(file: Path) -> ExtractConfig:
    """Reads the resolved section of one source, of whichever format it names.

    Raises:
        ConfigError: The file is not JSON, or not a valid section of a known format.
        FileNotFoundError: The file is missing; the rule `section` writes it.
    """
    return check(_Source, {"extract": load_values(file)}, where=str(file)).extract


def select_files(receipt: Mapping[str, Any], pattern: str) -> dict[str, tuple[Path, str]]:
    """Returns the files of a fetch manifest that match `pattern`, sorted by name.

    Args:
        receipt: The manifest of the raw item.
        pattern: Shell pattern for the last component of a file's path.

    Returns:
        Name to (path, sha256). Names are relative to the files' common folder, so they do not
        depend on where the run lies.

    Raises:
        ExtractError: No file matches, or one has changed since it was fetched.
        FileNotFoundError: A file is missing.
    """
    paths = [Path(file["path"]) for file in receipt["files"]]
    if not any(fnmatchcase(path.name, pattern) for path in paths):
        names = ", ".join(sorted(path.name for path in paths)[:5])
        raise ExtractError(
            f"None of the {len(paths)} raw files matches the pattern {pattern!r} ({names}, ...); "
            "expected at least one. Change `pattern` in the extract section."
        )
    folder = commonpath([path.parent for path in paths])
    chosen = {}
    for path, file in zip(paths, receipt["files"], strict=True):
        if fnmatchcase(path.name, pattern):
            _check_file(path, file["bytes"])
            chosen[path.relative_to(folder).as_posix()] = (path, file["sha256"])
    return dict(sorted(chosen.items()))


def _check_file(path: Path, size: int) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; the rule `fetch` brings it. Fetch it again.")
    if path.stat().st_size != size:
        raise ExtractError(
            f"{path} has {path.stat().st_size} bytes; it had {size} when it was fetched. "
            "Fetch it again."
        )


def extract(
    config: ExtractConfig, files: Iterable[Path], output: Path, *, workers: int
) -> dict[str, int]:
    """Writes the documents of `files`, in their order, to `output` and returns the counts.

    The bytes written do not depend on `workers`.

    Raises:
        ExtractError: The files hold no document.
        ValueError: A file is damaged or of another format (see the format's module).
    """
    counts = Counter(dict.fromkeys(_COUNTS[config.format], 0))
    with output.open("wb") as stream:
        writer = DocumentWriter(stream)
        for documents, names in _extracted(config, files, workers):
            counts.update(names)
            for document in documents:
                writer.write(document)
        size = stream.tell()
    written = {"documents": writer.documents, "sentences": writer.sentences, "bytes": size}
    result = written | dict(sorted(counts.items()))
    logger.info("%s: %s", config.format, ", ".join(f"{k} {v}" for k, v in result.items()))
    if not writer.documents:
        raise ExtractError(
            f"No document in the raw files of {config.raw!r} ({dict(counts)}); expected at least "
            "one. Check that `raw`, `format` and `pattern` name what was meant."
        )
    return result


def _extracted(config: ExtractConfig, files: Iterable[Path], workers: int) -> Iterator[Extracted]:
    if isinstance(config, WikipediaConfig):
        return map_in_order(
            partial(extract_page, config=config),
            chain.from_iterable(map(read_pages, files)),
            weight=_page_size,
            workers=workers,
        )
    if isinstance(config, BooksConfig):
        work = partial(extract_book, config=config)
        return map_in_order(work, files, weight=_file_size, workers=workers)
    return chain.from_iterable(map(plain.extract_file, files))


def _page_size(page: Page) -> int:
    return len(page.text)


def _file_size(path: Path) -> int:
    return path.stat().st_size
