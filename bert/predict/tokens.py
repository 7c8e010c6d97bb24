"""Texts whose words are tagged: the entities, with the characters that they cover.

A text is cut into words where files of the task are cut: punctuation and a final 's are words of
their own; what hyphens join, numbers with their points and commas, and abbreviations such as U.S.
are one.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.predict.found import Found
from bert.predict.requests import TokenRequest
from bert.tasks.conll_file import ConllExample
from bert.tasks.conll_tags import OUTSIDE, entities

# Marks that combine with the letter before them are no part of \w.
_LETTER = r"[\w\u0300-\u036f]"
_WORD = re.compile(
    rf"(?:{_LETTER}\.){{2,}}|{_LETTER}+(?:(?:[-\u2010-\u2013]|(?<=\d)[.,:/](?=\d)){_LETTER}+)*"
    r"|['\u2019]s\b|[^\w\s]"
)


class Words(NamedTuple):
    """A text and the words in it: first character and the one after the last of each."""

    text: str
    spans: list[tuple[int, int]]

    @property
    def words(self) -> tuple[str, ...]:
        """The words themselves."""
        return tuple(self.text[start:end] for start, end in self.spans)


def words_of(request: TokenRequest) -> Words:
    """The words of a request: as given, a space between them, or cut out of its text."""
    if request.words is not None:
        ends = accumulate(len(word) + 1 for word in request.words)
        spans = [
            (end - 1 - len(word), end - 1) for word, end in zip(request.words, ends, strict=True)
        ]
        return Words(" ".join(request.words), spans)
    text = request.text or ""
    return Words(text, [match.span() for match in _WORD.finditer(text)])


def token_examples(requests: Sequence[TokenRequest]) -> list[ConllExample]:
    """The requests as the task knows sentences: every gold tag O, under their numbers."""
    found = [words_of(request).words for request in requests]
    return [
        ConllExample(str(number), words, (OUTSIDE,) * len(words))
        for number, words in enumerate(found)
    ]


def token_answers(requests: Sequence[TokenRequest], found: Found) -> list[dict[str, Any]]:
    """The entities of each request.

    Returns:
        text, words, tags (one a word) and entities: text, label, start and end (characters in the
        text, end exclusive) and score, the probability of its least sure tag.
    """
    shares = [np.zeros(len(tags)) for tags in found.predictions]
    features, places = found.feature_set.features, found.feature_set.places
    for feature, place, logits in zip(features, places, found.outputs, strict=True):
        shares[feature.example][place.words] = _highest_share(logits[place.tokens])
    return [
        _answer(words_of(request), tags, share)
        for request, tags, share in zip(requests, found.predictions, shares, strict=True)
    ]


def _answer(words: Words, tags: Sequence[str], shares: NDArray[np.float64]) -> dict[str, Any]:
    named = []
    for first, stop, label in entities(tags):
        start, end = words.spans[first][0], words.spans[stop - 1][1]
        score = float(shares[first:stop].min())
        place = {"start": start, "end": end, "score": score}
        named.append({"text": words.text[start:end], "label": label} | place)
    return {
        "text": words.text,
        "words": list(words.words),
        "tags": list(tags),
        "entities": named,
    }


def _highest_share(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probability of the likeliest label, [W], of logits [W, labels]."""
    above = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    highest: NDArray[np.float64] = 1 / np.exp(above).sum(axis=1)
    return highest
