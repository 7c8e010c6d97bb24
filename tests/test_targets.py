"""Whole-word and span masking against the published rules, written out token by token."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.data.masking import (
    MaskingConfig,
    _make_block,
    instance_keys,
    mask_tokens,
    num_predictions,
)
from bert.data.randomness import random_bits
from bert.data.shards import ShardError, ShardInfo
from bert.data.targets import choose_spans

CLS, SEP, MASK, VOCAB = 2, 3, 4, 1000
CONTINUES = np.arange(VOCAB) >= 700  # 300 of the 995 ordinary ids continue a word
INFO = ShardInfo(512, "0" * 64, VOCAB, MASK, (0, 1, 2, 3, 4), np.packbits(CONTINUES).tobytes())
BASE = {"mask_prob": 0.15, "max_predictions": 20, "mask_token_share": 0.8,
        "random_token_share": 0.1, "span": None}  # fmt: skip
UNITS = {
    "token": BASE | {"unit": "token"},
    "whole_word": BASE | {"unit": "whole_word"},
    "span": BASE | {"unit": "span", "span": {"geometric_p": 0.2, "max_words": 10}},
}


def config_of(unit, **changes):
    return check(MaskingConfig, UNITS[unit] | changes, where="a test")


def make_stream(lengths, seed=0):
    """Instances [CLS] a.. [SEP] b.. [SEP] of random pieces; some open B with a ## piece."""
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        ids = rng.integers(5, VOCAB, length)
        ids[0], ids[length // 2], ids[-1] = CLS, SEP, SEP
        pieces.append(ids)
    return np.concatenate(pieces).astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)])


def mask(lengths, unit, seed=0, **changes):
    ids, offsets = make_stream(lengths, seed)
    keys = instance_keys(1, 1, np.zeros(len(lengths), np.int64), np.arange(len(lengths)))
    return ids, offsets, keys, mask_tokens(ids, offsets, keys, config_of(unit, **changes), INFO)


def words_of(ids):
    """Places of the pieces of each word, and the words that stand after a special token."""
    words, after_special = [], []
    for place, token in enumerate(ids.tolist()):
        if token < 5:
            continue
        if CONTINUES[token] and words and words[-1][-1] == place - 1:
            words[-1].append(place)
        else:
            if place == 0 or ids[place - 1] < 5:
                after_special.append(len(words))
            words.append([place])
    return words, set(after_special)


def shuffled_words(ids, key):
    """Words in the order of the first 32 bits of their hash, as the rule says."""
    words, after_special = words_of(ids)
    first = np.array([word[0] for word in words], np.uint64)
    order = np.argsort(random_bits(key, first) >> np.uint64(32), kind="stable")
    return words, after_special, order.tolist()


def whole_words_by_hand(ids, key, wanted):
    words, _, order = shuffled_words(ids, key)
    chosen = []
    for number in order:
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(words[number]) <= wanted:
            chosen += words[number]
    return sorted(chosen)


def spans_by_hand(ids, key, wanted, p=0.2, most=10):
    words, after_special, order = shuffled_words(ids, key)
    chances = [p * (1 - p) ** n for n in range(most)]
    chosen, spans = set(), []
    for start in order:
        draw = int(random_bits(key ^ np.uint64(3), np.uint64([words[start][0]]))[0] >> 11) / 2**53
        reach, total = 1, chances[0]
        while reach < most and draw * sum(chances) >= total:
            total += chances[reach]
            reach += 1
        span = []
        for word in range(start, min(start + reach, len(words))):
            if word > start and word in after_special:
                break
            if words[word][0] in chosen or len(chosen) + len(words[word]) > wanted:
                break
            chosen |= set(words[word])
            span += words[word]
        spans += [span] if span else []
    return sorted(chosen), spans


