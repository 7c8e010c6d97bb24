"""Text to token ids, exactly as the `tokenizers` library gives them, and many times as fast.

A text is cut into words that have the same ids wherever they stand (see `bert.data.cuts`). Their
ids are looked up in a table; the library itself is asked for words that the table does not have.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, pre_tokenizers

from bert.data.cuts import (
    BYTE_LEVEL_CUT,
    WORDPIECE_CUT,
    blocks,
    byte_level_words,
    lines_with_space,
    wordpiece_words,
)
from bert.data.ragged import I64, take_ranges
from bert.data.shards import input_ids_dtype
from bert.data.vocab import load_tokenizer, load_vocabulary
from bert.data.wordpiece import MAX_WORD_CHARACTERS
from bert.data.wordtable import WordTable

_BLOCK_BYTES = 1 << 18  # the arrays of a block stay in the processor's caches
_LINE_END = "\n"


class Tokeniser:
    """Token ids of sentences. One for a process: it keeps its table of words between calls."""

    def __init__(self, folder: Path) -> None:
        """Loads the vocabulary that the stage `vocab` wrote into `folder`.

        Raises:
            FileNotFoundError: A file is missing.
            VocabError: The vocabulary is damaged.
        """
        vocabulary = load_vocabulary(folder)
        self.dtype = np.dtype(input_ids_dtype(vocabulary.size))
        self._byte_level = vocabulary.kind == "bytelevel"
        self._is_continuation = vocabulary.is_continuation
        self._library = load_tokenizer(folder)
        if self._byte_level:  # the words come with the space before them
            self._library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        # A token of its own, found before any other rule is applied, parts the words that the
        # library is asked for; its id is the one after the vocabulary's last.
        self._library.add_tokens([AddedToken(_LINE_END, normalized=False)])
        self._separator = vocabulary.size
        self._table = WordTable(self._resolve, _LINE_END.encode(), self.dtype)

    @property
    def words_known(self) -> int:
        """Words that the table holds now."""
        return len(self._table)

    def sentences(self, lines: Sequence[str]) -> tuple[NDArray[Any], I64]:
        """Token ids of sentences, without special tokens.

        Args:
            lines: Sentences without line feeds.

        Returns:
            ids: [T], uint16 or uint32 by the size of the vocabulary, all sentences end to end.
            lengths: [number of lines], tokens of each; 0 for one without any.

        Raises:
            ValueError: A sentence holds a line feed.
        """
        if not lines:
            return np.zeros(0, self.dtype), np.zeros(0, np.int64)
        ids, lengths = self.text(_LINE_END.join(lines).encode("utf-8"))
        if len(lengths) != len(lines):
            raise ValueError(
                f"{len(lines)} sentences hold {len(lengths) - len(lines)} line feeds; expected one "
                "sentence a line. Split them first."
            )
        return ids, lengths

    def text(self, text: bytes) -> tuple[NDArray[Any], I64]:
        """Token ids of the lines of a UTF-8 text, without special tokens.

        Args:
            text: Lines parted by line feeds; what follows the last one is a line, too.

        Returns:
            ids and lengths, as of `sentences`.
        """
        text += _LINE_END.encode()
        if self._byte_level:
            text = lines_with_space(text)
        cut = BYTE_LEVEL_CUT if self._byte_level else WORDPIECE_CUT
        find_words = byte_level_words if self._byte_level else wordpiece_words
        pieces = [np.zeros(0, self.dtype)]
        line_ends = [np.zeros(1, np.int64)]
        done = 0
        for block in blocks(text, cut, _BLOCK_BYTES):
            ids, counts, is_line_end = self._table.look_up(block, *find_words(block))
            line_ends.append(done + np.cumsum(counts)[is_line_end])
            pieces.append(ids)
            done += len(ids)
        bounds = np.concatenate(line_ends)
        return np.concatenate(pieces), bounds[1:] - bounds[:-1]

    def _resolve(self, words: Sequence[bytes]) -> tuple[NDArray[Any], I64]:
        """The library's token ids of words, and how many each has."""
        is_plain = [self._is_plain(word) for word in words]
        plain = [word for word, yes in zip(words, is_plain, strict=True) if yes]
        others = [word for word, yes in zip(words, is_plain, strict=True) if not yes]
        if self._byte_level:
            plain_ids = self._encode(b"".join(plain))
        else:  # what is longer is one [UNK] however long it is
            plain_ids = self._encode(b" ".join(w[: MAX_WORD_CHARACTERS + 1] for w in plain))
        starts = np.flatnonzero(~self._is_continuation[plain_ids])
        if len(starts) != len(plain):
            raise RuntimeError("tokenizers no longer starts every word with a token that tells.")
        other_ids = self._encode(_LINE_END.encode().join(others))
        ends = np.append(np.flatnonzero(other_ids == self._separator), len(other_ids))[
            : len(others)
        ]

        first, counts = np.empty((2, len(words)), np.int64)
        chosen = np.array(is_plain, np.bool_)
        first[chosen], counts[chosen] = starts, np.diff(starts, append=len(plain_ids))
        first[~chosen] = len(plain_ids) + np.append(0, ends + 1)[: len(others)]
        counts[~chosen] = np.diff(ends, prepend=-1) - 1
        ids = np.concatenate([plain_ids, other_ids]).astype(self.dtype)
        return take_ranges(ids, first, counts), counts

    def _is_plain(self, word: bytes) -> bool:
        """Whether a word is of ASCII letters and digits, with a space between it and the next.

        The first token of such a word can be told from the rest, so that many of them are encoded
        as one text without separators between them, which is faster.
        """
        if self._byte_level:
            return word[:1] == b" " and word[1:].isalnum()
        return word.isalnum()

    def _encode(self, text: bytes) -> I64:
        (encoding,) = self._library.encode_batch_fast([text.decode()], add_special_tokens=False)
        return np.array(encoding.ids, np.int64)
