"""Reader of SQuAD 1.1 JSON files: articles, paragraphs, questions, answers.

Source of the format: Rajpurkar et al. 2016, https://rajpurkar.github.io/SQuAD-explorer/.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

logger = logging.getLogger(__name__)

_LEVELS = {"data": "article", "paragraphs": "paragraph", "qas": "question", "answers": "answer"}


class SquadError(ValueError):
    """A file that is not usable as SQuAD 1.1; names article, paragraph and question."""


class Answer(NamedTuple):
    """One gold answer.

    Attributes:
        text: As the file gives it, never empty.
        start: Index of its first character in the context, counted in code points.
        aligned: Whether `text` really stands at `start` in the context.
    """

    text: str
    start: int
    aligned: bool


class SquadExample(NamedTuple):
    """One question about one paragraph.

    Attributes:
        id: The file's id of the question; the key of its prediction.
        question: As the file gives it.
        context: The paragraph.
        answers: All gold answers, at least one.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]

    @property
    def target(self) -> Answer | None:
        """The first answer that stands at its place, which training uses; None if none does."""
        return next((answer for answer in self.answers if answer.aligned), None)


class _Model(BaseModel):
    # Derived data sets add keys of their own (a difficulty, a source); they do not matter here.
    model_config = ConfigDict(extra="ignore", strict=True)


class _Answer(_Model):
    text: str = Field(min_length=1)
    answer_start: int


class _Question(_Model):
    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    answers: list[_Answer] = Field(min_length=1)


class _Paragraph(_Model):
    context: str = Field(pattern=r"\S")
    qas: list[_Question]


class _Article(_Model):
    paragraphs: list[_Paragraph]


class _File(_Model):
    data: list[_Article]


def read_squad(
    files: Sequence[Path], *, max_misaligned_share: float, unique_ids: bool
) -> tuple[list[SquadExample], dict[str, int]]:
    """Reads all questions of the files, in file order.

    An answer that does not stand at its `answer_start` is never moved to another place: it is
    marked (`Answer.aligned`) and counted.

    Args:
        files: SQuAD 1.1 JSON files.
        max_misaligned_share: Largest accepted share of questions with a misaligned answer, 0 to 1.
        unique_ids: Refuse an id that stands twice. Predictions are told apart by id, so gold data
            needs it; for training it does not matter and is only counted.

    Returns:
        The examples and the counts articles, paragraphs, questions, misaligned_questions,
        misaligned_answers, repeated_ids.

    Raises:
        SquadError: Not JSON, not of this structure, no question at all, too many misaligned
            answers, or a repeated id.
    """
    articles = [article for file in files for article in _read_file(file).data]
    examples = list(_examples(articles))
    repeated = _repeated([example.id for example in examples])
    misaligned = [example for example in examples if not all(a.aligned for a in example.answers)]
    problems = _misaligned_problem(misaligned, len(examples), max_misaligned_share)
    if repeated and unique_ids:
        problems.append(
            f"{len(repeated)} question ids stand more than once, e.g. {repeated[0]!r}; expected "
            "each once, because predictions are told apart by them. Give each question its own id."
        )
    if not examples:
        problems.append("there is no question; expected at least one. Fetch the file again.")
    if problems:
        names = ", ".join(str(file) for file in files)
        raise SquadError("\n".join([f"{names} cannot be used:", *(f"  - {p}" for p in problems)]))
    counts = {
        "articles": len(articles),
        "paragraphs": sum(len(article.paragraphs) for article in articles),
        "questions": len(examples),
        "misaligned_questions": len(misaligned),
        "misaligned_answers": sum(not a.aligned for e in misaligned for a in e.answers),
        "repeated_ids": len(repeated),
    }
    logger.info("Read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def _read_file(file: Path) -> _File:
    content = file.read_bytes()
    try:
        values = json.loads(content)
    except ValueError as error:
        raise SquadError(
            f"{file} ({len(content)} bytes) is not whole JSON: {error}. It was probably cut off; "
            "delete it and fetch it again, and give its sha256 in the configuration."
        ) from None
    try:
        return _File.model_validate(values)
    except ValidationError as error:
        problems = [_problem(values, problem) for problem in error.errors()]
        more = [f"  - and {len(problems) - 10} more"] if len(problems) > 10 else []
        lines = "\n".join([*(f"  - {problem}" for problem in problems[:10]), *more])
        raise SquadError(f"{file} is not SQuAD 1.1:\n{lines}") from None


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
    elif field == "answers" and error["type"] == "too_short":
        text = "it has no answer; SQuAD 1.1 has at least one, and SQuAD 2.0 files are not supported"
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


def _examples(articles: Sequence[_Article]) -> Iterator[SquadExample]:
    for article in articles:
        for paragraph in article.paragraphs:
            for question in paragraph.qas:
                answers = tuple(_answer(paragraph.context, answer) for answer in question.answers)
                yield SquadExample(question.id, question.question, paragraph.context, answers)


def _answer(context: str, answer: _Answer) -> Answer:
    start = answer.answer_start
    return Answer(answer.text, start, start >= 0 and context.startswith(answer.text, start))


def _repeated(ids: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for id_ in ids:
        if id_ in seen:
            repeated[id_] = None
        seen.add(id_)
    return list(repeated)


def _misaligned_problem(misaligned: list[SquadExample], total: int, share: float) -> list[str]:
    if len(misaligned) <= share * total:
        return []
    example = misaligned[0]
    answer = next(a for a in example.answers if not a.aligned)
    stands = example.context[max(answer.start, 0) :][: len(answer.text)]
    pairs = zip(answer.text, stands, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(stands))
    shown = slice(max(same - 20, 0), same + 20)
    return [
        f"{len(misaligned)} of {total} questions have an answer that does not stand at its "
        f"answer_start, e.g. question {example.id!r}, answer_start {answer.start}: the answer "
        f"reads {answer.text[shown]!r} where the context reads {stands[shown]!r}; at most "
        f"{share:.4g} of the questions may (max_misaligned_share). Correct the file, or raise the "
        "share."
    ]
