"""Requests from a file: JSON lines, a table (TSV, CSV), or questions in SQuAD's JSON.

Every line is read and checked before the model sees the first, and all that is wrong is said at
once. In TSV quotation marks are text, as in GLUE's files; in CSV they quote.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bert.predict.requests import Request, RequestError, SpanRequest, TokenRequest, check_request

# What is named of the problems of a file.
_SHOWN = 10
Placed = Iterator[tuple[str, Any]]


def read_requests(file: Path, kind: type[Request]) -> list[Request]:
    """All requests of a file, in its order; one without an id gets its number, from 1.

    Args:
        file: Named *.tsv, *.csv, *.json (SQuAD's form, for questions) or anything else, which is
            JSON lines; "-" is JSON lines from standard input.
        kind: The request's type, by the task.

    Raises:
        RequestError: No request, or lines that are none; every one is counted, the first are named.
        OSError: The file cannot be read.
    """
    name = "standard input" if file == Path("-") else str(file)
    content = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RequestError(f"{name}, line {line}: {error}; expected UTF-8.") from None
    found: list[Request] = []
    problems: list[str] = []
    for where, value in _READERS.get(file.suffix, _json_lines)(text, name, kind):
        try:
            if isinstance(value, RequestError):
                raise value
            request = check_request(kind, value, where)
            number = len(found) + len(problems) + 1
            found.append(request if request.id is not None else request.numbered(number))
        except RequestError as error:
            problems.append(str(error))
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        lines = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise RequestError(
            f"{name}: {len(problems)} requests are none; nothing was predicted:{lines}{more}"
        )
    if not found:
        raise RequestError(f"{name} has no request; expected one a line.")
    return found


def _json_lines(text: str, name: str, kind: type[Request]) -> Placed:
    # Only a line feed ends a line: JSON may hold the other separators that Python knows.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        where = f"{name}, line {number}"
        try:
            yield where, json.loads(line)
        except ValueError as error:
            yield where, RequestError(f"{where} is not JSON: {error}.")


def _table(text: str, name: str, kind: type[Request], **form: Any) -> Placed:
    """Rows of a table whose first line names the columns; of words, separated by spaces."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, **form)
    try:
        header = next(rows, [])
        if len(set(header)) != len(header):
            raise RequestError(
                f"{name}, line 1 is {header}; expected the name of each column once."
            )
        for row in rows:
            where = f"{name}, line {rows.line_num}"
            if len(row) != len(header):
                yield (
                    where,
                    RequestError(
                        f"{where} has {len(row)} columns; expected {len(header)}, as in line 1."
                    ),
                )
                continue
            values: dict[str, Any] = dict(zip(header, row, strict=True))
            if kind is TokenRequest and "words" in values:
                values["words"] = values["words"].split()
            yield where, values
    except csv.Error as error:
        where = f"{name}, line {rows.line_num}"
        yield where, RequestError(f"{where} is no row of a table: {error}.")


def _tsv(text: str, name: str, kind: type[Request]) -> Placed:
    return _table(text, name, kind, delimiter="\t", quoting=csv.QUOTE_NONE)


def _csv(text: str, name: str, kind: type[Request]) -> Placed:
    return _table(text, name, kind)


def _squad(text: str, name: str, kind: type[Request]) -> Placed:
    """Questions of a file in SQuAD's form; answers that it gives are not looked at."""
    if kind is not SpanRequest:
        raise RequestError(
            f"{name} is named *.json, which is for questions in SQuAD's form; this model takes "
            "JSON lines. Name the file *.jsonl."
        )
    try:
        articles = json.loads(text)["data"]
        for a, article in enumerate(articles, start=1):
            for p, paragraph in enumerate(article["paragraphs"], start=1):
                for q, asked in enumerate(paragraph["qas"], start=1):
                    where = f"{name}, article {a}, paragraph {p}, question {q}"
                    values = {key: asked.get(key) for key in ("id", "question")}
                    yield where, values | {"context": paragraph["context"]}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{name} is not in SQuAD's form ({type(error).__name__}: {error}); expected "
            "data, paragraphs, context, qas, question. JSON lines are read from a *.jsonl."
        ) from None


_READERS: dict[str, Callable[[str, str, type[Request]], Placed]] = {
    ".tsv": _tsv,
    ".csv": _csv,
    ".json": _squad,
}
