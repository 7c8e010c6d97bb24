"""SQuAD as a task, 1.1 and 2.0: sliding windows over the paragraph, and answers as its substrings.

Windows, targets and the choice of the answers follow Devlin et al. 2018 and google/bert's
run_squad.py. One thing differs: that code loses the original text in tokenisation and finds it
again by projecting word pieces onto white-space words, giving whole words where the projection
fails. Here every token knows its first and last character in the paragraph, so the answer is the
very substring its tokens were made from; the two agree wherever the projection succeeds.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert.tasks import squad_features, squad_json, squad_score
from bert.tasks.features import FeatureError, FeatureSet, Head, Role, check_count, check_finite
from bert.tasks.squad_answers import SquadPrediction, WindowLogits, answer_question
from bert.tasks.squad_config import SquadConfig
from bert.tasks.squad_json import SquadExample
from bert.tasks.squad_windows import FloatArray, Window

logger = logging.getLogger(__name__)

HEAD: Head = "span"
HEADLINE = "f1"
PREDICTION = SquadPrediction
make_features = squad_features.make_features
metrics = squad_score.metrics
baseline = squad_score.baseline


def labels(config: SquadConfig) -> tuple[str, ...]:
    """Names of a token's two scores: that it starts, and that it ends, the answer."""
    return ("start", "end")


def read_examples(
    files: Sequence[Path], config: SquadConfig, *, role: Role
) -> tuple[list[SquadExample], dict[str, int]]:
    """All questions of the files, and counts; see `squad_json.read_squad`.

    Raises:
        squad_format.SquadError: A file that is not usable; a repeated id only matters in "dev".
    """
    return squad_json.read_squad(
        files,
        version=config.version,
        max_misaligned_share=config.max_misaligned_share,
        unique_ids=role == "dev",
    )


def decode(
    examples: Sequence[SquadExample],
    feature_set: FeatureSet[Window],
    outputs: Sequence[FloatArray],
    config: SquadConfig,
) -> dict[str, Any]:
    """The answers of each question over all its windows, as substrings of its paragraph.

    Args:
        examples: The questions.
        feature_set: Their features, at least one each.
        outputs: For each feature float32 [L, 2], columns start and end.
        config: version, n_best, max_answer_length and null_threshold.

    Returns:
        Question id to plain data of `SquadPrediction`, in the order of `examples`.

    Raises:
        FeatureError: Outputs of another number or shape than the features, or not finite; a
            question without a feature.
    """
    check_count(len(outputs), feature_set)
    windows: list[list[WindowLogits]] = [[] for _ in examples]
    for item in map(WindowLogits, feature_set.features, feature_set.places, outputs):
        _check_logits(item, examples[item.feature.example].id)
        windows[item.feature.example].append(item)
    predictions = {
        example.id: answer_question(example.context, _some(found, example.id), config)
        for example, found in zip(examples, windows, strict=True)
    }
    empty = sum(prediction["text"] == "" for prediction in predictions.values())
    logger.log(
        logging.WARNING if empty and config.version == "1.1" else logging.INFO,
        "%d of %d questions got no answer",
        empty,
        len(examples),
    )
    return predictions


def official_files(
    examples: Sequence[SquadExample], predictions: Mapping[str, Any], config: SquadConfig
) -> dict[str, str]:
    """The files of google/bert's run_squad.py, which the official scripts read.

    Returns:
        predictions.json (id to text), nbest_predictions.json (id to its answers) and, of SQuAD
        2.0, null_odds.json (id to null odds); in the order of `examples`.
    """
    found = {e.id: predictions[e.id] for e in examples if e.id in predictions}
    files = {
        "predictions.json": {id_: prediction["text"] for id_, prediction in found.items()},
        "nbest_predictions.json": {id_: value["n_best"] for id_, value in found.items()},
    }
    if config.version == "2.0":
        files["null_odds.json"] = {id_: value["null_odds"] for id_, value in found.items()}
    return {
        name: json.dumps(values, indent=4, allow_nan=False) + "\n" for name, values in files.items()
    }


def _check_logits(item: WindowLogits, name: str) -> None:
    shape = len(item.feature.input_ids), 2
    if item.logits.shape != shape:
        raise FeatureError(
            f"The logits of question {name!r} have the shape {item.logits.shape}; expected "
            f"{shape}, a start and an end a token. Decode with the features that the model has "
            "seen."
        )
    check_finite([item.logits], f"question {name!r}")


def _some(windows: Sequence[WindowLogits], name: str) -> Sequence[WindowLogits]:
    if not windows:
        raise FeatureError(
            f"Question {name!r} has no feature; expected at least one window. Features that are "
            "made for training leave questions out: make them with training=False."
        )
    return windows
