"""Entities and their scores are those of conlleval; both tag schemes say the same."""

from itertools import product

import numpy as np
import pytest

from bert.tasks.conll_tags import Entity, TagError, entities, entity_scores, next_tag, tag_names

TAGS = tag_names(["LOC", "PER"])


def bio(found: list[Entity], length: int) -> list[str]:
    tags = ["O"] * length
    for start, stop, name in found:
        tags[start:stop] = [f"B-{name}", *[f"I-{name}"] * (stop - start - 1)]
    return tags


def iob1(found: list[Entity], length: int) -> list[str]:
    tags = ["O"] * length
    for start, stop, name in found:
        tags[start:stop] = [f"I-{name}"] * (stop - start)
        if start and tags[start - 1][2:] == name:
            tags[start] = f"B-{name}"
    return tags


def read(tags: list[str], scheme: str) -> list[str]:
    made: list[str] = []
    for tag in tags:
        made.append(next_tag(tag, made[-1] if made else "O", scheme))  # type: ignore[arg-type]
    return made


def test_the_outputs_are_o_and_two_tags_a_type() -> None:
    assert TAGS == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("I-PER I-PER O I-PER", [(0, 2, "PER"), (3, 4, "PER")]),
        ("I-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
    ],
)
def test_i_without_b_begins_an_entity(tags: str, expected: list[Entity]) -> None:
    assert entities(tags.split()) == expected


def test_every_sequence_of_tags_reads_as_the_bio_of_its_entities() -> None:
    for length in range(5):
        for tags in product(TAGS, repeat=length):
            found = entities(tags)
            assert entities(bio(found, length)) == found
            assert sum(e.stop - e.start for e in found) == length - tags.count("O")


def test_both_schemes_give_the_same_tags() -> None:
    for length in range(5):
        for tags in product(TAGS, repeat=length):
            found = entities(tags)
            expected = bio(found, length)
            assert read(expected, "bio") == expected
            assert read(iob1(found, length), "iob1") == expected


def test_each_scheme_refuses_exactly_what_it_never_writes() -> None:
    for length in range(5):
        sequences = list(product(TAGS, repeat=length))
        found = [entities(tags) for tags in sequences]
        for scheme, write in (("bio", bio), ("iob1", iob1)):
            written = {tuple(write(e, length)) for e in found}
            for tags in sequences:
                try:
                    read(list(tags), scheme)
                    assert tags in written
                except TagError:
                    assert tags not in written


def test_a_tag_of_the_other_scheme_is_refused_with_the_remedy() -> None:
    with pytest.raises(TagError, match=r"I-PER follows B-LOC; .* B-PER.* `scheme` to iob1"):
        next_tag("I-PER", "B-LOC", "bio")
    with pytest.raises(TagError, match=r"B-PER follows O; .* `scheme` to bio"):
        next_tag("B-PER", "O", "iob1")


GOLD = """O B-PER I-PER O B-LOC
I-LOC I-LOC I-ORG B-ORG O
B-PER I-LOC I-LOC O I-PER B-PER I-PER
O O
B-ORG I-ORG I-ORG B-LOC"""
FOUND = """O B-PER I-PER I-PER B-LOC
B-LOC I-LOC I-ORG I-ORG O
I-PER I-LOC B-LOC O I-PER B-PER I-PER
I-PER O
B-ORG I-ORG I-ORG I-LOC"""


def sentences(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_scores_are_those_of_conlleval_and_seqeval() -> None:
    """Written down from seqeval 1.2.2; conlleval 0.2 gives the same four.

    precision_score, recall_score, f1_score, accuracy_score and classification_report(gold, found).
    """
    scores = entity_scores(zip(sentences(GOLD), sentences(FOUND), strict=True))
    assert scores == pytest.approx(
        {
            "precision": 58.33333333333334,
            "recall": 63.63636363636364,
            "f1": 60.86956521739131,
            "accuracy": 69.56521739130435,
            "f1_LOC": 66.66666666666665,
            "f1_ORG": 40.0,
            "f1_PER": 66.66666666666665,
        },
        rel=1e-12,
    )


def test_scores_of_nothing_are_0() -> None:
    empty = {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert entity_scores([(["O"], ["O"])]) == empty | {"accuracy": 100.0}
    assert entity_scores([(["B-X"], ["O"])]) == empty | {"accuracy": 0.0, "f1_X": 0.0}
    assert entity_scores([(["O"], ["I-X"])]) == empty | {"accuracy": 0.0}


def test_a_sentence_without_a_prediction_has_nothing_right() -> None:
    scores = entity_scores([(["B-X", "O"], ["B-X", "O"]), (["B-X", "O"], None)])
    assert scores["recall"] == scores["accuracy"] == 50.0
    assert scores["precision"] == 100.0


def test_scores_know_no_order_and_perfect_tags_score_100() -> None:
    rng = np.random.default_rng(0)
    gold = [[TAGS[i] for i in rng.integers(5, size=rng.integers(1, 9))] for _ in range(40)]
    found = [[TAGS[i] for i in rng.integers(5, size=len(tags))] for tags in gold]
    pairs = list(zip(gold, found, strict=True))
    scores = entity_scores(pairs)
    swapped = entity_scores([(b, a) for a, b in pairs])
    assert entity_scores(pairs[::-1]) == scores
    assert swapped["precision"] == scores["recall"]
    assert (swapped["f1"], swapped["accuracy"]) == (scores["f1"], scores["accuracy"])
    assert 0 < scores["f1"] < 100
    assert set(entity_scores((tags, tags) for tags in gold).values()) == {100.0}
