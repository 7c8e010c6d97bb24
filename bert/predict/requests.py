"""What a person may ask of a fine-tuned model, checked strictly, by the head of its task.

A request is plain data: an optional `id` (text or a whole number, given back as it is) and texts.

| task | keys |
|---|---|
| span | question, context |
| one sentence | sentence |
| a pair of sentences | first, second |
| tokens | text, or words: a list |
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

# Characters of one text: 50 windows of SQuAD's length, a second or two on one core.
LONGEST_TEXT = 100_000
MOST_WORDS = 10_000
# What is named of the problems of one request.
_SHOWN = 3

Text = Annotated[str, Field(max_length=LONGEST_TEXT, pattern=r"\S")]
Word = Annotated[str, Field(max_length=LONGEST_TEXT, pattern=r"^\S+$")]


class RequestError(ValueError):
    """A request that is not of the task's form; says where it stands and what is expected."""


class Request(BaseModel):
    """What every request has."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str | int | None = None

    def numbered(self, number: int) -> Self:
        """The same under a number."""
        return self.model_copy(update={"id": number})


class SpanRequest(Request):
    """A question about a text."""

    question: Text
    context: Text


class SentenceRequest(Request):
    """One sentence."""

    sentence: Text


class PairRequest(Request):
    """Two sentences."""

    first: Text
    second: Text


class TokenRequest(Request):
    """A text, or the words it was cut into."""

    text: Text | None = None
    words: Annotated[list[Word], Field(min_length=1, max_length=MOST_WORDS)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.words is None):
            raise ValueError("it needs one of `text` and `words`, not both")
        return self


def check_request(kind: type[Request], values: Any, where: str) -> Request:
    """One request, checked.

    Args:
        kind: The request's type, by the task.
        values: Plain data.
        where: Where it stands ("reviews.jsonl, line 7").

    Raises:
        RequestError: Not a mapping, an unknown or missing key, a value of another type, empty or
            too long.
    """
    if not isinstance(values, Mapping):
        raise RequestError(f"{where} is {_shown(values)}; expected an object with {_keys(kind)}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # A value that fits none of a union's types has a problem for each of them.
        problems = list(dict.fromkeys(_problem(e) for e in error.errors()))
        rest = len(problems) - _SHOWN
        more = f"; and {rest} more problems" if rest > 0 else ""
        raise RequestError(
            f"{where}: {'; '.join(problems[:_SHOWN])}{more}. Expected {_keys(kind)}."
        ) from None


def _keys(kind: type[Request]) -> str:
    names = [name for name in kind.model_fields if name != "id"]
    between = " or " if kind is TokenRequest else " and "
    return between.join(f"`{name}`" for name in names) + ", and `id` if wanted"


def _problem(error: ErrorDetails) -> str:
    """One of pydantic's errors in the words of a request."""
    kind, location, message, value = error["type"], error["loc"], error["msg"], error["input"]
    name = f"`{str(location[0])[:40]}`" if location else "the request"
    if location[:1] == ("id",):
        return f"`id` is {_shown(value)}; it must be text or a whole number"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "string_too_long":
        return f"{name} has {len(value):,} characters; at most {LONGEST_TEXT:,} are taken"
    if kind == "string_pattern_mismatch" and value.strip():
        return f"{name} has {_shown(value)}, in which there is a space"
    words = {
        "extra_forbidden": "is not a known key",
        "missing": "is missing",
        "string_pattern_mismatch": "is empty",
    }
    expected = message.removeprefix("Input should be ")
    other = f"is {_shown(value)}; it must be {expected[0].lower()}{expected[1:]}"
    return f"{name} {words.get(kind, other)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
