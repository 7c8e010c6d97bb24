import pytest
import torch

from bert.config import check
from bert.convert.tensor_bundle import BundleError
from bert.convert.tensorflow import google_name, read_weights
from bert.manifest import ROOT
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from tests.conftest import MODEL
from tests.tensorflow_checkpoint import HEADS, INNER, LAYERS, PLACES, TOKENS, WIDTH, shapes
from tests.tensorflow_checkpoint import variables as google_variables

INDEX = ROOT / "tests/data/tensorflow/model.ckpt-28252.index"
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": PLACES,
}


def network(**changes):
    return BertForPretraining(check(ModelConfig, MODEL | SHAPE | changes, where="test"), TOKENS)


def test_our_names_are_those_of_google_one_to_one():
    found = {google_name(name)[0] for name in network().state_dict()}

    assert found == set(shapes())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            "bert.encoder.layer.11.attention.self.query.weight",
            ("bert/encoder/layer_11/attention/self/query/kernel", True),
        ),
        ("bert.encoder.layer.0.output.dense.bias",
         ("bert/encoder/layer_0/output/dense/bias", False)),
        ("bert.embeddings.LayerNorm.weight", ("bert/embeddings/LayerNorm/gamma", False)),
        ("bert.embeddings.word_embeddings.weight", ("bert/embeddings/word_embeddings", False)),
        ("cls.seq_relationship.weight", ("cls/seq_relationship/output_weights", False)),
        ("cls.predictions.transform.LayerNorm.bias",
         ("cls/predictions/transform/LayerNorm/beta", False)),
    ],
)  # fmt: skip
def test_names_and_which_are_transposed(ours, theirs):
    assert google_name(ours) == theirs


def test_weights_of_a_tensorflow_checkpoint_are_read_without_its_moments():
    found = read_weights(INDEX, network().state_dict())

    expected = google_variables()
    assert found.keys() == network().state_dict().keys()
    for name, tensor in found.items():
        variable, transposed = google_name(name)
        values = torch.from_numpy(expected[variable])
        assert torch.equal(tensor, values.T if transposed else values), name
    assert found["bert.encoder.layer.0.intermediate.dense.weight"].shape == (INNER, WIDTH)


def test_checkpoints_of_other_models_are_refused():
    with pytest.raises(BundleError, match=r"in 16 variables: bert/encoder/layer_2/.* is missing"):
        read_weights(INDEX, network(num_hidden_layers=3).state_dict())
    with pytest.raises(BundleError, match=r"bert/encoder/layer_1/.* is unknown"):
        read_weights(INDEX, network(num_hidden_layers=1).state_dict())
    with pytest.raises(BundleError, match="bert/LayerNorm/gamma is missing"):
        read_weights(INDEX, network(norm="pre").state_dict())
