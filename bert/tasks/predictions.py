"""predictions.json: what fine-tuning hands to scoring, checked on the way in.

A JSON object, example id to prediction; a task module's PREDICTION says what that is.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bert.tasks.config import Task

logger = logging.getLogger(__name__)


class PredictionError(ValueError):
    """Predictions that are malformed or belong to other data."""


def read_predictions(file: Path, task: Task) -> dict[str, Any]:
    """Reads and checks the predictions of a task.

    Raises:
        PredictionError: Not JSON, not of the task's form, or an id stands twice.
    """
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, task.PREDICTION])  # type: ignore[name-defined]
    content = file.read_bytes()
    try:
        adapter.validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ", ".join(repr(part) for part in first["loc"]) or "the whole file"
        raise PredictionError(
            f"{file} does not hold predictions of this task: {place}: {first['msg']}. Expected "
            "what the rule `finetune` writes; run it again."
        ) from None
    predictions: dict[str, Any] = json.loads(
        content, object_pairs_hook=lambda pairs: _each_once(file, pairs)
    )
    return predictions


def _each_once(file: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise PredictionError(
            f"{file} has the key {twice!r} more than once; expected each id once, because only one "
            "prediction of an example can be scored. Run `finetune` again."
        )
    return found


def coverage(gold: Sequence[Any], predictions: Mapping[str, Any]) -> dict[str, int]:
    """How the predictions meet the examples.

    Args:
        gold: Examples with an `id`.
        predictions: Example id to prediction.

    Returns:
        The counts missing_predictions and unknown_predictions (of no example).

    Raises:
        PredictionError: Not one example has a prediction: they belong to other data.
    """
    ids = {example.id for example in gold}
    missing, unknown = ids - predictions.keys(), predictions.keys() - ids
    if len(missing) == len(ids):
        raise PredictionError(
            f"None of the {len(ids)} examples has a prediction (e.g. {min(ids)!r}; the "
            f"{len(predictions)} predictions are of {sorted(predictions)[:1]}); expected the "
            "predictions of these very examples. Score with the dev files of the fine-tuning."
        )
    if unknown:
        logger.warning("%d predictions are of no example and are ignored", len(unknown))
    return {"missing_predictions": len(missing), "unknown_predictions": len(unknown)}
