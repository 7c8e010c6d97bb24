import numpy as np
import pytest

from bert.data.batches import (
    Reading,
    cut_lengths,
    cut_stream,
    find_samples,
    read_all,
    read_steps,
    segments_and_positions,
)
from bert.data.corpus import Corpus
from bert.data.masking import MaskingConfig
from bert.data.prefetch import prefetch
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardError, ShardInfo

INFO = ShardInfo(64, "ab" * 32, 60_000, 4, (0, 1, 2, 3, 4))
MASKING = MaskingConfig(
    unit="token",
    span=None,
    mask_prob=0.15,
    max_predictions=20,
    mask_token_share=0.8,
    random_token_share=0.1,
)


def write_corpus(folder, counts, seed=0):
    """Shards whose instance n starts with [CLS] and the token 100 + n."""
    rng = np.random.default_rng(seed)
    files, number = [], 100
    for place, count in enumerate(counts):
        pieces, starts = [], []
        for n in range(number, number + count):
            ids = rng.integers(5, 90, rng.integers(12, 64))
            middle = int(rng.integers(3, len(ids) - 2))
            ids[0], ids[1], ids[middle - 1], ids[-1] = 2, n, 3, 3
            pieces.append(ids)
            starts.append(middle)
        instances = Instances(
            np.concatenate([np.zeros(0, int), *pieces]).astype(np.uint16),
            np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.uint64),
            np.array(starts, np.uint16),
            np.zeros(count, np.uint8),
        )
        path = folder / f"shard-{place}.h5"
        write_instances(path, instances, INFO, seed=1, config={})
        files.append(path)
        number += count
    return Corpus(files)


def reading(**changes):
    values = {
        "seed": 3,
        "phase": 1,
        "batch": 8,
        "masking": MASKING,
        "micro_batch_tokens": 100,
        "rank": 0,
        "world": 1,
    }
    return Reading(**values | changes)


def instances_of(micro):
    """Each instance of a micro-batch as (its number, its masked tokens), the number unmasked."""
    restored = micro.input_ids.copy()
    restored[micro.masked_lm_positions] = micro.masked_lm_ids
    starts = micro.cu_seqlens[:-1]
    return [
        (int(restored[start + 1]), tuple(micro.input_ids[start:end].tolist()))
        for start, end in zip(starts, micro.cu_seqlens[1:], strict=True)
    ]


def samples(corpus, steps, setting):
    return [
        [sample for micro in batch.micro_batches for sample in instances_of(micro)]
        for batch in read_steps(corpus, steps, setting)
    ]


def test_an_epoch_meets_every_instance_once(tmp_path):
    corpus = write_corpus(tmp_path, [13, 0, 20, 7])

    numbers = [n for step in samples(corpus, range(1, 6), reading()) for n, _ in step]

    assert sorted(numbers) == list(range(100, 140))


def test_the_next_epoch_has_another_order(tmp_path):
    corpus = write_corpus(tmp_path, [20, 20])

    steps = samples(corpus, range(1, 11), reading())
    first = [n for step in steps[:5] for n, _ in step]
    second = [n for step in steps[5:] for n, _ in step]

    assert sorted(first) == sorted(second)
    assert first != second


def test_a_batch_may_be_larger_than_the_corpus(tmp_path):
    corpus = write_corpus(tmp_path, [3, 2])

    epoch, index = find_samples(corpus, np.arange(12), seed=1, phase=1)

    assert epoch.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert sorted(index[:5].tolist()) == sorted(index[5:10].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("world", [2, 3])
def test_all_ranks_together_see_what_one_rank_sees(tmp_path, world):
    corpus = write_corpus(tmp_path, [30, 30])

    alone = samples(corpus, range(1, 9), reading())
    ranks = [samples(corpus, range(1, 9), reading(rank=rank, world=world)) for rank in range(world)]

    for step in range(8):
        together = [sample for rank in ranks for sample in rank[step]]
        assert sorted(together) == sorted(alone[step])


@pytest.mark.parametrize("tokens", [1, 50, 10_000])
def test_micro_batches_do_not_change_the_samples(tmp_path, tokens):
    corpus = write_corpus(tmp_path, [30])

    expected = samples(corpus, range(1, 4), reading())

    assert samples(corpus, range(1, 4), reading(micro_batch_tokens=tokens)) == expected


def test_reading_from_a_later_step_gives_that_step(tmp_path):
    corpus = write_corpus(tmp_path, [30, 11])

    whole = samples(corpus, range(1, 12), reading())

    assert samples(corpus, range(7, 12), reading()) == whole[6:]


def test_another_seed_or_phase_gives_another_order(tmp_path):
    corpus = write_corpus(tmp_path, [40])
    orders = {
        tuple(n for n, _ in samples(corpus, range(1, 2), setting)[0])
        for setting in (reading(), reading(seed=4), reading(phase=2))
    }

    assert len(orders) == 3


def test_cut_lengths_fills_up_to_the_limit_and_keeps_long_ones_alone():
    assert cut_lengths(np.array([3, 4, 2, 9, 1]), 7) == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_cutting_a_stream_keeps_targets_at_their_tokens(tmp_path):
    corpus = write_corpus(tmp_path, [12])
    (whole,) = next(iter(read_steps(corpus, range(1, 2), reading(micro_batch_tokens=9999))))[1]

    pieces = cut_stream(whole, 70)

    assert len(pieces) > 2
    assert np.array_equal(np.concatenate([p.input_ids for p in pieces]), whole.input_ids)
    shift = np.cumsum([0] + [len(p.input_ids) for p in pieces[:-1]])
    positions = [p.masked_lm_positions + s for p, s in zip(pieces, shift, strict=True)]
    assert np.array_equal(np.concatenate(positions), whole.masked_lm_positions)
    assert all(p.cu_seqlens[0] == 0 and p.cu_seqlens[-1] == len(p.input_ids) for p in pieces)


def test_segments_and_positions_by_hand():
    """Two instances of 5 and 3 tokens; B starts at 2 in the first, the second has no B."""
    segment_ids, position_ids = segments_and_positions(
        np.array([0, 5, 8]), np.array([2, 0], np.uint16)
    )

    assert segment_ids.tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert position_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_read_all_gives_the_first_instances_once_over_all_ranks(tmp_path):
    corpus = write_corpus(tmp_path, [10, 15])
    seen = [
        number
        for rank in range(2)
        for micro in read_all(
            corpus, micro_batch_tokens=90, masking=MASKING, seed=1, limit=21, rank=rank, world=2
        )
        for number, _ in instances_of(micro)
    ]

    assert sorted(seen) == list(range(100, 121))


def test_prefetching_changes_nothing(tmp_path):
    corpus = write_corpus(tmp_path, [30])
    steps = list(read_steps(corpus, range(1, 9), reading()))

    ahead = list(prefetch(read_steps(corpus, range(1, 9), reading())))

    assert [batch.step for batch in ahead] == [batch.step for batch in steps]
    for a, b in zip(ahead, steps, strict=True):
        assert np.array_equal(a.micro_batches[0].input_ids, b.micro_batches[0].input_ids)


def test_an_error_while_prefetching_reaches_the_reader():
    def broken():
        raise ShardError("a damaged shard")
        yield

    with pytest.raises(ShardError, match="a damaged shard"):
        next(prefetch(broken()))


def test_a_corpus_without_instances_is_refused(tmp_path):
    with pytest.raises(ValueError, match="hold no instance"):
        write_corpus(tmp_path, [0, 0])
