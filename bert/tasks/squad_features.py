"""Questions and paragraphs of SQuAD to features: sliding windows with targets."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bert.tasks.features import (
    CHUNK,
    Feature,
    FeatureSet,
    SpecialIds,
    framed,
    special_ids,
    token_ids,
)
from bert.tasks.squad_config import SquadConfig
from bert.tasks.squad_json import SquadExample
from bert.tasks.squad_windows import Window, max_context, span_in_window, token_span, window_bounds

logger = logging.getLogger(__name__)

# The tokens of no answer: in none of the windows, so all of them have the target `[CLS]`.
_NOWHERE = (-1, -1)


class _Text(NamedTuple):
    ids: list[int]
    offsets: NDArray[np.int32]


def make_features(
    examples: Sequence[SquadExample], tokenizer: Tokenizer, config: SquadConfig, *, training: bool
) -> FeatureSet[Window]:
    """One feature a window; for training with targets, and without the questions that give none.

    Args:
        examples: The questions.
        tokenizer: Tokenizer whose offsets count characters.
        config: Lengths and stride.
        training: Whether to give targets; a question whose answers are all misaligned, or hold no
            token, is then skipped. All windows of an impossible question have the target `[CLS]`.

    Returns:
        The features. Counts: features, cut_questions (longer than max_query_length),
        skipped_misaligned, skipped_without_tokens, features_without_answer (windows with the
        target `[CLS]`: they do not hold the whole answer, or there is none) and
        answers_in_no_window.

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
            counts["answers_in_no_window"] += held == 0 and span != _NOWHERE
    counts["features"] = len(made)
    logger.info("Made %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return FeatureSet([feature for feature, _ in made], [window for _, window in made], counts)


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
    if example.impossible:
        return _NOWHERE
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
