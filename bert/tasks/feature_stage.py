"""Examples to packed features in a pool of processes; the number of processes changes no byte."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from bert.config import Section
from bert.data.vocab import load_tokenizer
from bert.tasks.config import task_module
from bert.tasks.features import CHUNK, FeatureError
from bert.tasks.features_file import Packed, join, pack
from bert.text.ordered import ONE_BATCH_EACH, map_in_order

logger = logging.getLogger(__name__)


class _Chunk(NamedTuple):
    examples: Sequence[Any]
    first: int
    vocab: Path
    config: Any
    training: bool


def pack_examples(
    examples: Sequence[Any], vocab: Path, config: Any, *, training: bool, workers: int
) -> Packed:
    """The features of a split, in the order of its examples; with places where not for training.

    Args:
        examples: As the task's `read_examples` gives them; picklable.
        vocab: Folder of the vocabulary.
        config: The resolved task section.
        training: Whether to give targets.
        workers: Processes; 1 runs in this process.

    Raises:
        FeatureError: Not one feature, or the vocabulary cannot serve.
        ChildProcessError: A process was killed, most likely by lack of memory.
    """
    chunks = list(_chunks(examples, vocab, config, training))
    found = map_in_order(
        _pack_chunk,
        chunks,
        weight=lambda _: ONE_BATCH_EACH,
        workers=max(1, min(workers, len(chunks))),
    )
    packed = join(list(found))
    if not packed.arrays:
        raise FeatureError(
            f"{len(examples)} examples gave not one feature (counts: {packed.counts}); expected at "
            "least one. Look at the files of the task, or change its section."
        )
    logger.info("made %s", ", ".join(f"{value} {name}" for name, value in packed.counts.items()))
    return packed


def _chunks(
    examples: Sequence[Any], vocab: Path, config: Section, training: bool
) -> Iterator[_Chunk]:
    for first in range(0, len(examples), CHUNK):
        yield _Chunk(examples[first : first + CHUNK], first, vocab, config, training)


def _pack_chunk(chunk: _Chunk) -> Packed:
    task = task_module(chunk.config.format)
    made = task.make_features(
        chunk.examples, _tokenizer(chunk.vocab), chunk.config, training=chunk.training
    )
    # Only decoding asks for places, and what is trained on is never decoded.
    return pack(replace(made, places=[]) if chunk.training else made, chunk.first)


@cache
def _tokenizer(vocab: Path) -> Tokenizer:
    """One for all chunks of a process."""
    return load_tokenizer(vocab)
