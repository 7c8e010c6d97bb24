from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bert.text.contamination import (
    ContaminationConfig,
    build_reference,
    covered_words,
    find_matches,
    overlap,
    reference_counts,
)
from bert.text.ngrams import WordHashes, hash_texts
from bert.text.normalise import normal_words


def config(**changes) -> ContaminationConfig:
    reference = {"format": "squad", "raw": "squad", "pattern": "*"}
    values = {"ngram": 4, "shortest": 2, "drop_share": None, "references": {"squad": reference}}
    return ContaminationConfig(**(values | changes))


def hashed(*documents: str):
    return hash_texts([normal_words(d.encode()) for d in documents], WordHashes())


TASKS = {
    # 7 words: 4 four-grams. 2 words: looked for as a whole. 1 word: too short.
    "one": ["The quick brown fox jumps over dogs", "lazy dog", "Fox"],
    "two": ["brown fox jumps over", "nobody says this at all"],
}
DOCUMENTS = (
    "See: the quick, brown fox!",  # the first four-gram of one/0: 4 of 5 words
    "A quick brown fox jumps over it.",  # two four-grams, the second is also two/0: 5 of 7 words
    "The lazy dog and lazy cat",  # one/1 as a whole: 2 of 6 words
    "the fox",  # nothing
    "",
)


def test_overlap_by_hand(tmp_path: Path) -> None:
    reference = build_reference(tmp_path, TASKS, config())
    found = overlap(hashed(*DOCUMENTS), reference.folder, reference.lengths, 2)
    assert found.shares.tolist() == pytest.approx([4 / 5, 5 / 7, 2 / 6, 0, 0])
    assert found.touching.tolist() == [3, 1]
    flags = np.zeros(100, np.bool_)
    flags[found.found] = True
    assert reference_counts(reference, flags) == {
        "one": {
            "texts": 3,
            "short_texts": 1,
            "touched_texts": 2,
            "whole_texts": 1,  # "lazy dog"; of the first, the last four-gram is missing
            "ngrams": 5,
            "found_ngrams": 4,
        },
        "two": {
            "texts": 2,
            "short_texts": 0,
            "touched_texts": 1,
            "whole_texts": 1,
            "ngrams": 3,
            "found_ngrams": 1,
        },
    }


def test_an_ngram_does_not_reach_over_the_end_of_a_document(tmp_path: Path) -> None:
    reference = build_reference(tmp_path, {"one": ["a b c d"]}, config())
    found = overlap(hashed("x a b", "c d", "a b c d"), reference.folder, reference.lengths, 1)
    assert found.shares.tolist() == [0, 0, 1]


def test_tasks_without_a_text_that_is_long_enough_match_nothing(tmp_path: Path) -> None:
    reference = build_reference(tmp_path, {"one": ["a"], "two": []}, config())
    found = overlap(hashed("a b c d"), reference.folder, reference.lengths, 2)
    assert (found.shares.tolist(), found.touching.tolist()) == ([0], [0, 0])
    assert reference_counts(reference, np.zeros(0, np.bool_))["one"]["short_texts"] == 1


TEXT = st.lists(st.sampled_from("abc"), max_size=9)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(TEXT, max_size=4), TEXT, st.integers(2, 4), st.integers(1, 4))
def test_matches_are_those_of_the_definition(tmp_path, tasks, document, n, shortest) -> None:
    shortest = min(shortest, n)
    settings_ = config(ngram=n, shortest=shortest)
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    reference = build_reference(folder, {"one": [" ".join(t) for t in tasks]}, settings_)
    matches = find_matches(hashed(" ".join(document)), reference.folder, reference.lengths)
    expected = set()
    covered = [False] * len(document)
    for task in tasks:
        length = min(len(task), n)
        if length < shortest:
            continue
        grams = {tuple(task[i : i + length]) for i in range(len(task) - length + 1)}
        for i in range(len(document) - length + 1):
            if tuple(document[i : i + length]) in grams:
                expected.add((i, length))
                covered[i : i + length] = [True] * length
    assert {*zip(matches.places.tolist(), matches.lengths.tolist(), strict=True)} == expected
    assert covered_words(matches, len(document)).tolist() == covered


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shortest": 5}, "shortest is 5, more than ngram 4"),
        ({"references": {}}, "references has 0 entries; expected 1 to 64"),
        ({"references": {"mrpc": None}}, "references has 0 entries"),
        ({"drop_share": 0.0}, "greater than 0"),
        ({"drop_share": 1.5}, "less than or equal to 1"),
        ({"ngram": 1}, "greater than or equal to 2"),
    ],
)
def test_a_section_that_cannot_work_is_refused(changes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)
