"""SQuAD scores: exact match and F1 over normalised answers, 1.1 and 2.0.

Gives the numbers of the official evaluate-v1.1.py (Rajpurkar et al. 2016) and evaluate-v2.0.py
(Rajpurkar et al. 2018): text is lower-cased, ASCII punctuation and the articles a, an, the are
removed, white space is squeezed; a question scores the best of its gold answers. One thing
differs: a question without a prediction scores 0 in both versions, where the script of 2.0 leaves
it out of the mean, or stops.
"""

import logging
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bert.tasks.squad_json import SquadExample

logger = logging.getLogger(__name__)

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class _Score(NamedTuple):
    """Exact match and F1 of one question, 0 to 1."""

    exact: float
    f1: float


def normalize(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces; in this order.

    The order matters: "(the)" becomes an article only once its brackets are gone.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """1 if the normalised texts are equal, else 0."""
    return float(normalize(prediction) == normalize(gold))


def token_f1(prediction: str, gold: str, *, of_nothing: float = 0.0) -> float:
    """Harmonic mean of precision and recall over words counted with repetition, 0 to 1.

    Args:
        prediction: A text.
        gold: A text.
        of_nothing: Score of two texts that both normalise to nothing: 0 in SQuAD 1.1, where
            `exact_match` gives 1 all the same, and 1 in SQuAD 2.0.
    """
    predicted, expected = normalize(prediction).split(), normalize(gold).split()
    if not predicted and not expected:
        return of_nothing
    common = (Counter(predicted) & Counter(expected)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def metrics(gold: Sequence[SquadExample], predictions: Mapping[str, Any]) -> dict[str, float]:
    """Means over all questions of `gold`, by the rules of their version.

    Args:
        gold: All questions; one without a prediction scores 0.
        predictions: Question id to plain data of `squad_answers.SquadPrediction`.

    Returns:
        1.1: exact_match and f1 in percent. 2.0, by the names of the official script: exact and
        f1; both of the questions with (HasAns_) and without (NoAns_) an answer, where there are
        any; and best_exact and best_f1, what the best threshold on the null odds would have given,
        with these thresholds (best_exact_thresh, best_f1_thresh; no percentages). The texts given
        stay as they are: a threshold above null_threshold changes nothing. Without null odds
        there are no best_ metrics.
    """
    missing = sum(example.id not in predictions for example in gold)
    if missing:
        logger.warning("%d of %d questions have no prediction and score 0", missing, len(gold))
    scores = {example.id: _score(example, predictions.get(example.id)) for example in gold}
    if all(example.impossible is None for example in gold):
        exact, f1 = _means(list(scores.values()))
        return {"exact_match": exact, "f1": f1}
    groups = {
        "": list(scores.values()),
        "HasAns_": [scores[example.id] for example in gold if example.answers],
        "NoAns_": [scores[example.id] for example in gold if not example.answers],
    }
    found = {
        prefix + name: value
        for prefix, group in groups.items()
        if group
        for name, value in zip(_Score._fields, _means(group), strict=True)
    }
    return found | _best(gold, predictions, scores)


def baseline(gold: Sequence[SquadExample]) -> dict[str, float]:
    """Scores of what needs no learning: each question is answered with its whole paragraph.

    In SQuAD 2.0, or not at all, if that scores the higher F1.

    Returns:
        The metrics, without those over thresholds.
    """
    whole = metrics(gold, {e.id: {"text": e.context, "null_odds": None} for e in gold})
    if all(example.impossible is None for example in gold):
        return whole
    nothing = metrics(gold, {e.id: {"text": "", "null_odds": None} for e in gold})
    return max(nothing, whole, key=lambda found: found["f1"])


def _score(example: SquadExample, prediction: Any) -> _Score:
    if prediction is None:
        return _Score(0.0, 0.0)
    texts = dict.fromkeys(answer.text for answer in example.answers)
    if example.impossible is None:
        nothing = 0.0
    else:
        # An answer that normalises to nothing is none; no answer is right only if none is given.
        texts = dict.fromkeys(text for text in texts if normalize(text)) or {"": None}
        nothing = 1.0
    given = prediction["text"]
    return _Score(
        max(exact_match(given, text) for text in texts),
        max(token_f1(given, text, of_nothing=nothing) for text in texts),
    )


def _means(scores: Sequence[_Score]) -> tuple[float, float]:
    """Exact match and F1 in percent."""
    exact, f1 = (100.0 * sum(column) / len(scores) for column in zip(*scores, strict=True))
    return exact, f1


def _best(
    gold: Sequence[SquadExample], predictions: Mapping[str, Any], scores: Mapping[str, _Score]
) -> dict[str, float]:
    """best_exact, best_exact_thresh, best_f1, best_f1_thresh; nothing without null odds."""
    examples = {example.id: example for example in gold if example.id in predictions}
    if any(predictions[id_]["null_odds"] is None for id_ in examples):
        return {}
    # Of equal odds the order of the predictions decides, as in the official script.
    order = sorted(
        (id_ for id_ in predictions if id_ in examples),
        key=lambda id_: float(predictions[id_]["null_odds"]),
    )
    found: dict[str, float] = {}
    for name in _Score._fields:
        # From no question answered to all of them, in the order of their odds.
        current = best = float(sum(not example.answers for example in examples.values()))
        threshold = 0.0
        for id_ in order:
            if examples[id_].answers:
                current += getattr(scores[id_], name)
            else:
                current -= bool(predictions[id_]["text"])
            if current > best:
                best, threshold = current, predictions[id_]["null_odds"]
        found |= {f"best_{name}": 100.0 * best / len(gold), f"best_{name}_thresh": threshold}
    return found