@pytest.mark.parametrize("unit", ["whole_word", "span"])
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_choice_is_the_rule_written_out_word_by_word(unit, data):
    lengths = data.draw(st.lists(st.integers(3, 80), min_size=1, max_size=6))
    share = data.draw(st.sampled_from([0.02, 0.15, 0.5, 1.0]))
    most = data.draw(st.sampled_from([1, 3, 20, 100]))
    seed = data.draw(st.integers(0, 1000))
    ids, offsets, keys, masked = mask(lengths, unit, seed, mask_prob=share, max_predictions=most)

    wanted = num_predictions(
        np.array(lengths), config_of(unit, mask_prob=share, max_predictions=most)
    )
    expected = []
    for number, (low, high) in enumerate(pairwise(offsets)):
        one = (ids[low:high], keys[number], int(wanted[number]))
        places = whole_words_by_hand(*one) if unit == "whole_word" else spans_by_hand(*one)[0]
        expected += [int(low) + place for place in places]

    assert masked.masked_lm_positions.tolist() == expected


def google_whole_words(ids, wanted, rng):
    """google-research/bert, `create_masked_lm_predictions`, with a generator of its own."""
    words, _ = words_of(ids)
    rng.shuffle(words)
    chosen = []
    for word in words:
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(word) > wanted:
            continue
        chosen += word
    return chosen


def test_whole_words_have_the_statistics_of_the_published_code():
    """Targets in all, and the chance of each word length, over 3000 instances of 100 tokens."""
    ids, offsets, _, masked = mask([100] * 3000, "whole_word")
    rng = random.Random(7)
    counts = {"ours": np.zeros(12), "published": np.zeros(12)}
    targets = set(masked.masked_lm_positions.tolist())
    theirs = 0
    for low, high in pairwise(offsets):
        published = set(google_whole_words(ids[low:high], 15, rng))
        theirs += len(published)
        for word in words_of(ids[low:high])[0]:
            counts["ours"][min(len(word), 11)] += low + word[0] in targets
            counts["published"][min(len(word), 11)] += word[0] in published

    assert abs(len(targets) - theirs) < 0.003 * theirs
    for length in range(1, 6):
        ours, published = counts["ours"][length], counts["published"][length]
        assert abs(ours - published) < 5 * np.sqrt(ours + published), length


def test_span_lengths_are_geometric_clipped_at_ten_words():
    """Mean 3.8 words (Joshi et al. 2020); one span each, nothing in its way, 4,000 draws."""
    lengths = [403] * 4_000
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.full(offsets[-1], 5, np.uint16)  # one-piece words
    keys = instance_keys(3, 1, np.zeros(4_000, np.int64), np.arange(4_000))
    config = config_of("span", mask_prob=1e-9, max_predictions=10)
    first = _first_spans(ids, offsets, keys, config)

    chances = 0.2 * 0.8 ** np.arange(10)
    expected = 4_000 * chances / chances.sum()
    counts = np.bincount(first, minlength=11)[1:]

    assert abs(first.mean() - 3.8) < 5 * 2.6 / np.sqrt(4_000)
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


