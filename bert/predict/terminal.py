"""One answer, readable on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from bert.tasks.features import Head

_BAR = 24
_CANDIDATES = 5
_WIDTH = 40


def readable(head: Head, answer: Mapping[str, Any]) -> str:
    """The answer to one request in lines for a person."""
    return "".join(f"{line}\n" for line in _LINES[head](answer))


def _span(answer: Mapping[str, Any]) -> Iterator[str]:
    yield answer["answer"] or "(no answer stands in the text)"
    if answer["answer"]:
        yield f"characters {answer['start']} to {answer['end']}"
    yield ""
    for one in answer["n_best"][:_CANDIDATES]:
        yield _bar(one["text"] or "(no answer)", one["probability"])


def _sentence(answer: Mapping[str, Any]) -> Iterator[str]:
    yield answer["label"]
    yield ""
    for label, share in sorted(answer["probabilities"].items(), key=lambda item: -item[1]):
        yield _bar(label, share)


def _value(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{answer['value']:.3f}"


def _token(answer: Mapping[str, Any]) -> Iterator[str]:
    if not answer["entities"]:
        yield "(no entity stands in the text)"
    for one in answer["entities"]:
        yield _bar(f"{one['label']}  {one['text']}", one["score"])


def _bar(name: str, share: float) -> str:
    flat = " ".join(name.split())
    shown = flat if len(flat) <= _WIDTH else flat[: _WIDTH - 3] + "..."
    return f"{100 * share:5.1f} %  {'#' * round(_BAR * share):{_BAR}}  {shown}"


_LINES = {"span": _span, "sentence": _sentence, "value": _value, "token": _token}
