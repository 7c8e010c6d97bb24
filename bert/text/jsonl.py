"""JSON lines: one JSON object a line, one of its values the text of a document.

Plain files are cut into pieces that several workers share; compressed ones (.gz, .zst, .bz2) are
streamed. What is wrong with a line is counted by kind, and the stage fails when more lines are
wrong than the configuration allows.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from bert.config import knob
from bert.text.decoding import remove_invisible
from bert.text.documents import NamedDocument
from bert.text.paragraphs import text_sentences
from bert.text.pieces import AFTER_LINE, Piece, cut_file
from bert.text.source import SourceConfig, relative_names

BAD = (
    "bad_encoding",
    "bad_json",
    "bad_not_an_object",
    "bad_duplicate_key",
    "bad_missing_key",
    "bad_type",
    "bad_empty",
)
COUNTS = ("files", "lines", "blank_lines", "lone_surrogates", *BAD)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATES = re.compile("[\ud800-\udfff]")


class JsonLinesError(ValueError):
    """More bad lines than the configuration allows."""


class JsonlConfig(SourceConfig):
    """Files of JSON lines."""

    format: Literal["jsonl"] = knob("Layout of the raw files: one JSON object a line.")
    text_key: str = knob("Key of the text.", min_length=1)
    id_key: str | None = knob(
        "Key of a document's name, a text or a whole number; null = file and line.", min_length=1
    )
    max_bad_share: float = knob(
        "Share of the lines, 0 to 1, that may be no JSON object, lack a key, repeat one, hold a "
        "value of another type, or an empty text; above it the stage fails.",
        ge=0,
        le=1,
    )


class BadLineError(ValueError):
    """One line that is no document; `kind` is its counter."""

    def __init__(self, kind: str, problem: str) -> None:
        """`problem` says what was found and expected."""
        super().__init__(problem)
        self.kind = kind


def list_items(files: Sequence[Path], config: JsonlConfig) -> Iterator[Piece]:
    """Yields pieces of whole lines, about 2 MiB each.

    Raises:
        PieceError: A line is too long for memory.
        CompressionError: A file is compressed and damaged.
    """
    for path, name in zip(files, relative_names(files), strict=True):
        yield from cut_file(path, name, ends=AFTER_LINE)


def read_item(item: Piece, config: JsonlConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of a piece and the counters to raise, bad lines by their kind."""
    documents = []
    names = ["files"] * (item.start == 0)
    for number, line in _lines(item):
        if not line.strip():
            names.append("blank_lines")
            continue
        names.append("lines")
        try:
            name, text, has_lone_surrogates = parse_line(line, config)
        except BadLineError as error:
            names.append(error.kind)
            continue
        names += ["lone_surrogates"] * has_lone_surrogates
        documents.append(NamedDocument(name or f"{item.name}:{number}", text_sentences(text)))
    return documents, tuple(names)


def _lines(item: Piece) -> Iterator[tuple[int, bytes]]:
    data = item.read()
    if item.start == 0:
        data = data.removeprefix(_BYTE_ORDER_MARK)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return enumerate(lines, start=item.first_line)


def parse_line(line: bytes, config: JsonlConfig) -> tuple[str, str, bool]:
    """Returns a line's document name (empty if `id_key` is null), its text, and what it lost.

    Lone halves of surrogate pairs are dropped: they are no characters, and UTF-8 cannot hold them.

    Returns:
        Name, text, and whether the text held lone halves of surrogate pairs.

    Raises:
        BadLineError: Says what is wrong.
    """
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise BadLineError("bad_encoding", f"is not UTF-8 ({error})") from None
    except BadLineError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadLineError("bad_json", f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadLineError("bad_not_an_object", f"holds {_kind(value)}; expected an object")
    text = _get(value, config.text_key)
    if not isinstance(text, str):
        raise BadLineError("bad_type", f"has {_kind(text)} as {config.text_key!r}; expected text")
    name, (whole, halves) = _name(value, config), _SURROGATES.subn("", text)
    if not remove_invisible(whole).strip():
        raise BadLineError("bad_empty", f"has an empty {config.text_key!r}; expected text")
    return name, whole, halves > 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadLineError("bad_duplicate_key", "has an object with a key twice")
    return value


def _get(value: dict[str, Any], key: str) -> Any:
    if key not in value:
        keys = ", ".join(map(repr, list(value)[:5]))
        raise BadLineError("bad_missing_key", f"has no key {key!r} (it has {keys or 'none'})")
    return value[key]


def _name(value: dict[str, Any], config: JsonlConfig) -> str:
    if config.id_key is None:
        return ""
    name = _get(value, config.id_key)
    if isinstance(name, bool) or not isinstance(name, str | int):
        problem = f"has {_kind(name)} as {config.id_key!r}; expected text or a whole number"
        raise BadLineError("bad_type", problem)
    one_line = " ".join(_SURROGATES.sub("", str(name)).split())
    if not one_line:
        raise BadLineError("bad_empty", f"has an empty {config.id_key!r}")
    return one_line


def _kind(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", type(None): "null", list: "a list"}
    return {**kinds, dict: "an object"}.get(type(value), "a number")


def check_counts(counts: Mapping[str, int], files: Sequence[Path], config: JsonlConfig) -> None:
    """Refuses a source with too many bad lines; reads it again up to the first one to name it.

    Raises:
        JsonLinesError: More than `max_bad_share` of the lines are bad.
    """
    bad = {kind: counts[kind] for kind in BAD if counts[kind]}
    if sum(bad.values()) <= config.max_bad_share * counts["lines"]:
        return
    kinds = ", ".join(f"{kind} {count}" for kind, count in bad.items())
    raise JsonLinesError(
        f"{sum(bad.values())} of {counts['lines']} lines of {config.raw!r} are bad ({kinds}), more "
        f"than max_bad_share {config.max_bad_share} allows. The first: {_first_bad(files, config)}."
        " Mend the files, correct text_key and id_key, or raise max_bad_share."
    )


def _first_bad(files: Sequence[Path], config: JsonlConfig) -> str:
    for item in list_items(files, config):
        for number, line in _lines(item):
            try:
                if line.strip():
                    parse_line(line, config)
            except BadLineError as error:
                return f"{item.name}, line {number}, {error}"
    return "none is left; the files have changed"
