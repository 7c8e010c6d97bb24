"""Features to token streams, and the losses on them."""

import numpy as np
import pytest
import torch

from bert.model.heads import SpanLogits
from bert.tasks.features import IGNORED, Feature
from bert.train.feature_batches import longest_first, make_batch, micro_batches
from bert.train.task_outputs import count_targets, summed_loss
from tests.finetuning import make_features

CPU = torch.device("cpu")


def test_micro_batches_hold_the_longest_first_and_equal_lengths_together():
    features = make_features(50, "sentence")
    ordered = [features[i] for i in longest_first(features)]
    batches = list(micro_batches(ordered, 60, CPU, "sentence"))
    lengths = [length for batch in batches for length in batch.sequences.lengths]

    assert lengths == sorted((len(f.input_ids) for f in features), reverse=True)
    assert all(sum(batch.sequences.lengths) <= 60 for batch in batches)
    equal = [f for f in features if len(f.input_ids) == 12]
    assert [f for f in ordered if len(f.input_ids) == 12] == equal, "in the order given"


def test_no_features_are_no_micro_batches():
    assert list(micro_batches([], 60, CPU, "span")) == []


def test_a_stream_is_laid_out_by_hand():
    features = [
        Feature(np.array([2, 7, 3, 8, 3]), 3, (1,), 0),
        Feature(np.array([2, 9, 3]), 0, (0,), 1),
    ]

    batch = make_batch(features, CPU, "sentence")

    assert batch.input_ids.tolist() == [2, 7, 3, 8, 3, 2, 9, 3]
    assert batch.segment_ids.tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.sequences.lengths == (5, 3)
    assert batch.targets.tolist() == [[1], [0]]


def test_the_span_loss_is_that_of_each_sequence_alone():
    """Ragged scores, worked out sequence by sequence with a softmax over its own tokens."""
    batch = make_batch(make_features(5, "span"), CPU, "span")
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, len(batch.input_ids), generator=generator)
    lengths = list(batch.sequences.lengths)
    pairs = zip(start.split(lengths), end.split(lengths), batch.targets.tolist(), strict=True)
    expected = sum(
        -(a.log_softmax(0)[first] + b.log_softmax(0)[last]) / 2 for a, b, (first, last) in pairs
    )

    assert summed_loss("span", SpanLogits(start, end), batch).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_the_token_loss_passes_over_tokens_without_a_label():
    features = [
        Feature(np.array([2, 7, 8, 3]), 0, (IGNORED, 1, IGNORED, IGNORED), 0),
        Feature(np.array([2, 9, 3]), 0, (IGNORED, 0, IGNORED), 1),
    ]
    scores = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))

    loss = summed_loss("token", scores, make_batch(features, CPU, "token"))

    expected = -scores[1].log_softmax(0)[1] - scores[5].log_softmax(0)[0]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert count_targets("token", features) == 2
    assert count_targets("token", features[:0]) == 1, "a batch without labels divides by no zero"


def test_the_value_loss_is_the_squared_distance():
    features = [Feature(np.array([2, 7, 3]), 0, (value,), 0) for value in (1.5, 4.0)]
    scores = torch.tensor([[1.0], [6.0]])

    loss = summed_loss("value", scores, make_batch(features, CPU, "value"))

    assert loss.item() == 0.25 + 4.0
    assert count_targets("value", features) == 2
