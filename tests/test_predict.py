"""Requests to answers: what a published model says is what its task would have predicted."""

from functools import cache

import pytest
import torch

from bert.kernels.compiled import use_kernels
from bert.predict import model as predicting
from bert.predict.model import answer_all, describe, load_model
from bert.predict.requests import PairRequest, SentenceRequest, SpanRequest
from bert.tasks.sentence import SentenceExample
from bert.tasks.squad_json import Answer, SquadExample
from bert.train.feature_outputs import predict
from tests.published import CONTEXT, TOKENS, publish

ASKED = [
    ("Who wrote the first program", CONTEXT),
    ("Who lived in London", "Bob \U0001f600 lived near A\u0301vila, \u201cin the\u201d London."),
    ("Who", "Ada"),
    ("When", CONTEXT * 3),
]
PAIRS = [("Ada wrote the first", "Bob"), ("London", "near London"), ("the", "who who who")]
SPANS = [SpanRequest(question=question, context=context) for question, context in ASKED]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Published folder of a task."""
    return cache(lambda name: publish(tmp_path_factory.mktemp(name), name))


@pytest.fixture(scope="module")
def load(folder_of):
    """The model of a task."""
    yield cache(lambda name, precision="fp32": load_model(folder_of(name), precision))
    use_kernels("torch")


def answers(model, requests):
    return [answer for chunk in answer_all(model, requests) for answer in chunk.answers]


def by_the_task(model, examples):
    """What fine-tuning predicts of these examples as its dev data."""
    task, config = model.published.task, model.published.task_config
    features = task.make_features(examples, model.published.tokenizer, config, training=False)
    outputs = predict(
        model.published.network, features.features, task.HEAD, model.compute, 16384, model.device
    )
    return list(task.decode(examples, features, outputs, config).values())


def test_an_answer_is_what_the_task_predicts_of_the_same_question_with_gold_answers(load):
    gold = Answer("a", 0, False)
    examples = [SquadExample(f"q{i}", q, c, (gold,)) for i, (q, c) in enumerate(ASKED)]

    found, expected = answers(load("squad"), SPANS), by_the_task(load("squad"), examples)

    assert [one["answer"] for one in found] == [one["text"] for one in expected]
    for one, task_one in zip(found, expected, strict=True):
        assert one["null_odds"] == task_one["null_odds"]
        for mine, theirs in zip(one["n_best"], task_one["n_best"], strict=True):
            assert (mine["text"], mine["probability"]) == (theirs["text"], theirs["probability"])


def test_every_answer_is_the_text_between_its_offsets(load):
    """Past signs outside the basic plane, accents of their own, and borders of windows."""
    for answer, (_, context) in zip(answers(load("squad"), SPANS), ASKED, strict=True):
        texts = [one for one in answer["n_best"] if one["text"]]
        assert texts
        for one in texts:
            assert context[one["start"] : one["end"]] == one["text"]
        assert sum(one["probability"] for one in answer["n_best"]) == pytest.approx(1)


def test_no_answer_has_no_offsets(load):
    nothing = next(
        one
        for answer in answers(load("squad"), SPANS)
        for one in answer["n_best"]
        if not one["text"]
    )

    assert nothing["start"] is nothing["end"] is None


@pytest.mark.parametrize("name", ["rte", "stsb"])
def test_a_pair_gets_what_the_task_predicts_of_it_whatever_its_gold_label(load, name):
    requests = [PairRequest(first=first, second=second) for first, second in PAIRS]
    examples = [SentenceExample(f"e{i}", *pair, label=1) for i, pair in enumerate(PAIRS)]

    assert answers(load(name), requests) == by_the_task(load(name), examples)


def test_mrpc_gives_names_of_labels_too(load):
    requests = [PairRequest(first=first, second=second) for first, second in PAIRS]
    examples = [SentenceExample(f"e{i}", *pair, label=1) for i, pair in enumerate(PAIRS)]

    expected = by_the_task(load("mrpc"), examples)

    for answer, task_one in zip(answers(load("mrpc"), requests), expected, strict=True):
        assert answer["label"] == ("not_equivalent", "equivalent")[task_one["label"]]
        assert answer["probabilities"]["equivalent"] == task_one["probability"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_one_sentence_is_framed_without_a_second_one(load, folder_of):
    """Beside transformers' own class on the same folder: [CLS] is 2, [SEP] is 3."""
    transformers = pytest.importorskip("transformers")
    texts = ["Ada wrote the first", "who"]

    found = answers(load("sst2"), [SentenceRequest(sentence=text) for text in texts])

    other = transformers.BertForSequenceClassification.from_pretrained(folder_of("sst2")).eval()
    for answer, text in zip(found, texts, strict=True):
        ids = [TOKENS.index(word) for word in text.lower().split()]
        with torch.no_grad():
            shares = other(torch.tensor([[2, *ids, 3]])).logits.softmax(-1)[0].tolist()
        named = dict(zip(other.config.id2label.values(), shares, strict=True))
        assert answer["probabilities"] == pytest.approx(named, abs=1e-5)


def test_chunks_change_no_answer(load, monkeypatch):
    model = load("squad")
    whole = answers(model, SPANS)

    monkeypatch.setattr(predicting, "CHUNK", 3)

    for one, other in zip(answers(model, SPANS), whole, strict=True):
        assert one["answer"] == other["answer"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_id_is_given_back_as_it_is(load):
    requests = [SpanRequest(id=id_, question="Who", context="Ada") for id_ in ("a", 7, None, "a")]

    assert [one.get("id", "none") for one in answers(load("squad"), requests)] == [
        "a", 7, "none", "a"
    ]  # fmt: skip


def test_what_a_model_does_not_read_is_counted(load):
    long = "who " * 30
    questions = [SpanRequest(question=long, context="Ada"), SPANS[2]]
    pairs = [PairRequest(first=long, second="Ada")]

    assert [chunk.lost for chunk in answer_all(load("squad"), questions)] == [{"cut_questions": 1}]
    assert [chunk.lost for chunk in answer_all(load("rte"), pairs)] == [{"cut_examples": 1}]
    assert [chunk.lost for chunk in answer_all(load("squad"), SPANS[2:3])] == [{}]


def test_bf16_is_close_to_fp32(load):
    requests = [PairRequest(first=first, second=second) for first, second in PAIRS]

    found = [answers(load("rte", precision), requests) for precision in ("fp32", "bf16")]

    for exact, rounded in zip(*found, strict=True):
        assert rounded["probabilities"] == pytest.approx(exact["probabilities"], abs=0.05)


def test_a_model_says_what_computes(load):
    said = describe(load("squad"))

    assert said["precision"] == "fp32"
    assert int(said["parameters"].replace(",", "")) > 1000
