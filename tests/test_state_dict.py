import pytest
import torch

from bert.convert.found import WeightsError
from bert.convert.state_dict import our_name, rename

TABLE = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("module.bert.pooler.dense_act.weight", "bert.pooler.dense.weight"),
        ("bert.encoder.layer.3.intermediate.dense_act.bias",
         "bert.encoder.layer.3.intermediate.dense.bias"),
        ("cls.predictions.transform.dense_act.weight", "cls.predictions.transform.dense.weight"),
        ("embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
        ("encoder.layer.0.output.LayerNorm.beta", "bert.encoder.layer.0.output.LayerNorm.bias"),
        ("pooler.dense.bias", "bert.pooler.dense.bias"),
        ("classifier.weight", "classifier.weight"),
        ("model.layers.0.gamma", "model.layers.0.gamma"),
    ],
)  # fmt: skip
def test_names(theirs, ours):
    assert our_name(theirs) == ours


def test_copies_and_counters_are_skipped_by_name():
    table, bias = torch.rand(5, 2), torch.rand(5)
    stored = {
        TABLE: table,
        "cls.predictions.bias": bias,
        "cls.predictions.decoder.weight": table.clone(),
        "cls.predictions.decoder.bias": bias.clone(),
        "embeddings.position_ids": torch.arange(4)[None],
    }

    tensors, origins, skipped = rename(stored, "a file")

    assert tensors.keys() == origins.keys() == {TABLE, "cls.predictions.bias"}
    assert skipped == {
        "cls.predictions.decoder.weight": f"stored copy of {TABLE}, and equal to it",
        "cls.predictions.decoder.bias": "stored copy of cls.predictions.bias, and equal to it",
        "embeddings.position_ids": "buffer that holds no weights",
    }


def test_a_tied_tensor_stored_under_its_other_name_alone_is_taken():
    bias = torch.rand(5)

    tensors, origins, skipped = rename({"cls.predictions.decoder.bias": bias}, "a file")

    assert torch.equal(tensors["cls.predictions.bias"], bias)
    assert origins == {"cls.predictions.bias": "cls.predictions.decoder.bias"}
    assert not skipped


def test_an_untied_matrix_and_two_tensors_of_one_name_are_refused():
    stored = {TABLE: torch.zeros(2, 2), "cls.predictions.decoder.weight": torch.ones(2, 2)}
    with pytest.raises(WeightsError, match=f"decoder.weight differs from {TABLE}"):
        rename(stored, "a file")
    twice = {"module.pooler.dense.bias": torch.zeros(1), "bert.pooler.dense.bias": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"module.pooler.dense.bias and bert.pooler.dense.bias"):
        rename(twice, "a file")
