"""How well a vocabulary fits the text of each source.

What is read is the extracted text of the sources, because the text parts no longer tell a source.
That text is from before filter and split, so it holds documents that are held out; nothing is
learned from it. Long sources are read in pieces at equal distances, as dumps are often sorted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bert.data.tokenise import Tokeniser
from bert.data.vocab import Vocabulary

_PIECE_BYTES = 1 << 18

Coverage = dict[str, int | float]


def coverage(
    sources: Mapping[str, Path], tokeniser: Tokeniser, vocabulary: Vocabulary, megabytes: int
) -> dict[str, Coverage]:
    """Counts and shares for each source.

    Args:
        sources: Name to documents in the text format.
        tokeniser: Of `vocabulary`.
        vocabulary: The vocabulary.
        megabytes: Text read of each source, MiB; of a smaller one all.

    Returns:
        For each source: `bytes`, `words` (parted by white space) and `tokens` of the sample;
        `unknown_share` and `continuation_share` of the tokens; `tokens_per_word`;
        `tokens_per_byte`.
    """
    return {
        name: _measure(path, tokeniser, vocabulary, megabytes << 20)
        for name, path in sources.items()
    }


def _measure(path: Path, tokeniser: Tokeniser, vocabulary: Vocabulary, most: int) -> Coverage:
    size = words = 0
    occurrences = np.zeros(vocabulary.size, np.int64)
    for text in sample(path, most):
        ids, _ = tokeniser.text(text)
        occurrences += np.bincount(ids, minlength=vocabulary.size)
        size += len(text)
        words += len(text.decode("utf-8").split())
    tokens = int(occurrences.sum())
    continuing = int(occurrences[vocabulary.is_continuation].sum())
    return {
        "bytes": size,
        "words": words,
        "tokens": tokens,
        "unknown_share": int(occurrences[vocabulary.unk_id]) / max(tokens, 1),
        "continuation_share": continuing / max(tokens, 1),
        "tokens_per_word": tokens / max(words, 1),
        "tokens_per_byte": tokens / max(size, 1),
    }


def sample(path: Path, most: int) -> Iterator[bytes]:
    """Whole lines of a file, about `most` bytes in pieces at equal distances; no line twice."""
    size = path.stat().st_size
    pieces = max(min(-(-size // _PIECE_BYTES), most // _PIECE_BYTES), 1)
    with path.open("rb") as stream:
        for piece in range(pieces):
            start = piece * size // pieces
            end = min(start + _PIECE_BYTES, (piece + 1) * size // pieces)
            stream.seek(max(start - 1, 0))
            if start:
                stream.readline()  # to the end of a line that starts in the piece before
            first = stream.tell()
            if first < end:
                text = stream.read(end - first)
                yield text if text.endswith(b"\n") else text + stream.readline()
