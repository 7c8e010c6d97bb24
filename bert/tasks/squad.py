"""SQuAD 1.1 as a task: sliding windows over the paragraph, and answers as exact text substrings.

Windows, targets and the choice of the answer follow Devlin et al. 2018 and google/bert's
run_squad.py. One thing differs: that code loses the original text in tokenisation and finds it
again by projecting word pieces onto white-space words, giving whole words where the projection
fails. Here every token knows its first and last character in the paragraph, so the answer is the
very substring its tokens were made from; the two agree wherever the projection succeeds.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks import squad_json, squad_score
from bert.tasks.features import (
    CHUNK,
    Feature,
    FeatureError,
    FeatureSet,
    Head,
    Role,
    SpecialIds,
    check_count,
    check_finite,
    framed,
    special_ids,
    token_ids,
)
from bert.tasks.squad_json import SquadExample
from bert.tasks.squad_windows import (
    FloatArray,
    Window,
    best_span,
    max_context,
    span_in_window,
    substring,
    token_span,
    window_bounds,
)

logger = logging.getLogger(__name__)

HEAD: Head = "span"
NUM_LABELS = 2
PREDICTION = str
metrics = squad_score.metrics
baseline = squad_score.baseline


class SquadConfig(Section):
    """SQuAD 1.1 question answering."""

    format: Literal["squad"] = knob("Task format: SQuAD 1.1 JSON, one file a split.")
    max_seq_length: int = knob(
        "Longest sequence in tokens, question, window and 3 special tokens (Devlin et al.: 384).",
        ge=8,
    )
    doc_stride: int = knob(
        "Tokens from one window's start to the next; a stride longer than the window counts as "
        "the window's length (google/bert: 128).",
        ge=1,
    )
    max_query_length: int = knob(
        "Tokens of the question that are kept; the rest is cut (google/bert: 64).", ge=1
    )
    n_best: int = knob(
        "Start positions and end positions, by logit, that are paired to find the answer of a "
        "window (google/bert: 20).",
        ge=1,
    )
    max_answer_length: int = knob("Longest predicted answer in tokens (google/bert: 30).", ge=1)
    max_misaligned_share: float = knob(
        "Largest share of questions, 0 to 1, with an answer that does not stand at its "
        "answer_start; above it the stage fails (SQuAD 1.1 as published has none).",
        ge=0,
        le=1,
    )

    @model_validator(mode="after")
    def _room_for_the_paragraph(self) -> "SquadConfig":
        if self.max_query_length + 4 > self.max_seq_length:
            raise ValueError(
                f"max_seq_length {self.max_seq_length} leaves no token for the paragraph beside "
                f"max_query_length {self.max_query_length} and 3 special tokens; raise the first "
                "or lower the second."
            )
        return self


class _Text(NamedTuple):
    ids: list[int]
    offsets: NDArray[np.int32]


def read_examples(
    files: Sequence[Path], config: SquadConfig, *, role: Role
) -> tuple[list[SquadExample], dict[str, int]]:
    """All questions of the files, and counts; see `squad_json.read_squad`.

    Raises:
        squad_json.SquadError: A file that is not usable; a repeated id only matters in "dev".
    """
    return squad_json.read_squad(
        files, max_misaligned_share=config.max_misaligned_share, unique_ids=role == "dev"
    )


def make_features(
    examples: Sequence[SquadExample], tokenizer: Tokenizer, config: SquadConfig, *, training: bool
) -> FeatureSet[Window]:
    """One feature a window; for training with targets, and without the questions that have none.

    Args:
        examples: The questions.
        tokenizer: Tokenizer whose offsets count characters.
        config: Lengths and stride.
        training: Whether to give targets; a question whose answers are all misaligned, or hold no
            token, is then skipped.

    Returns:
        The features. Counts: features, cut_questions (longer than max_query_length),
        skipped_misaligned, skipped_without_tokens, features_without_answer (windows that do not
        hold the whole answer: target `[CLS]`) and answers_in_no_window.

    Raises:
        FeatureError: The tokenizer lacks a special token, or cuts or pads.
    """
    special = special_ids(tokenizer)
    names = ("features", "cut_questions", "skipped_misaligned", "skipped_without_tokens")
    counts = dict.fromkeys((*names, "features_without_answer", "answers_in_no_window"), 0)
    made: list[tuple[Feature, Window]] = []
    for index, (question, text) in enumerate(_encoded(examples, tokenizer)):
        kept = question[: config.max_query_length]
        counts["cut_questions"] += len(kept) < len(question)
        span = _answer_span(examples[index], text, counts) if training else None
        if training and span is None:
            continue
        windows = list(_windows(special, kept, text, config, span, index))
        made += windows
        if training:
            held = sum(feature.targets != (0, 0) for feature, _ in windows)
            counts["features_without_answer"] += len(windows) - held
            counts["answers_in_no_window"] += held == 0
    counts["features"] = len(made)
    logger.info("Made %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return FeatureSet([feature for feature, _ in made], [window for _, window in made], counts)


def decode(
    examples: Sequence[SquadExample],
    feature_set: FeatureSet[Window],
    outputs: Sequence[tuple[FloatArray, FloatArray]],
    config: SquadConfig,
) -> dict[str, str]:
    """The best answer of each question over all its windows, as a substring of its paragraph.

    Args:
        examples: The questions.
        feature_set: Their features.
        outputs: For each feature its start logits and end logits, both float32 [L].
        config: n_best and max_answer_length.

    Returns:
        Question id to answer text, in the order of `examples` (the official predictions format).
        A question gets "" when its likeliest positions admit no answer.

    Raises:
        FeatureError: Outputs of another number or length than the features, or not finite.
    """
    best: dict[int, tuple[float, str]] = {}
    check_count(len(outputs), feature_set)
    for feature, window, logits in zip(
        feature_set.features, feature_set.places, outputs, strict=True
    ):
        example = examples[feature.example]
        _check_logits(feature, logits, example.id)
        found = _best_answer(feature, window, logits, config)
        if found and (feature.example not in best or found[0] > best[feature.example][0]):
            score, start, stop = found
            best[feature.example] = score, substring(example.context, start, stop)
    empty = len(examples) - len(best)
    if empty:
        logger.warning("%d of %d questions got no answer from their windows", empty, len(examples))
    return {example.id: best.get(i, (0.0, ""))[1] for i, example in enumerate(examples)}


def _encoded(
    examples: Sequence[SquadExample], tokenizer: Tokenizer
) -> Iterator[tuple[list[int], _Text]]:
    """Tokens of each example's question and paragraph; a paragraph is encoded once a chunk."""
    for first in range(0, len(examples), CHUNK):
        chunk = examples[first : first + CHUNK]
        contexts = list(dict.fromkeys(example.context for example in chunk))
        encodings = tokenizer.encode_batch(contexts, add_special_tokens=False)
        texts = {
            context: _Text(e.ids, np.array(e.offsets, dtype=np.int32).reshape(-1, 2))
            for context, e in zip(contexts, encodings, strict=True)
        }
        questions = token_ids(tokenizer, [example.question for example in chunk])
        for question, example in zip(questions, chunk, strict=True):
            yield question, texts[example.context]


