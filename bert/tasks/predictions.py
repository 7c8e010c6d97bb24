"""predictions.json: what fine-tuning hands to scoring, checked on the way in.

A JSON object, example id to prediction:

- squad: question id to answer text, which is the official evaluation script's format.
- mrpc: "<#1 ID> <#2 ID>" to {"label": 0 or 1, "probability": of being a paraphrase}.
"""

import json
import logging
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
        PredictionError: Not JSON, or not of the task's form.
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
    predictions: dict[str, Any] = json.loads(content)
    return predictions


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
