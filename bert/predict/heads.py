"""What a request becomes on its way, by the head of its task.

The tasks' own examples have gold answers, which a request has not: each head's module makes
examples without one. `make_features` with training=False does not look at it, and the predictions
that scorers see are made by the task alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bert.predict.found import Found
from bert.predict.requests import PairRequest, Request, SentenceRequest, SpanRequest, TokenRequest
from bert.predict.sentences import sentence_answers, sentence_examples
from bert.predict.spans import span_answers, span_examples
from bert.predict.tokens import token_answers, token_examples
from bert.tasks.config import Task
from bert.tasks.features import Head
from bert.tasks.glue import GlueTask


class Adapter(NamedTuple):
    """The way of a head.

    Attributes:
        examples: Requests to the task's examples, whose ids are the requests' numbers from 0.
        answers: Requests and what was found for them, to an answer each.
    """

    examples: Callable[[Sequence[Any]], list[Any]]
    answers: Callable[[Sequence[Any], Found], list[dict[str, Any]]]


_SENTENCE = Adapter(sentence_examples, sentence_answers)
ADAPTERS: dict[Head, Adapter] = {
    "span": Adapter(span_examples, span_answers),
    "sentence": _SENTENCE,
    "value": _SENTENCE,
    "token": Adapter(token_examples, token_answers),
}


def request_type(task: Task) -> type[Request]:
    """What a person asks of a task."""
    if task.HEAD == "span":
        return SpanRequest
    if task.HEAD == "token":
        return TokenRequest
    alone = isinstance(task, GlueTask) and task.tables["dev"][0].second is None
    return SentenceRequest if alone else PairRequest


def entity_kinds(task: Task, config: Any) -> tuple[str, ...]:
    """Kinds of entities that a token task tells apart, in the order of its labels; else none."""
    if task.HEAD != "token":
        return ()
    kinds = (label.partition("-")[2] for label in task.labels(config))
    return tuple(dict.fromkeys(kind for kind in kinds if kind))
