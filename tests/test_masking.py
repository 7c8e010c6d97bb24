import numpy as np
import pytest

from bert.config import ConfigError, check
from bert.data.masking import MaskingConfig, instance_keys, mask_tokens, num_predictions
from bert.data.shards import ShardInfo

INFO = ShardInfo(128, "0" * 64, 1000, 4, (0, 1, 2, 3, 4))
CLS, SEP, MASK = 2, 3, 4
PUBLISHED = {
    "unit": "token",
    "span": None,
    "mask_prob": 0.15,
    "max_predictions": 20,
    "mask_token_share": 0.8,
    "random_token_share": 0.1,
}


def make_stream(lengths, seed=0):
    """Instances [CLS] a.. [SEP] b.. [SEP] of random ordinary tokens."""
    rng = np.random.default_rng(seed)
    pieces = []
    for length in lengths:
        ids = rng.integers(5, 1000, length)
        ids[0], ids[length // 2], ids[-1] = CLS, SEP, SEP
        pieces.append(ids)
    return np.concatenate(pieces), np.concatenate([[0], np.cumsum(lengths)])


def mask(lengths, config=None, seed=0, epoch=0, first=0):
    input_ids, offsets = make_stream(lengths, seed)
    index = np.arange(first, first + len(lengths))
    keys = instance_keys(1, 1, np.full(len(lengths), epoch), index)
    masking = MaskingConfig(**PUBLISHED | (config or {}))
    return input_ids, offsets, mask_tokens(input_ids, offsets, keys, masking, INFO)


def test_num_predictions_is_the_published_rule():
    """round(0.15 n), at least 1, at most 20: 4 -> 0.6 -> 1; 10 -> 1.5 -> 2 and 30 -> 4.5 -> 4
    (half to even, as Python's round does); 128 -> 19.2 -> 19; 512 -> 76.8 -> 20."""
    lengths = np.array([4, 10, 30, 128, 512])

    counts = num_predictions(lengths, MaskingConfig(**PUBLISHED))

    assert counts.tolist() == [1, 2, 4, 19, 20]


def test_every_instance_has_exactly_its_number_of_targets():
    lengths = [5, 17, 40, 128, 128, 9]
    _, offsets, masked = mask(lengths)

    per_instance = np.histogram(masked.masked_lm_positions, offsets)[0]

    expected = num_predictions(np.array(lengths), MaskingConfig(**PUBLISHED))
    assert per_instance.tolist() == expected.tolist()


def test_masking_never_touches_special_tokens():
    input_ids, _, masked = mask([64] * 200, {"mask_prob": 1.0, "max_predictions": 100})

    special = np.isin(input_ids, INFO.special_ids)

    assert not special[masked.masked_lm_positions].any()
    assert np.array_equal(masked.input_ids[special], input_ids[special])


def test_targets_are_the_original_tokens_and_the_rest_is_untouched():
    input_ids, _, masked = mask([100] * 50)

    assert np.array_equal(masked.masked_lm_ids, input_ids[masked.masked_lm_positions])
    untouched = np.setdiff1d(np.arange(len(input_ids)), masked.masked_lm_positions)
    assert np.array_equal(masked.input_ids[untouched], input_ids[untouched])


def test_replacements_are_80_10_10():
    """38,000 targets; five binomial deviations are 0.0103 at p = 0.8 and 0.0077 at p = 0.1."""
    input_ids, _, masked = mask([128] * 2000)
    shown = masked.input_ids[masked.masked_lm_positions]

    masks = np.mean(shown == MASK)
    kept = np.mean(shown == masked.masked_lm_ids)

    assert len(shown) == 38_000
    assert abs(masks - 0.8) < 0.0103
    assert abs(kept - 0.1 - 0.1 / 995) < 0.0077
    assert len(input_ids) == len(masked.input_ids)


def test_random_tokens_are_never_special_and_reach_both_ends_of_the_vocabulary():
    _, _, masked = mask([128] * 2000, {"mask_token_share": 0.0, "random_token_share": 1.0})
    shown = masked.input_ids[masked.masked_lm_positions]

    assert not np.isin(shown, INFO.special_ids).any()
    assert (shown.min(), shown.max()) == (5, 999)


def test_positions_are_drawn_uniformly():
    """125 places of 127, 19 targets, 4000 instances: mean 608 a place, deviation 22.7."""
    _, offsets, masked = mask([127] * 4000)
    place = masked.masked_lm_positions % 127

    counts = np.bincount(place, minlength=127)
    ordinary = np.delete(counts, [0, 63, 126])

    assert offsets[-1] == 127 * 4000
    assert ordinary.min() > 608 - 5.5 * 22.7
    assert ordinary.max() < 608 + 5.5 * 22.7


def test_masks_do_not_depend_on_the_company_of_an_instance():
    input_ids, offsets = make_stream([30, 50, 20])
    keys = instance_keys(1, 1, np.zeros(3, np.int64), np.array([7, 8, 9]))
    config = MaskingConfig(**PUBLISHED)

    together = mask_tokens(input_ids, offsets, keys, config, INFO)
    alone = mask_tokens(input_ids[30:80], np.array([0, 50]), keys[1:2], config, INFO)

    assert np.array_equal(together.input_ids[30:80], alone.input_ids)


def test_each_epoch_masks_other_tokens():
    first, second = mask([128] * 4, epoch=0)[2], mask([128] * 4, epoch=1)[2]

    assert not np.array_equal(first.masked_lm_positions, second.masked_lm_positions)


def test_an_instance_of_special_tokens_only_has_no_target():
    input_ids = np.array([CLS, SEP, SEP])
    keys = instance_keys(1, 1, np.zeros(1, np.int64), np.zeros(1, np.int64))

    masked = mask_tokens(input_ids, np.array([0, 3]), keys, MaskingConfig(**PUBLISHED), INFO)

    assert len(masked.masked_lm_ids) == 0


def test_shares_above_one_are_refused():
    with pytest.raises(ConfigError, match=r"mask_token_share \+ random_token_share is 1.1"):
        check(MaskingConfig, PUBLISHED | {"random_token_share": 0.3}, where="a test")