def _first_spans(ids, offsets, keys, config):
    """Words of the first span that each instance draws, by the hash that decides them."""
    block = _make_block(offsets, keys, np.ones(len(ids), bool))
    wanted = np.full(len(keys), 10)
    targets = choose_spans(block, wanted, np.zeros(len(ids), bool), 0.2, 10)
    starts = {}
    for position, head in zip(targets.positions.tolist(), targets.decided_by.tolist(), strict=True):
        starts.setdefault(position // 403, {}).setdefault(head, []).append(position)
    bits = random_bits(keys[block.instance], block.place.astype(np.uint64)) >> np.uint64(32)
    assert config.span.max_words == 10
    found = []
    for number, spans in starts.items():
        low = offsets[number]
        head = int(low + np.argmin(bits[low : offsets[number + 1]]))
        if head % 403 <= 393:  # room for ten words to the right
            found.append(len(spans[head]))
    return np.array(found)


@pytest.mark.parametrize("unit", list(UNITS))
def test_targets_never_exceed_the_number_of_predictions_and_are_never_special(unit):
    lengths = [5, 17, 40, 128, 3, 200, 9] * 20
    ids, offsets, _, masked = mask(lengths, unit)

    per_instance = np.histogram(masked.masked_lm_positions, offsets)[0]
    wanted = num_predictions(np.array(lengths), config_of(unit))

    assert (per_instance <= wanted).all()
    assert per_instance.sum() > 0.97 * wanted[np.array(lengths) > 3].sum()
    assert not np.isin(ids[masked.masked_lm_positions], INFO.special_ids).any()


@pytest.mark.parametrize("unit", ["whole_word", "span"])
def test_words_are_masked_whole(unit):
    ids, offsets, _, masked = mask([100] * 50, unit)
    targets = set(masked.masked_lm_positions.tolist())

    for low, high in pairwise(offsets):
        for word in words_of(ids[low:high])[0]:
            assert len({int(low) + place in targets for place in word}) == 1


@pytest.mark.parametrize("unit", list(UNITS))
def test_masks_do_not_depend_on_the_company_of_an_instance(unit):
    lengths = [30, 128, 20, 77] * 300  # more than one block
    ids, offsets, keys, together = mask(lengths, unit)
    config = config_of(unit)

    for number in (0, 1, 600, 1199):
        low, high = offsets[number : number + 2]
        alone = mask_tokens(
            ids[low:high], np.array([0, high - low]), keys[number : number + 1], config, INFO
        )
        assert np.array_equal(alone.input_ids, together.input_ids[low:high])


def test_each_piece_of_a_word_is_replaced_by_its_own_draw():
    """80 % of the pieces show [MASK]; of the two-piece words 64 % show two, 32 % one."""
    ids, offsets, _, masked = mask([100] * 3000, "whole_word")
    hidden = set(masked.masked_lm_positions[masked.input_ids[masked.masked_lm_positions] == MASK])
    targets = set(masked.masked_lm_positions.tolist())
    counts = np.zeros(3)
    for low, high in pairwise(offsets):
        for word in words_of(ids[low:high])[0]:
            if len(word) == 2 and low + word[0] in targets:
                counts[sum(low + place in hidden for place in word)] += 1

    shares = counts / counts.sum()
    assert abs(shares - [0.04, 0.32, 0.64]).max() < 5 * 0.5 / np.sqrt(counts.sum())


def test_a_span_is_replaced_as_a_whole_and_spans_are_80_10_10():
    ids, offsets, keys, masked = mask([100] * 1500, "span", random_token_share=0.1)
    kinds = []
    for number, (low, high) in enumerate(pairwise(offsets)):
        for span in spans_by_hand(ids[low:high], keys[number], 15)[1]:
            shown, original = masked.input_ids[low:high][span], ids[low:high][span]
            kind = "mask" if (shown == MASK).all() else "random"
            kind = "kept" if (shown == original).all() else kind
            assert kind != "random" or not (shown == MASK).any()
            kinds.append(kind)

    shares = [np.mean([kind == name for kind in kinds]) for name in ("mask", "random", "kept")]
    assert np.abs(np.subtract(shares, [0.8, 0.1, 0.1])).max() < 5 * 0.4 / np.sqrt(len(kinds))


@pytest.mark.parametrize("unit", ["whole_word", "span"])
def test_shards_that_do_not_know_their_words_are_refused(unit):
    ids, offsets = make_stream([20])
    bare = INFO._replace(continuation_ids=b"")

    with pytest.raises(ShardError, match="do not say which tokens continue a word"):
        mask_tokens(ids, offsets, np.zeros(1, np.uint64), config_of(unit), bare)


@pytest.mark.parametrize(("unit", "span"), [("span", None), ("token", UNITS["span"]["span"])])
def test_span_lengths_belong_to_the_unit_span(unit, span):
    with pytest.raises(ConfigError, match=f"unit is {unit} and span is"):
        config_of(unit, span=span)
