import numpy as np
import pytest

from bert.config import check
from bert.data.batches import MicroBatch, make_stream
from bert.data.corpus import Corpus
from bert.data.masking import MaskingConfig
from bert.data.shard_writer import write_instances
from bert.data.shards import ShardInfo, gather, read_instances
from bert.data.vocab import Vocabulary
from bert.examine.compare import differences, fingerprint
from bert.examine.config import ExamineConfig
from bert.examine.findings import look, spread
from bert.examine.rules import broken_rules, statistics, target_shares
from bert.examine.samples import sample_texts
from tests.conftest import INFO, PHASE, VOCAB

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "paris", "is", "##land", "old", "the")
CONFIG = {
    "shards": 3,
    "instances": 60,
    "samples": 2,
    "max_duplicate_share": 0.3,
    "min_label_share": 0.2,
}


def vocabulary(words):
    return Vocabulary(
        kind="wordpiece",
        tokens=tuple(words),
        lowercase=True,
        sha256="ab" * 32,
        is_continuation=np.array([word.startswith("##") for word in words]),
        special_tokens=dict(zip(("pad", "unk", "cls", "sep", "mask"), words, strict=False)),
        pad_id=0,
        unk_id=1,
        cls_id=2,
        sep_id=3,
        mask_id=4,
    )


NUMBERS = vocabulary([*WORDS[:5], *(f"n{i}" for i in range(5, VOCAB))])


def section(**changes):
    return check(ExamineConfig, CONFIG | changes, where="a test")


def masking(**changes):
    return check(MaskingConfig, PHASE["masking"] | changes, where="a test")


def one_instance(original, shown, targets, b_start=None, label=0):
    """A stream of one instance: its tokens, what is shown, and the places of the targets."""
    length = len(original)
    segments = np.zeros(length, np.uint8)
    segments[length if b_start is None else b_start :] = 1
    return MicroBatch(
        np.array(shown, np.uint16),
        segments,
        np.arange(length, dtype=np.uint16),
        np.array([0, length], np.int32),
        np.array(targets, np.int32),
        np.array(original, np.uint16)[targets],
        np.array([label], np.uint8),
    )


#           [CLS] the paris is [SEP] old land [SEP]
ORIGINAL = [2, 9, 5, 6, 3, 8, 7, 3]
SHOWN = [2, 4, 5, 8, 3, 8, 7, 3]  # the -> [MASK], is -> old, old -> itself
PAIR = one_instance(ORIGINAL, SHOWN, [1, 3, 5], b_start=5, label=1)
WORDS_INFO = ShardInfo(8, "ab" * 32, len(WORDS), 4, (0, 1, 2, 3, 4))


def stream(corpus, config, instances=None):
    index = np.arange(instances or corpus.num_instances)
    return make_stream(corpus, 0 * index, index, config, seed=5, phase=1)


def test_counts_of_one_instance_are_those_counted_by_hand():
    found = look([PAIR], WORDS_INFO, vocabulary(WORDS), None)

    assert (found.instances, found.tokens, found.pairs, found.random_next) == (1, 8, 1, 1)
    assert (found.targets, found.shown_mask, found.shown_random, found.shown_same) == (3, 1, 1, 1)
    assert (found.misshapen, found.special_targets, found.duplicates) == (0, 0, 0)
    assert found.lengths.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    # Place p of 8 is in tenth 10 * p // 8: targets 1, 3, 5 in tenths 1, 3 and 6.
    assert found.targets_by_place.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 0, 0]
    assert target_shares(found)[1] == 1.0


def test_a_sample_shows_original_and_shown_token_in_place():
    (text,) = sample_texts(PAIR, vocabulary(WORDS))

    assert text == (
        "8 tokens, 3 predicted, label 1 (B does not)\n"
        "[CLS] {the>[MASK]} paris {is>old} [SEP] {old>old}land [SEP]"
    )


def test_sound_instances_break_no_rule(corpora):
    config = masking()
    found = look([stream(corpora[0], config)], INFO, NUMBERS, config)

    assert broken_rules(found, INFO, section(), config) == []
    shares = statistics(found, INFO)
    assert shares["mean_length"] == corpora[0].num_tokens / corpora[0].num_instances
    assert shares["unknown_share"] == 0


def test_counts_do_not_depend_on_how_the_instances_are_batched(corpora):
    config = masking()
    index = np.arange(corpora[0].num_instances)
    parts = [
        make_stream(corpora[0], 0 * part, part, config, seed=5, phase=1)
        for part in np.array_split(index, 7)
    ]

    whole = look([stream(corpora[0], config)], INFO, NUMBERS, config)
    for one, other in zip(whole, look(parts, INFO, NUMBERS, config), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("original", "targets", "words"),
    [
        ([9, 9, 5, 6, 3, 8, 7, 3], [1], "1 of 1 instances are not"),
        ([2, 9, 5, 6, 3, 8, 7, 7], [1], "1 of 1 instances are not"),
        ([2, 9, 5, 6, 6, 8, 7, 3], [1], "1 of 1 instances are not"),
        ([2, 9, 0, 6, 3, 8, 7, 3], [1], "1 of 1 instances are not"),
        ([2, 9, 4, 6, 3, 8, 7, 3], [1], "1 of 1 instances are not"),
        (ORIGINAL, [4], "1 of 1 predicted tokens are special"),
    ],
)
def test_a_broken_structure_is_named(original, targets, words):
    batch = one_instance(original, original, targets, b_start=5)
    found = look([batch], WORDS_INFO, vocabulary(WORDS), None)

    assert any(words in problem for problem in broken_rules(found, WORDS_INFO, section(), None))


