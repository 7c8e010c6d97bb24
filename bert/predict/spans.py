"""Questions about a text: what SQuAD's task answers, with the characters that an answer covers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert.predict.found import Found
from bert.predict.requests import SpanRequest
from bert.tasks.features import Feature
from bert.tasks.squad_json import SquadExample
from bert.tasks.squad_windows import FloatArray, Window, substring


class _Piece(NamedTuple):
    """A window of a text and what the network gave for it."""

    feature: Feature
    window: Window
    logits: FloatArray


def span_examples(requests: Sequence[SpanRequest]) -> list[SquadExample]:
    """The requests as the task knows questions: without gold answers, under their numbers."""
    return [
        SquadExample(str(number), request.question, request.context, ())
        for number, request in enumerate(requests)
    ]


def span_answers(requests: Sequence[SpanRequest], found: Found) -> list[dict[str, Any]]:
    """The answer of each request.

    Returns:
        answer (the text; "" for none), start and end (its characters in the context, end
        exclusive; None for none), score (its probability among the n-best), n_best (text, start,
        end, probability) and null_odds.
    """
    pieces: list[list[_Piece]] = [[] for _ in requests]
    features, places = found.feature_set.features, found.feature_set.places
    for piece in map(_Piece, features, places, found.outputs):
        pieces[piece.feature.example].append(piece)
    return [
        _answer(request.context, own, prediction)
        for request, own, prediction in zip(requests, pieces, found.predictions, strict=True)
    ]


def _answer(
    context: str, pieces: Sequence[_Piece], prediction: Mapping[str, Any]
) -> dict[str, Any]:
    found = [_candidate(context, pieces, one) for one in prediction["n_best"]]
    # The answer is always one of the n-best; in SQuAD 2.0 none is one of them, too.
    chosen = next(one for one in found if one["text"] == prediction["text"])
    return {
        "answer": chosen["text"],
        "start": chosen["start"],
        "end": chosen["end"],
        "score": chosen["probability"],
        "n_best": found,
        "null_odds": prediction["null_odds"],
    }


def _candidate(context: str, pieces: Sequence[_Piece], entry: Mapping[str, Any]) -> dict[str, Any]:
    place = next(_places(context, pieces, entry), (None, None)) if entry["text"] else (None, None)
    return {
        "text": entry["text"],
        "start": place[0],
        "end": place[1],
        "probability": entry["probability"],
    }


def _places(
    context: str, pieces: Sequence[_Piece], entry: Mapping[str, Any]
) -> Iterator[tuple[int, int]]:
    """Where the text stands whose start and end have these very logits."""
    for feature, window, logits in pieces:
        first, text = feature.segment_b_start, entry["text"]
        inner = logits[first:-1]
        ends = np.flatnonzero(inner[:, 1] == np.float32(entry["end_logit"]))
        for begin in np.flatnonzero(inner[:, 0] == np.float32(entry["start_logit"])):
            for end in ends:
                start = int(window.offsets[begin, 0])
                if substring(context, start, int(window.offsets[end, 1])) == text:
                    yield start, start + len(text)
