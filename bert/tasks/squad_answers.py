"""From the logits of a question's windows to its answers, best first.

Source: google/bert run_squad.py, write_predictions; Rajpurkar et al. 2018 for questions without
an answer.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bert.tasks.features import Feature
from bert.tasks.squad_config import SquadConfig
from bert.tasks.squad_windows import FloatArray, Window, answer_pairs, substring


class SquadAnswer(BaseModel):
    """One answer that a question may have; the text is "" for none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    probability: float = Field(ge=0, le=1)
    start_logit: float = Field(allow_inf_nan=False)
    end_logit: float = Field(allow_inf_nan=False)


class SquadPrediction(BaseModel):
    """What a question is answered with.

    Attributes:
        text: The answer; "" for none.
        n_best: Answers by falling sum of logits, each text once; in SQuAD 2.0 no answer is one of
            them. The probabilities are the softmax of the sums, over this list.
        null_odds: SQuAD 2.0: null logits minus those of the best answer with a text. Else None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    n_best: list[SquadAnswer] = Field(min_length=1)
    null_odds: float | None = Field(allow_inf_nan=False)


class WindowLogits(NamedTuple):
    """A window and what the network gave for it: float32 [L, 2], columns start and end."""

    feature: Feature
    window: Window
    logits: FloatArray


class _Entry(NamedTuple):
    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


# Stands where the likeliest positions of a question admit no answer, or no more than the null one.
_NOTHING = _Entry("", 0.0, 0.0)


def answer_question(
    context: str, windows: Sequence[WindowLogits], config: SquadConfig
) -> dict[str, Any]:
    """The prediction of one question, as plain data of `SquadPrediction`.

    The null answer's logits are those of the first token, of the window where their sum is least.
    Where the likeliest positions admit no answer with a text, the text is "" and the logits of
    the answer that is missing count as 0.

    Args:
        context: The paragraph.
        windows: All its windows, at least one.
        config: version, n_best, max_answer_length and null_threshold.
    """
    null = _null_entry(windows) if config.version == "2.0" else None
    kept = _n_best(_entries(context, windows, config), null, config.n_best) or [_NOTHING]
    best = next((entry for entry in kept if entry.text), _NOTHING)
    text, odds = best.text, None
    if null is not None:
        odds = null.score - best.start_logit - best.end_logit
        text = "" if odds > config.null_threshold else text
    answers = [
        {"text": entry.text, "probability": p, "start_logit": entry[1], "end_logit": entry[2]}
        for entry, p in zip(kept, _softmax([entry.score for entry in kept]), strict=True)
    ]
    return {"text": text, "n_best": answers, "null_odds": odds}


def _null_entry(windows: Sequence[WindowLogits]) -> _Entry:
    entries = [_Entry("", *map(float, window.logits[0])) for window in windows]
    return min(entries, key=lambda entry: entry.score)


def _n_best(entries: Iterator[_Entry], null: _Entry | None, count: int) -> list[_Entry]:
    """The first `count` distinct texts; the null entry in its place, or behind them."""
    kept: dict[str, _Entry] = {}
    for entry in entries:
        if null is not None and null.text not in kept and null.score > entry.score:
            kept[null.text] = null
        if len(kept) >= count:
            break
        kept.setdefault(entry.text, entry)
    if null is not None:
        kept.setdefault(null.text, null)
    return list(kept.values())


def _entries(
    context: str, windows: Sequence[WindowLogits], config: SquadConfig
) -> Iterator[_Entry]:
    """Answers of all windows by falling sum of logits; between equals the earlier window's."""
    found = [_candidates(window, config) for window in windows]
    logits = np.concatenate([values for values, _ in found])
    spans = np.concatenate([values for _, values in found])
    for place in np.argsort(-logits.sum(axis=1), kind="stable"):
        start, stop = spans[place].tolist()
        yield _Entry(substring(context, start, stop), *logits[place].tolist())


def _candidates(
    item: WindowLogits, config: SquadConfig
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Answers of one window: start and end logit [P, 2]; first character and end [P, 2]."""
    feature, window, logits = item
    first = feature.segment_b_start
    admitted = np.zeros((2, len(logits)), dtype=np.bool_)
    admitted[0, first:-1] = window.max_context
    admitted[1, first:-1] = True
    left, right = logits.T
    starts, ends = answer_pairs(
        left, right, admitted, n_best=config.n_best, max_answer_length=config.max_answer_length
    )
    # Sums in fp64, as in the published code: equal scores are then really equal.
    scores = np.stack([left[starts], right[ends]], axis=1).astype(np.float64)
    spans = np.stack([window.offsets[starts - first, 0], window.offsets[ends - first, 1]], axis=1)
    return scores, spans


def _softmax(scores: Sequence[float]) -> list[float]:
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
