"""Trains a WordPiece vocabulary on text parts, the same bytes in every run.

The merging is that of the `tokenizers` library: pairs of pieces by frequency, as in byte-pair
encoding. Left alone, its result changes from run to run: it numbers the `##` characters in the
order of a hash table, and ties of frequency are decided by these numbers; at the limit of the
alphabet, ties are decided by the hash table too. Here the alphabet is counted and ordered first,
and the library is given all its characters, plain and with `##`, as fixed first entries.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, trainers

from bert.data.vocab_config import VocabError, WordPieceVocab
from bert.data.wordpiece import CONTINUATION, SPECIAL_TOKENS, text_rules

logger = logging.getLogger(__name__)

_CHUNK_CHARACTERS = 1 << 22
_CODE_POINTS = 0x110000


def train_wordpiece(
    parts: Sequence[Path], config: WordPieceVocab
) -> tuple[list[str], dict[str, int]]:
    """Trains a vocabulary of at most `config.size` tokens on UTF-8 text files.

    The order is: special tokens, characters by code point, `##` characters by code point, merged
    pieces in the order of their merging. Memory grows with the number of distinct words, which
    grows far slower than the corpus; the text itself is streamed.

    Returns:
        The tokens, and counts: tokens, merges, distinct characters, characters kept, and the
        occurrences of characters that were not kept (words with one become [UNK]).

    Raises:
        VocabError: No text, or an alphabet that leaves no room for merged pieces.
    """
    seen = count_characters(parts, config.lowercase)
    if not seen:
        raise VocabError(f"The {len(parts)} text parts hold no character; run the rule `split`.")
    alphabet = sorted(sorted(seen, key=lambda c: (-seen[c], c))[: config.limit_alphabet])
    fixed = [*SPECIAL_TOKENS, *alphabet, *continuations(alphabet, config.lowercase)]
    if len(fixed) >= config.size:
        raise VocabError(
            f"vocab.size is {config.size}, but the special tokens and {len(alphabet)} characters, "
            f"plain and with {CONTINUATION}, take {len(fixed)}. Set vocab.size above that, or "
            "vocab.limit_alphabet lower."
        )
    tokens = _merge(parts, fixed, config)
    if len(tokens) < config.size:
        logger.warning(
            "the vocabulary has %d tokens, vocab.size is %d: no pair is left that occurs %d times",
            len(tokens), config.size, config.min_frequency,
        )  # fmt: skip
    kept = sum(seen[character] for character in alphabet)
    return tokens, {
        "tokens": len(tokens),
        "merges": len(tokens) - len(fixed),
        "distinct_characters": len(seen),
        "characters_kept": len(alphabet),
        "occurrences_not_kept": seen.total() - kept,
    }


def count_characters(parts: Sequence[Path], lowercase: bool) -> Counter[str]:
    """How often each character occurs in the cleaned text; spaces do not count.

    BERT's clean-up works character by character, so it is enough to clean each distinct one.
    """
    raw = np.zeros(_CODE_POINTS, np.int64)
    for part in parts:
        with part.open(encoding="utf-8", newline="\n") as stream:
            while chunk := stream.read(_CHUNK_CHARACTERS):
                raw += _code_point_counts(chunk)
    normalizer, _ = text_rules(lowercase)
    counts: Counter[str] = Counter()
    for code in np.flatnonzero(raw).tolist():
        for character in normalizer.normalize_str(chr(code)):
            if not character.isspace():
                counts[character] += int(raw[code])
    return counts


def _code_point_counts(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return np.bincount(codes, minlength=_CODE_POINTS).astype(np.int64, copy=False)


def continuations(alphabet: Sequence[str], lowercase: bool) -> list[str]:
    """`##` pieces of the characters that can stand inside a word: no punctuation, no ideograph."""
    normalizer, splitter = text_rules(lowercase)
    return [
        CONTINUATION + character
        for character in alphabet
        if len(splitter.pre_tokenize_str(normalizer.normalize_str("a" + character))) == 1
    ]


def _merge(parts: Sequence[Path], fixed: list[str], config: WordPieceVocab) -> list[str]:
    """Runs the library's trainer from `fixed` on; returns the tokens in the order of their ids."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = text_rules(config.lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.size,
        min_frequency=config.min_frequency,
        special_tokens=fixed,
        limit_alphabet=0,  # none but the fixed ones
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer.train([str(part) for part in parts], trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    tokens = sorted(ids, key=ids.__getitem__)
    if tokens[: len(fixed)] != fixed:
        raise RuntimeError("tokenizers no longer keeps the order of special tokens.")
    return tokens
