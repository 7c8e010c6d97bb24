"""Features of one sentence and of pairs."""

import pytest
from tokenizers.processors import BertProcessing

from bert.tasks.features import FeatureError
from bert.tasks.sentence import SentenceConfig, SentenceExample, make_features
from tests.test_mrpc import make_tokenizer


def features(*texts: tuple[str, str | None], length: int = 128):
    examples = [SentenceExample(str(i), *pair, 0) for i, pair in enumerate(texts)]
    config = SentenceConfig(max_seq_length=length)
    return make_features(examples, make_tokenizer(), config, training=True)


def tokens(feature) -> str:
    return " ".join(make_tokenizer().id_to_token(i) for i in feature.input_ids)


def test_one_sentence_has_no_second_segment() -> None:
    (made,) = features(("a b c", None)).features
    assert tokens(made) == "[CLS] a b c [SEP]"
    assert (made.segment_b_start, made.targets, made.example) == (0, (0,), 0)


def test_one_sentence_is_cut_to_the_length_with_two_special_tokens() -> None:
    made = features(("a b c d e f", None), ("a b c d", None), length=6)
    assert [tokens(f) for f in made.features] == ["[CLS] a b c d [SEP]"] * 2
    assert made.counts == {"features": 2, "cut_examples": 1}


def test_a_pair_may_have_a_sentence_without_tokens() -> None:
    # Characters that the tokenizer removes leave nothing; the separators stay.
    (made,) = features(("a", "")).features
    assert tokens(made) == "[CLS] a [SEP] [SEP]"
    assert made.segment_b_start == 3


@pytest.mark.parametrize("length", [5, 6, 7, 9, 128])
def test_pairs_of_unlike_lengths_are_cut_as_the_tokenizers_library_does(length: int) -> None:
    # Of two that come to be equally long it cuts the first, Google's script the second.
    pairs = [("a b c d e f", "g"), ("a", "b c d e f g")]
    tokenizer = make_tokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(length, strategy="longest_first")
    for pair, made in zip(pairs, features(*pairs, length=length).features, strict=True):
        assert made.input_ids.tolist() == tokenizer.encode(*pair).ids


def test_a_tokenizer_that_cuts_by_itself_is_refused() -> None:
    tokenizer = make_tokenizer()
    tokenizer.enable_truncation(4)
    with pytest.raises(FeatureError, match="cuts or pads"):
        make_features([], tokenizer, SentenceConfig(max_seq_length=8), training=False)
