"""Stage `extract`: the raw files of one source to documents in the text format.

A format module lists the work in its files, turns each piece of work into documents and names the
counters to raise; this module selects the files, spreads the work over processes and writes what
comes out, in order. Every format module has

    COUNTS                        counters that always stand in the manifest
    list_items(files, config)     work items, in order; runs in the parent and is cheap
    read_item(item, config)       named documents of an item, and names of counters to raise by one

and may have `check_counts(counts, files, config)`, which refuses a source by its final counts.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bert.config import Section, check, load_values
from bert.text import (
    books,
    jsonl,
    openwebtext,
    parquet,
    plain,
    pubmed,
    textfiles,
    wikiextractor,
    wikipedia,
)
from bert.text.documents import DocumentWriter, encode_name
from bert.text.ordered import map_in_order
from bert.text.source import relative_names

logger = logging.getLogger(__name__)

DOCUMENTS = "documents.txt"
NAMES = "names.txt"
_MODULES: dict[str, Any] = {
    "wikipedia": wikipedia,
    "books": books,
    "results4": plain,
    "text": textfiles,
    "jsonl": jsonl,
    "wikiextractor": wikiextractor,
    "parquet": parquet,
    "openwebtext": openwebtext,
    "pubmed": pubmed,
}
ExtractConfig = Annotated[
    wikipedia.WikipediaConfig
    | books.BooksConfig
    | plain.Results4Config
    | textfiles.TextConfig
    | jsonl.JsonlConfig
    | wikiextractor.WikiExtractorConfig
    | parquet.ParquetConfig
    | openwebtext.OpenWebTextConfig
    | pubmed.PubmedConfig,
    Field(discriminator="format"),
]  # fmt: skip


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
    chosen = {}
    for name, path, file in zip(relative_names(paths), paths, receipt["files"], strict=True):
        if fnmatchcase(path.name, pattern):
            _check_file(path, file["bytes"])
            chosen[name] = (path, file["sha256"])
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
    config: ExtractConfig, files: Sequence[Path], folder: Path, *, workers: int
) -> dict[str, int]:
    """Writes the documents of `files`, in their order, and returns the counts.

    Args:
        config: Section of the source.
        files: Raw files; none is opened for writing.
        folder: Existing folder, which gets `documents.txt` and `names.txt`.
        workers: Processes; the bytes written do not depend on their number.

    Raises:
        ExtractError: The files hold no document.
        TextFormatError: A format module gave a document or a name that is not in the format.
        ValueError: A file is damaged or of another format (see the format's module).
    """
    module = _MODULES[config.format]
    counts = Counter(dict.fromkeys(module.COUNTS, 0))
    with (folder / DOCUMENTS).open("wb") as text, (folder / NAMES).open("wb") as names:
        writer = DocumentWriter(text)
        for documents, counters in map_in_order(
            partial(module.read_item, config=config),
            module.list_items(files, config),
            weight=_size,
            workers=workers,
        ):
            counts.update(counters)
            for document in documents:
                writer.write(document.sentences)
                names.write(encode_name(document.name))
        size = text.tell()
    written = {"documents": writer.documents, "sentences": writer.sentences, "bytes": size}
    result = written | dict(sorted(counts.items()))
    logger.info("%s: %s", config.format, ", ".join(f"{k} {v}" for k, v in result.items()))
    if hasattr(module, "check_counts"):
        module.check_counts(counts, files, config)
    if not writer.documents:
        raise ExtractError(
            f"No document in the raw files of {config.raw!r} ({dict(counts)}); expected at least "
            "one. Check that `raw`, `format` and `pattern` name what was meant."
        )
    return result


def _size(item: Any) -> int:
    return int(item.size)
