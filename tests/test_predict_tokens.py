"""Words of a text, and entities with the characters they cover."""

import numpy as np
import pytest

from bert.kernels.compiled import use_kernels
from bert.predict.found import Found
from bert.predict.heads import entity_kinds
from bert.predict.model import answer_all, load_model
from bert.predict.requests import TokenRequest
from bert.predict.tokens import token_answers, token_examples, words_of
from bert.tasks.conll import Place
from bert.tasks.features import Feature, FeatureSet
from tests.published import publish

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada wrote, in 1843.", ["Ada", "wrote", ",", "in", "1843", "."]),
        ("The U.S. won 2-1", ["The", "U.S.", "won", "2-1"]),
        ("Maria's Frankfurt-based firm", ["Maria", "'s", "Frankfurt-based", "firm"]),
        ("3,000.5 at 10:30, (yes)", ["3,000.5", "at", "10:30", ",", "(", "yes", ")"]),
        ("A\u0301vila \U0001f600", ["A\u0301vila", "\U0001f600"]),
        ("one,two", ["one", ",", "two"]),
    ],
)
def test_a_text_is_cut_where_files_of_the_task_are(text, words):
    found = words_of(TokenRequest(text=text))

    assert list(found.words) == words
    assert found.text == text


def test_given_words_stand_with_a_space_between():
    found = words_of(TokenRequest(words=["Ada", "B.", "wrote"]))

    assert found.text == "Ada B. wrote"
    assert found.spans == [(0, 3), (4, 6), (7, 12)]


def test_an_example_has_no_gold_entity():
    (example,) = token_examples([TokenRequest(text="Ada wrote")])

    assert (example.words, example.tags) == (("Ada", "wrote"), ("O", "O"))


def test_an_entity_covers_its_words_and_is_as_sure_as_its_least_sure_one():
    """Two windows of one sentence; the shares of the likeliest labels are set by hand."""
    shares = [0.9, 0.6, 0.5, 0.8]
    likeliest = [1, 2, 0, 3]
    logits = np.log(np.array([(1 - share) / 4 for share in shares]))[:, None].repeat(5, 1)
    for row, label, share in zip(logits, likeliest, shares, strict=True):
        row[label] = np.log(share)
    frame = np.zeros((1, 5), np.float32)
    outputs = [np.concatenate([frame, logits[part], frame]).astype(np.float32)
               for part in (slice(0, 3), slice(3, 4))]  # fmt: skip
    places = [
        Place(np.array([0, 1, 2], np.int32), np.array([1, 2, 3], np.int32)),
        Place(np.array([3], np.int32), np.array([1], np.int32)),
    ]
    features = [Feature(np.zeros(len(rows), np.int64), 0, (), 0) for rows in outputs]
    tags = [LABELS[label] for label in likeliest]
    found = Found(FeatureSet(features, places, {}), outputs, [tags], LABELS)

    (answer,) = token_answers([TokenRequest(text="Ada  Lovelace left Rome")], found)

    assert answer["tags"] == ["B-PER", "I-PER", "O", "B-LOC"]
    assert answer["entities"] == [
        {"text": "Ada  Lovelace", "label": "PER", "start": 0, "end": 13,
         "score": pytest.approx(0.6)},
        {"text": "Rome", "label": "LOC", "start": 19, "end": 23, "score": pytest.approx(0.8)},
    ]  # fmt: skip


def test_a_published_model_tags_each_word_of_texts_longer_than_it_reads(tmp_path):
    model = load_model(publish(tmp_path, "conll"), "fp32")
    text = "Ada Lovelace wrote the first in London. " * 4
    requests = [
        TokenRequest(text=text),
        TokenRequest(words=text.split()),
        TokenRequest(text="\u200b"),
    ]

    (chunk,) = answer_all(model, requests)
    use_kernels("torch")

    for answer in chunk.answers:
        assert len(answer["tags"]) == len(answer["words"]) > 0
        for one in answer["entities"]:
            assert answer["text"][one["start"] : one["end"]] == one["text"]
    assert chunk.lost == {"words_without_pieces": 1}
    task, config = model.published.task, model.published.task_config
    assert entity_kinds(task, config) == ("PER", "LOC")
