"""SQuAD 1.1 scores: exact match and F1 over normalised answers.

Gives the same numbers as the official evaluate-v1.1.py (Rajpurkar et al. 2016): text is
lower-cased, ASCII punctuation and the articles a, an, the are removed, white space is squeezed; a
question scores the best of its gold answers; a question without a prediction scores 0.
"""

import logging
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from bert.tasks.squad_json import SquadExample

logger = logging.getLogger(__name__)

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces; in this order.

    The order matters: "(the)" becomes an article only once its brackets are gone.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """1 if the normalised texts are equal, else 0."""
    return float(normalize(prediction) == normalize(gold))


def token_f1(prediction: str, gold: str) -> float:
    """Harmonic mean of precision and recall over words counted with repetition, 0 to 1.

    Two texts that normalise to nothing score 0 here and 1 in `exact_match`, as in the official
    script.
    """
    predicted, expected = normalize(prediction).split(), normalize(gold).split()
    common = (Counter(predicted) & Counter(expected)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def metrics(gold: Sequence[SquadExample], predictions: Mapping[str, str]) -> dict[str, float]:
    """Mean exact match and F1 over all questions of `gold`.

    Args:
        gold: All questions; one without a prediction scores 0.
        predictions: Question id to answer text.

    Returns:
        exact_match and f1 in percent.
    """
    missing = sum(example.id not in predictions for example in gold)
    if missing:
        logger.warning("%d of %d questions have no prediction and score 0", missing, len(gold))
    exact = f1 = 0.0
    for example in gold:
        prediction = predictions.get(example.id)
        if prediction is None:
            continue
        texts = {answer.text: None for answer in example.answers}
        exact += max(exact_match(prediction, text) for text in texts)
        f1 += max(token_f1(prediction, text) for text in texts)
    return {"exact_match": 100.0 * exact / len(gold), "f1": 100.0 * f1 / len(gold)}


def baseline(gold: Sequence[SquadExample]) -> dict[str, float]:
    """Scores of answering each question with its whole paragraph: what no learning gives.

    Returns:
        exact_match and f1 in percent.
    """
    return metrics(gold, {example.id: example.context for example in gold})