def _answer_span(
    example: SquadExample, text: _Text, counts: dict[str, int]
) -> tuple[int, int] | None:
    """First and last token of the answer to learn; without any, None and one more skipped."""
    answer = example.target
    if answer is None:
        counts["skipped_misaligned"] += 1
        return None
    span = token_span(text.offsets, answer.start, answer.start + len(answer.text))
    counts["skipped_without_tokens"] += span is None
    return span


def _windows(
    special: SpecialIds,
    question: Sequence[int],
    text: _Text,
    config: SquadConfig,
    span: tuple[int, int] | None,
    example: int,
) -> Iterator[tuple[Feature, Window]]:
    size = config.max_seq_length - len(question) - 3
    bounds = window_bounds(len(text.ids), size, config.doc_stride)
    for (first, last), most in zip(bounds, max_context(bounds), strict=True):
        ids, start = framed(special, question, text.ids[first:last])
        targets = span_in_window(span, (first, last), start) if span else ()
        yield Feature(ids, start, targets, example), Window(text.offsets[first:last], most)


def _best_answer(
    feature: Feature, window: Window, logits: tuple[FloatArray, FloatArray], config: SquadConfig
) -> tuple[float, int, int] | None:
    """Score, first character and the one after the last of a window's best answer."""
    first = feature.segment_b_start
    admitted = np.zeros((2, len(feature.input_ids)), dtype=np.bool_)
    admitted[0, first:-1] = window.max_context
    admitted[1, first:-1] = True
    found = best_span(
        *logits, admitted, n_best=config.n_best, max_answer_length=config.max_answer_length
    )
    if found is None:
        return None
    score, start, end = found
    return score, int(window.offsets[start - first, 0]), int(window.offsets[end - first, 1])


def _check_logits(feature: Feature, logits: tuple[FloatArray, FloatArray], name: str) -> None:
    length = len(feature.input_ids)
    shapes = [values.shape for values in logits]
    if shapes != [(length,), (length,)]:
        raise FeatureError(
            f"Start and end logits of question {name!r} have the shapes {shapes}; expected "
            f"({length},), one value a token. Decode with the features that the model has seen."
        )
    check_finite(logits, f"question {name!r}")
