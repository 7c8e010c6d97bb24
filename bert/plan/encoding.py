"""How fast this machine makes instances of text, by a trial of some seconds on one core.

The text is made up: words of random letters whose frequencies follow Zipf's law, as those of
English do. The words table of the tokeniser is warm, as it is in all but the first part of a job.
"""

import string
import tempfile
import time
from pathlib import Path

import numpy as np

from bert.data.encode import Part, encode_part
from bert.data.instance_config import InstanceConfig
from bert.data.tokenise import Tokeniser
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.data.wordpiece import CONTINUATION, SPECIAL_TOKENS

_WORDS, _KNOWN_WORDS = 30_000, 8_000
_SENTENCES, _SENTENCE_WORDS, _DOCUMENT_SENTENCES = 30_000, 22, 20


def encode_speed(config: InstanceConfig) -> float:
    """Bytes of text a second through one pass: read, tokenise, make instances, write."""
    rng = np.random.default_rng(0)
    words = _words(rng)
    once = config.model_copy(update={"dupe_factor": 1, "max_instances": None})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        letters = string.ascii_lowercase + "."
        pieces = [*letters, *(CONTINUATION + letter for letter in letters)]
        tokens = dict.fromkeys([*SPECIAL_TOKENS, *pieces, *words[:_KNOWN_WORDS]])
        write_vocabulary(folder, list(tokens), lowercase=True)
        text = folder / "part-00000-of-00001"
        text.write_text(_text(words, rng), "utf-8")
        vocabulary, tokeniser = load_vocabulary(folder), Tokeniser(folder)
        part = Part(text, 1, 0, None)
        encode_part(part, folder / "cold.h5", tokeniser, vocabulary, once)
        start = time.perf_counter()
        encode_part(part, folder / "warm.h5", tokeniser, vocabulary, once)
        return text.stat().st_size / (time.perf_counter() - start)


def _words(rng: np.random.Generator) -> list[str]:
    lengths = 2 + rng.poisson(4.5, _WORDS)
    letters = rng.choice(list(string.ascii_lowercase), lengths.sum())
    return ["".join(word) for word in np.split(letters, np.cumsum(lengths)[:-1])]


def _text(words: list[str], rng: np.random.Generator) -> str:
    """Sentences of Zipf-distributed words, one a line, in documents."""
    chances = 1 / np.arange(1, _WORDS + 1)
    drawn = rng.choice(words, (_SENTENCES, _SENTENCE_WORDS), p=chances / chances.sum())
    lines = [" ".join(sentence) + "." for sentence in drawn.tolist()]
    lines[_DOCUMENT_SENTENCES::_DOCUMENT_SENTENCES] = [
        "\n" + line for line in lines[_DOCUMENT_SENTENCES::_DOCUMENT_SENTENCES]
    ]
    return "\n".join(lines) + "\n"
