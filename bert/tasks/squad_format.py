"""The JSON of SQuAD: its structure, and its errors in the words of the format.

Source: Rajpurkar et al. 2016 and 2018, https://rajpurkar.github.io/SQuAD-explorer/.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bert.tasks.squad_config import Version

_LEVELS = {"data": "article", "paragraphs": "paragraph", "qas": "question", "answers": "answer"}
_MOST_SHOWN = 10


class SquadError(ValueError):
    """A file that is not usable as SQuAD; names article, paragraph and question."""


class _Model(BaseModel):
    # Derived data sets add keys of their own (a difficulty, a source); they do not matter here.
    model_config = ConfigDict(extra="ignore", strict=True)


class AnswerJson(_Model):
    """An entry of `answers`."""

    text: str = Field(min_length=1)
    answer_start: int


class QuestionJson(_Model):
    """An entry of `qas`; 1.1 has no `is_impossible`."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    answers: list[AnswerJson]
    is_impossible: bool | None = None


class ParagraphJson(_Model):
    """An entry of `paragraphs`."""

    context: str = Field(pattern=r"\S")
    qas: list[QuestionJson]


class ArticleJson(_Model):
    """An entry of `data`."""

    title: Any = None
    paragraphs: list[ParagraphJson]


class FileJson(_Model):
    """A whole file; some write its version as a number."""

    version: Any = None
    data: list[ArticleJson]


def read_file(file: Path, version: Version | None) -> FileJson:
    """Reads one file, with or without a byte order mark.

    Args:
        file: The file.
        version: What its questions must agree with; None = either version.

    Raises:
        SquadError: Not JSON, not of this structure, or of another version.
    """
    content = file.read_bytes()
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SquadError(
            f"{file} ({len(content)} bytes) is not whole JSON: {error}. It was probably cut off; "
            "delete it and fetch it again, and give its sha256 in the configuration."
        ) from None
    try:
        read = FileJson.model_validate(values)
    except ValidationError as error:
        problems = [_problem(values, problem) for problem in error.errors()]
        raise _refusal(f"{file} is not SQuAD", problems) from None
    if version == "1.1" and str(read.version).lower().removeprefix("v").startswith("2"):
        raise SquadError(
            f"{file} says that its version is {read.version!r}, but the task's `version` is 1.1; "
            'expected a file of SQuAD 1.1. Set version: "2.0", or name a 1.1 file.'
        )
    if problems := list(_answer_problems(read, version)):
        raise _refusal(f"{file} is not SQuAD {version or ''}".rstrip(), problems)
    return read


def _refusal(what: str, problems: list[str]) -> SquadError:
    more = len(problems) - _MOST_SHOWN
    lines = [f"  - {problem}" for problem in problems[:_MOST_SHOWN]]
    return SquadError("\n".join([f"{what}:", *lines, *([f"  - and {more} more"] * (more > 0))]))


def _answer_problems(read: FileJson, version: Version | None) -> Iterator[str]:
    """Questions whose answers go neither with their `is_impossible` nor with the version."""
    for a, article in enumerate(read.data):
        for p, paragraph in enumerate(article.paragraphs):
            for q, question in enumerate(paragraph.qas):
                if problem := _answer_problem(question, version):
                    yield (
                        f"article {a + 1}{_name(article.model_dump(include={'title'}))}, "
                        f"paragraph {p + 1}, question {q + 1} ({question.id!r}): {problem}"
                    )


def _answer_problem(question: QuestionJson, version: Version | None) -> str | None:
    impossible, answers = question.is_impossible, len(question.answers)
    if version == "1.1" and (impossible or not answers):
        return (
            "it has no answer; SQuAD 1.1 has at least one for each question. For a file with "
            'unanswerable questions set version: "2.0"'
        )
    if impossible is not None and impossible == bool(answers):
        return (
            f"`is_impossible` is {json.dumps(impossible)}, but it has {answers} answers; expected "
            "answers, or is_impossible: true, and not both. Correct one of them"
        )
    return None


def _problem(values: Any, error: Any) -> str:
    """One pydantic error in the words of the format, counting from 1."""
    location = list(error["loc"])
    where: list[str] = []
    for depth, key in enumerate(location):
        if isinstance(key, int):
            values = values[key]
            where.append(f"{_LEVELS[location[depth - 1]]} {key + 1}{_name(values)}")
        elif isinstance(values, dict):
            values = values.get(key)
    field = location[-1] if location and isinstance(location[-1], str) else ""
    if error["type"] == "missing":
        text = f"key `{field}` is missing"
    else:
        found = json.dumps(error["input"], ensure_ascii=True)
        found = found if len(found) <= 60 else found[:57] + "..."
        expected = error["msg"].removeprefix("Input should ").removeprefix("String should ")
        text = f"`{field or 'the value'}` is {found}; it should {expected}"
    return ", ".join(where or ["the file"]) + f": {text}"


def _name(values: Any) -> str:
    if not isinstance(values, dict):
        return ""
    name = values.get("title") or values.get("id")
    return f" ({name!r})" if isinstance(name, str) else ""
