"""Trains a byte-level BPE vocabulary on text parts, the same bytes in every run.

The training is that of the `tokenizers` library. Its ties of frequency are decided by the ids of
the pieces, which are fixed from the start here: special tokens, then the 256 bytes in the order of
their characters. So neither threads nor the order of the parts change the result.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bert.data.bytelevel import SPECIAL_TOKENS, Merge, set_text_rules
from bert.data.vocab_config import ByteLevelVocab, VocabError

logger = logging.getLogger(__name__)

_BATCH_BYTES = 1 << 20


def train_byte_level(
    parts: Sequence[Path], config: ByteLevelVocab
) -> tuple[list[str], list[Merge], dict[str, int]]:
    """Trains a vocabulary of at most `config.size` tokens on UTF-8 text files.

    The order is: special tokens, bytes, merged pieces in the order of their merging. Memory grows
    with the number of distinct words; the text itself is streamed.

    Returns:
        The tokens; the merges; and counts: tokens and merges.

    Raises:
        VocabError: The parts hold no text.
    """
    tokenizer = Tokenizer(models.BPE())
    set_text_rules(tokenizer, config.lowercase)
    trainer = trainers.BpeTrainer(
        vocab_size=config.size,
        min_frequency=config.min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(parts), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [(first, second) for first, second in model["merges"]]
    if not merges:
        raise VocabError(
            f"The {len(parts)} text parts hold no pair of bytes that occurs {config.min_frequency} "
            "times; check them, or lower vocab.min_frequency."
        )
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if len(tokens) < config.size:
        logger.warning(
            "the vocabulary has %d tokens, vocab.size is %d: no pair is left that occurs %d times",
            len(tokens), config.size, config.min_frequency,
        )  # fmt: skip
    return tokens, merges, {"tokens": len(tokens), "merges": len(merges)}


def _batches(parts: Sequence[Path]) -> Iterator[list[str]]:
    """Lines without their ends, which are no part of a sentence: they would become tokens."""
    for part in parts:
        with part.open(encoding="utf-8", newline="\n") as stream:
            while lines := stream.readlines(_BATCH_BYTES):
                yield [line.rstrip("\r\n") for line in lines]
