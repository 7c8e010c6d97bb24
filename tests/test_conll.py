"""Each word is learned and tagged once, by its first word piece, however long its sentence is."""

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bert.config import ConfigError, check
from bert.tasks import conll
from bert.tasks.config import TaskSection, task_module
from bert.tasks.conll import ConllConfig, Place
from bert.tasks.conll_file import ConllError, ConllExample
from bert.tasks.features import IGNORED, FeatureError, FeatureSet

VALUES: dict[str, Any] = {
    "format": "conll",
    "word_column": 0,
    "tag_column": 3,
    "scheme": "iob1",
    "types": ["PER", "LOC"],
    "max_seq_length": 128,
}
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def make_config(**changes: Any) -> ConllConfig:
    return ConllConfig(**(VALUES | changes))


def make_tokenizer() -> Tokenizer:
    """Letters a to e are words; aa to ee two pieces, aaa three, and so on."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcde", *(f"##{c}" for c in "abcde")]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def example(text: str, tags: str = "", id_: str = "1") -> ConllExample:
    words = tuple(text.split(" "))
    return ConllExample(id_, words, tuple(tags.split()) or ("O",) * len(words))


def features(*examples: ConllExample, training: bool = True, **changes: Any) -> FeatureSet[Place]:
    return conll.make_features(
        examples, make_tokenizer(), make_config(**changes), training=training
    )


def tokens(ids: NDArray[np.int64]) -> str:
    return " ".join(str(make_tokenizer().id_to_token(i)) for i in ids)


def test_the_task_is_known_by_its_format() -> None:
    found = check(TaskSection, {"task": VALUES}, where="test").task
    assert type(found) is ConllConfig
    assert task_module("conll") is conll
    assert (conll.HEAD, conll.HEADLINE, conll.labels(found)) == ("token", "f1", LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tag_column": 0}, "word_column and tag_column are both 0"),
        ({"types": ["PER", "PER"]}, "name each type once"),
        ({"types": ["PER", " "]}, "none empty"),
        ({"types": []}, "at least 1 item"),
        ({"scheme": "bioes"}, "'bio' or 'iob1'"),
        ({"max_seq_length": 3}, "greater than or equal to 4"),
    ],
)
def test_a_wrong_section_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(TaskSection, {"task": VALUES | change}, where="test")


def test_the_first_piece_of_a_word_carries_its_tag() -> None:
    made = features(example("a bcd ee", "B-PER I-PER O"))
    (feature,) = made.features
    assert tokens(feature.input_ids) == "[CLS] a b ##c ##d e ##e [SEP]"
    assert feature.input_ids.dtype == np.int64
    assert feature.targets == (IGNORED, 1, 2, IGNORED, IGNORED, 0, IGNORED, IGNORED)
    assert (feature.segment_b_start, feature.example) == (0, 0)
    assert made.places[0].words.tolist() == [0, 1, 2]
    assert made.places[0].tokens.tolist() == [1, 2, 5]
    assert made.counts == {"features": 1, "cut_sentences": 0, "words_without_pieces": 0}


def test_features_that_are_not_for_training_have_no_targets() -> None:
    made = features(example("a b"), training=False)
    assert made.features[0].targets == ()
    assert made.places[0].tokens.tolist() == [1, 2]


def test_a_word_that_the_tokenizer_removes_is_the_unknown_token() -> None:
    made = features(example("a \x00 \u00a0 b", "O B-PER O B-LOC"))
    assert tokens(made.features[0].input_ids) == "[CLS] a [UNK] [UNK] b [SEP]"
    assert made.features[0].targets == (IGNORED, 0, 1, 0, 3, IGNORED)
    assert made.counts["words_without_pieces"] == 2


def test_a_vocabulary_without_an_unknown_token_is_refused() -> None:
    bare = Tokenizer(models.WordPiece({"[CLS]": 0, "[SEP]": 1}, unk_token="[CLS]"))
    with pytest.raises(FeatureError, match=r"no \[UNK\] and no <unk>"):
        conll.make_features([example("a")], bare, make_config(), training=True)


def test_a_long_sentence_is_cut_into_windows_that_overlap_by_half() -> None:
    # Room for 4 pieces, windows from 0, 2 and 4. A piece at a window's border has no context.
    made = features(example("a b c d e a b", "O B-PER O O O B-LOC O"), max_seq_length=6)
    assert [tokens(f.input_ids) for f in made.features] == [
        "[CLS] a b c d [SEP]",
        "[CLS] c d e a [SEP]",
        "[CLS] e a b [SEP]",
    ]
    assert [p.words.tolist() for p in made.places] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [p.tokens.tolist() for p in made.places] == [[1, 2, 3], [2, 3], [2, 3]]
    assert [f.targets for f in made.features] == [
        (IGNORED, 0, 1, 0, IGNORED, IGNORED),
        (IGNORED, IGNORED, 0, 0, IGNORED, IGNORED),
        (IGNORED, IGNORED, 3, 0, IGNORED),
    ]
    assert made.counts == {"features": 3, "cut_sentences": 1, "words_without_pieces": 0}


def random_sentence(rng: np.random.Generator, id_: str) -> ConllExample:
    words = [
        "".join(rng.choice(list("abcde"), rng.integers(1, 7))) for _ in range(rng.integers(1, 30))
    ]
    return example(" ".join(words), " ".join(rng.choice(LABELS, len(words))), id_)


@pytest.mark.parametrize("length", [4, 5, 6, 9, 16, 128])
def test_every_word_is_in_one_window_whatever_the_length(length: int) -> None:
    rng = np.random.default_rng(length)
    examples = [random_sentence(rng, str(i)) for i in range(30)]
    made = features(*examples, max_seq_length=length)
    assert max(len(f.input_ids) for f in made.features) <= length
    for index, one in enumerate(examples):
        own = [i for i, f in enumerate(made.features) if f.example == index]
        words = [w for i in own for w in made.places[i].words.tolist()]
        assert sorted(words) == list(range(len(one.words)))
        for i in own:
            feature, place = made.features[i], made.places[i]
            learned = [(t, v) for t, v in enumerate(feature.targets) if v != IGNORED]
            tags = [LABELS.index(one.tags[w]) for w in place.words]
            assert learned == list(zip(place.tokens.tolist(), tags, strict=True))
            starts = [one.words[w][0] for w in place.words]
            assert tokens(feature.input_ids[place.tokens]).split() == starts


def perfect_outputs(made: FeatureSet[Place]) -> list[NDArray[np.float32]]:
    """Logits that say what the targets say, and B-LOC where there is none."""
    return [
        np.eye(5, dtype=np.float32)[[3 if t == IGNORED else int(t) for t in f.targets]]
        for f in made.features
    ]


@pytest.mark.parametrize("length", [4, 7, 128])
def test_outputs_that_say_the_targets_decode_to_the_tags(length: int) -> None:
    rng = np.random.default_rng(length)
    examples = [random_sentence(rng, str(i)) for i in range(30)]
    made = features(*examples, max_seq_length=length)
    predictions = conll.decode(examples, made, perfect_outputs(made), make_config())
    assert predictions == {e.id: list(e.tags) for e in examples}
    assert list(predictions) == [e.id for e in examples]
    scores = conll.metrics(examples, predictions)
    assert set(scores.values()) == {100.0}


def test_outputs_that_do_not_belong_to_the_features_are_refused() -> None:
    examples = [example("a b", id_="7")]
    made = features(*examples)
    good = np.zeros((4, 5), np.float32)
    for outputs, message in [
        ([good, good], "2 outputs for 1 features"),
        ([good[:3]], r"sentence 7 have the shape \(3, 5\); expected \(4, 5\)"),
        ([good[:, :3]], r"shape \(4, 3\)"),
        ([good + np.nan], "logits of sentence 7 are not all finite"),
    ]:
        with pytest.raises(FeatureError, match=message):
            conll.decode(examples, made, outputs, make_config())
    longer = [example("a b c", id_="7")]
    with pytest.raises(FeatureError, match="Word 2 of sentence 7 is in no feature"):
        conll.decode(longer, made, [good], make_config())


def test_the_official_file_is_what_conlleval_reads() -> None:
    examples = [example("a b", "B-PER O", "1"), example("New York", "B-LOC I-LOC", "2")]
    examples.append(ConllExample("3", ("New York",), ("B-LOC",)))
    predictions = {"1": ["B-PER", "I-PER"], "2": ["O", "I-LOC"], "3": ["B-LOC"]}
    assert conll.official_files(examples, predictions, make_config()) == {
        "conlleval.txt": "a B-PER B-PER\nb O I-PER\n\nNew B-LOC O\nYork I-LOC I-LOC\n\n"
        "New_York B-LOC B-LOC\n"
    }


def test_a_missing_prediction_counts_as_wrong_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gold = [example("a b", "B-PER O", "1"), example("c", "B-LOC", "2")]
    with caplog.at_level(logging.WARNING):
        scores = conll.metrics(gold, {"1": ["B-PER", "O"]})
    assert "1 of 2 sentences have no prediction" in caplog.text
    assert (scores["recall"], scores["precision"]) == (50.0, 100.0)
    assert scores["accuracy"] == pytest.approx(200 / 3)
    assert (scores["f1_LOC"], scores["f1_PER"]) == (0.0, 100.0)


def test_a_prediction_of_another_length_is_refused() -> None:
    with pytest.raises(ConllError, match="Sentence 1 has 2 words, its prediction 1 tags"):
        conll.metrics([example("a b")], {"1": ["O"]})


def test_the_baseline_finds_nothing_and_is_right_about_most_words() -> None:
    gold = [example("a b c", "B-PER O O", "1"), example("d", "O", "2")]
    assert conll.baseline(gold) == {
        "f1": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "accuracy": 75.0,
        "f1_PER": 0.0,
    }
