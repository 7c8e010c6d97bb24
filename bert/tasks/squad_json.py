"""Reader of SQuAD files: questions with their paragraph and gold answers, checked and counted."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bert.tasks.squad_config import Version
from bert.tasks.squad_format import AnswerJson, ArticleJson, SquadError, read_file

logger = logging.getLogger(__name__)


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
        answers: All gold answers; none if `impossible`.
        impossible: Whether the paragraph holds no answer; None in SQuAD 1.1, which does not ask.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    impossible: bool | None = None

    @property
    def target(self) -> Answer | None:
        """The first answer that stands at its place, which training uses; None if none does."""
        return next((answer for answer in self.answers if answer.aligned), None)


def read_squad(
    files: Sequence[Path], *, version: Version | None, max_misaligned_share: float, unique_ids: bool
) -> tuple[list[SquadExample], dict[str, int]]:
    """Reads all questions of the files, in file order.

    An answer that does not stand at its `answer_start` is never moved to another place: it is
    marked (`Answer.aligned`) and counted.

    Args:
        files: JSON files.
        version: What their questions must agree with; None = either version. A file of 1.1 also
            is one of 2.0.
        max_misaligned_share: Largest accepted share of questions with a misaligned answer, 0 to 1.
        unique_ids: Refuse an id that stands twice. Predictions are told apart by id, so gold data
            needs it; for training it does not matter and is only counted.

    Returns:
        The examples and the counts articles, paragraphs, questions, impossible_questions (without
        answer), misaligned_questions, misaligned_answers, repeated_ids.

    Raises:
        SquadError: Not JSON, not of this structure or version, no question at all, too many
            misaligned answers, or a repeated id.
    """
    articles = [article for file in files for article in read_file(file, version).data]
    examples = list(_examples(articles, version))
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
        "impossible_questions": sum(not example.answers for example in examples),
        "misaligned_questions": len(misaligned),
        "misaligned_answers": sum(not a.aligned for e in misaligned for a in e.answers),
        "repeated_ids": len(repeated),
    }
    logger.info("Read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def _examples(articles: Sequence[ArticleJson], version: Version | None) -> Iterator[SquadExample]:
    for article in articles:
        for paragraph in article.paragraphs:
            for item in paragraph.qas:
                answers = tuple(_answer(paragraph.context, answer) for answer in item.answers)
                impossible = not answers if version == "2.0" else None
                yield SquadExample(item.id, item.question, paragraph.context, answers, impossible)


def _answer(context: str, answer: AnswerJson) -> Answer:
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