def test_other_shares_than_the_configured_ones_are_named(corpora):
    drawn = masking(mask_token_share=0.5, random_token_share=0.5)
    found = look([stream(corpora[0], drawn)], INFO, NUMBERS, drawn)

    assert broken_rules(found, INFO, section(), drawn) == []
    problems = broken_rules(found, INFO, section(), masking())
    assert [problem.split("shown as ")[1].split(";")[0] for problem in problems] == [
        "[MASK]",
        "another token",
    ]


def test_too_few_predictions_are_named(corpora):
    found = look([stream(corpora[0], masking(mask_prob=0.1))], INFO, NUMBERS, masking())

    assert any("asks for" in p for p in broken_rules(found, INFO, section(), masking()))


def test_an_unusual_share_of_stored_targets_is_named(corpora):
    found = look([stream(corpora[0], masking(mask_prob=0.5))], INFO, NUMBERS, None)

    assert any("by the stored masks" in p for p in broken_rules(found, INFO, section(), None))


def test_duplicates_beyond_the_limit_are_named(corpora):
    config = masking()
    twice = [stream(corpora[0], config, 10), stream(corpora[0], config, 10)]
    found = look(twice, INFO, NUMBERS, config)

    assert found.duplicates >= 10
    assert any("more than once" in p for p in broken_rules(found, INFO, section(), config))


def test_the_same_tokens_with_other_masks_are_a_duplicate():
    other = one_instance(ORIGINAL, ORIGINAL, [2], b_start=5)

    assert look([PAIR, other], WORDS_INFO, vocabulary(WORDS), None).duplicates == 1


def test_labels_of_one_kind_are_named():
    pairs = [one_instance([2, i, 3, 5, 3], [2, i, 3, 5, 3], [1], b_start=3) for i in range(5, 9)]
    found = look(pairs, WORDS_INFO, vocabulary(WORDS), None)

    assert any("rarer sentence label" in p for p in broken_rules(found, INFO, section(), None))


def test_no_instance_is_an_error():
    with pytest.raises(ValueError, match="no instance to look at"):
        look([], INFO, NUMBERS, None)


@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 60])
@pytest.mark.parametrize("shards", [3, 9])
def test_the_spread_takes_as_many_instances_as_asked(corpora, wanted, shards):
    taken = list(spread(corpora[0], section(instances=wanted, shards=shards)))
    index = np.concatenate(taken)

    assert len(np.unique(index)) == len(index) == wanted
    assert len(taken) == min(wanted, 3)


def test_the_spread_stays_within_its_shards(corpora):
    (index,) = spread(corpora[0], section(instances=1000, shards=1))

    assert index.tolist() == list(range(30))


def rewritten(corpus, folder, change):
    """The corpus as one file, changed by `change`."""
    folder.mkdir()
    index = np.arange(corpus.num_instances)
    instances = change(gather(corpus.take(index), index))
    write_instances(folder / "all.h5", instances, corpus.info, seed=1, config={})
    return Corpus([folder / "all.h5"])


def with_other_token(instances):
    ids = instances.input_ids.copy()
    ids[1] = 5 + (ids[1] - 4) % (VOCAB - 5)
    return instances._replace(input_ids=ids)


def with_other_label(instances):
    labels = instances.next_sentence_labels.copy()
    labels[0] ^= 1
    return instances._replace(next_sentence_labels=labels)


def test_the_order_of_the_instances_makes_no_difference(corpora, tmp_path):
    other = rewritten(
        corpora[0], tmp_path / "a", lambda i: gather(i, np.arange(len(i.lengths))[::-1])
    )

    assert differences(corpora[0], other) == []
    assert fingerprint(corpora[0]) == fingerprint(other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_other_token, "tokens differ"),
        (with_other_label, "labels or segment borders differ"),
        (lambda i: gather(i, np.arange(len(i.lengths) - 1)), "instances: 90 and 89"),
        (lambda i: gather(i, np.r_[0, 0, 2 : len(i.lengths)]), "differ"),
    ],
)
def test_what_differs_is_named(corpora, tmp_path, change, words):
    found = differences(corpora[0], rewritten(corpora[0], tmp_path / "a", change))

    assert any(words in line or line.startswith("tokens: ") for line in found)


def test_another_vocabulary_is_named(corpora, tmp_path):
    file = corpora[0].files[0]
    info = INFO._replace(vocabulary_sha256="cd" * 32)
    write_instances(tmp_path / "b.h5", read_instances(file)[0], info, seed=1, config={})

    lines = differences(Corpus([file]), Corpus([tmp_path / "b.h5"]))

    assert len(lines) == 1
    assert lines[0].startswith("vocabulary_sha256")
