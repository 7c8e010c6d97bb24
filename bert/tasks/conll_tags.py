"""Tags of words and the entities they mark: reading of tag schemes, and the scores of CoNLL.

A tag is O, or B- or I- with the type of an entity. Two schemes are in use. In BIO (also IOB2) B-
opens every entity. In IOB1, which CoNLL-2003 was given out in, I- does, and B- stands only where
an entity follows another of its type at once. Inside this project tags are BIO.

Source: Ramshaw and Marcus 1995 (IOB1); Tjong Kim Sang and De Meulder 2003 (the shared task, whose
script conlleval the scores are equal to).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Scheme = Literal["bio", "iob1"]
OUTSIDE = "O"


class TagError(ValueError):
    """A tag that the scheme does not allow where it stands."""


class Entity(NamedTuple):
    """Words start to stop - 1 of a sentence are one entity."""

    start: int
    stop: int
    type: str


def tag_names(types: Sequence[str]) -> tuple[str, ...]:
    """O, then B- and I- of each type."""
    return (OUTSIDE, *(f"{mark}-{name}" for name in types for mark in "BI"))


def next_tag(tag: str, before: str, scheme: Scheme) -> str:
    """The BIO tag of a word, checked against the scheme.

    Args:
        tag: As it stands in the file; O, or B- or I- and a type.
        before: BIO tag of the word before in the sentence; O for the first.
        scheme: Of the file.

    Raises:
        TagError: The scheme does not allow the tag there.
    """
    follows = before != OUTSIDE and before[2:] == tag[2:]
    if tag == OUTSIDE or (tag[0] == "I" and follows):
        return tag
    if scheme == "bio" and tag[0] == "I":
        raise TagError(
            f"the tag {tag} follows {before}; in scheme bio an entity begins with B-{tag[2:]}. "
            "Correct the tag, or set `scheme` to iob1 if I- begins entities in these files."
        )
    if scheme == "iob1" and tag[0] == "B" and not follows:
        raise TagError(
            f"the tag {tag} follows {before}; in scheme iob1 B- stands only where an entity "
            "follows another of its type. Correct the tag, or set `scheme` to bio if B- begins "
            "every entity in these files."
        )
    return f"B-{tag[2:]}"


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of any sequence of tags, allowed by a scheme or not, as conlleval sees them.

    B- begins one, and so does I- after O or after another type.
    """
    found: list[Entity] = []
    start = 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        before = tags[place - 1] if place else OUTSIDE
        goes_on = tag[0] == "I" and before != OUTSIDE and before[2:] == tag[2:]
        if before != OUTSIDE and not goes_on:
            found.append(Entity(start, place, before[2:]))
        if not goes_on:
            start = place
    return found


def entity_scores(pairs: Iterable[tuple[Sequence[str], Sequence[str] | None]]) -> dict[str, float]:
    """Scores of conlleval in percent.

    Args:
        pairs: Gold and predicted tags of each sentence, as many; None = no prediction: no entity
            is found, and no word is right.

    Returns:
        f1, precision and recall of entities, which are right if border and type are; accuracy of
        words; f1_<type> of each type of the gold tags. A share of nothing is 0.
    """
    gold_count: Counter[str] = Counter()
    found_count: Counter[str] = Counter()
    right_count: Counter[str] = Counter()
    words = right_words = 0
    for gold, predicted in pairs:
        expected, found = set(entities(gold)), set(entities(predicted or []))
        for count, chosen in (
            (gold_count, expected), (found_count, found), (right_count, expected & found),
        ):  # fmt: skip
            count.update(entity.type for entity in chosen)
        words += len(gold)
        right_words += sum(map(str.__eq__, gold, predicted or []))
    gold_total, found_total, right = (
        count.total() for count in (gold_count, found_count, right_count)
    )
    return {
        "f1": _percent(2 * right, gold_total + found_total),
        "precision": _percent(right, found_total),
        "recall": _percent(right, gold_total),
        "accuracy": _percent(right_words, words),
    } | {
        f"f1_{name}": _percent(2 * right_count[name], gold_count[name] + found_count[name])
        for name in sorted(gold_count)
    }


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
