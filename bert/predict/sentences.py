"""One sentence or two: labels with their probabilities, or a number."""

from collections.abc import Mapping, Sequence
from typing import Any

from bert.predict.found import Found
from bert.predict.requests import PairRequest, Request, SentenceRequest
from bert.tasks.sentence import SentenceExample

# Stands where training has the gold label; `make_features(training=False)` does not look at it.
_NO_LABEL = 0.0


def sentence_examples(
    requests: Sequence[SentenceRequest | PairRequest],
) -> list[SentenceExample]:
    """The requests as the task knows examples: without a label, under their numbers."""
    return [
        SentenceExample(str(number), *_texts(request), label=_NO_LABEL)
        for number, request in enumerate(requests)
    ]


def _texts(request: SentenceRequest | PairRequest) -> tuple[str, str | None]:
    if isinstance(request, PairRequest):
        return request.first, request.second
    return request.sentence, None


def sentence_answers(requests: Sequence[Request], found: Found) -> list[dict[str, Any]]:
    """Label and probabilities of each request, or its value."""
    return [_answer(prediction, found.labels) for prediction in found.predictions]


def _answer(prediction: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    if "probability" not in prediction:
        return dict(prediction)
    # MRPC's own form: the number of the label, and the probability of the label 1.
    second = prediction["probability"]
    shares = dict(zip(labels, (1 - second, second), strict=True))
    return {"label": labels[prediction["label"]], "probabilities": shares}
