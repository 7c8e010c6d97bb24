import json
import shutil

import numpy as np
import pytest
import torch

from bert.convert.found import WeightsError
from bert.convert.tensor_bundle import BundleError
from bert.convert.tensorflow import our_name, read_tensorflow
from bert.manifest import ROOT
from tests.foreign_weights import network
from tests.tensor_bundle_files import write_bundle
from tests.tensorflow_checkpoint import INNER, WIDTH
from tests.tensorflow_checkpoint import shapes as google_shapes
from tests.tensorflow_checkpoint import variables as google_variables

INDEX = ROOT / "tests/data/tensorflow/model.ckpt-28252.index"


def test_our_names_are_those_of_google_one_to_one():
    found = [our_name(name)[0] for name in google_shapes()]

    assert sorted(found) == sorted(network().state_dict())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "bert/encoder/layer_11/attention/self/query/kernel",
            ("bert.encoder.layer.11.attention.self.query.weight", True),
        ),
        ("bert/encoder/layer_0/output/dense/bias",
         ("bert.encoder.layer.0.output.dense.bias", False)),
        ("bert/embeddings/LayerNorm/gamma", ("bert.embeddings.LayerNorm.weight", False)),
        ("bert/embeddings/word_embeddings", ("bert.embeddings.word_embeddings.weight", False)),
        ("cls/seq_relationship/output_weights", ("cls.seq_relationship.weight", False)),
        ("cls/predictions/transform/LayerNorm/beta",
         ("cls.predictions.transform.LayerNorm.bias", False)),
        ("output_weights", ("output_weights", False)),
    ],
)  # fmt: skip
def test_names_and_which_are_transposed(theirs, ours):
    assert our_name(theirs) == ours


def assert_google_variables(found):
    assert found.tensors.keys() == network().state_dict().keys()
    expected = google_variables()
    for variable in google_shapes():
        name, transposed = our_name(variable)
        values = torch.from_numpy(expected[variable])
        assert torch.equal(found.tensors[name], values.T if transposed else values), name
        assert found.origins[name] == variable


def test_a_checkpoint_of_tensorflow_is_read_and_its_moments_are_skipped_by_name():
    found = read_tensorflow(INDEX, None)

    assert_google_variables(found)
    assert found.skipped == {
        "bert/pooler/dense/kernel/adam_m": "moment of the optimizer",
        "bert/pooler/dense/kernel/adam_v": "moment of the optimizer",
        "cls/predictions/output_bias/adam_m": "moment of the optimizer",
        "cls/predictions/output_bias/adam_v": "moment of the optimizer",
        "global_step": "counter, kept as imported_step",
    }
    assert found.facts == {"imported_step": 28252}
    assert found.said == {"layer_norm_eps": 1e-12, "norm": "post", "positions": "learned"}
    assert found.tensors["bert.encoder.layer.0.intermediate.dense.weight"].shape == (INNER, WIDTH)


@pytest.mark.parametrize(("shards", "compression"), [(1, 0), (4, 0), (3, 1)])
def test_one_written_by_hand_imports_identically(tmp_path, shards, compression):
    moments = {
        f"bert/pooler/dense/bias/{slot}": np.zeros(WIDTH, np.float32)
        for slot in ("lamb_m", "lamb_v", "Adam", "Adam_1")
    }
    variables = google_variables() | moments | {"beta1_power": np.float32(0.5)}
    written = write_bundle(tmp_path / "a.b", variables, shards=shards, compression=compression)

    found = read_tensorflow(written[0], None)

    assert_google_variables(found)
    assert found.files == tuple(written)
    assert len(found.skipped) == 10
    assert found.skipped["bert/pooler/dense/bias/lamb_v"] == "moment of the optimizer"


def test_the_configuration_beside_it_says_the_shape_but_not_which_gelu(tmp_path):
    config = tmp_path / "bert_config.json"
    config.write_text(json.dumps({"num_attention_heads": 4, "hidden_act": "gelu", "vocab_size": 9}))
    found = read_tensorflow(INDEX, config)
    assert found.said["num_attention_heads"] == 4
    assert "hidden_act" not in found.said
    assert found.vocab_size == 9
    config.write_text('{"hidden_act": "relu"}')
    assert read_tensorflow(INDEX, config).said["hidden_act"] == "relu"
    config.write_text("[1]")
    with pytest.raises(WeightsError, match=r"holds \[1\]; expected an object"):
        read_tensorflow(INDEX, config)
    config.write_text("{")
    with pytest.raises(WeightsError, match=r"bert_config.json is not JSON"):
        read_tensorflow(INDEX, config)


def test_a_corrupted_checkpoint_is_refused_by_its_checksum(tmp_path):
    for file in INDEX.parent.iterdir():
        shutil.copy(file, tmp_path)
    (data,) = tmp_path.glob("*.data-*")
    content = bytearray(data.read_bytes())
    content[3000] ^= 4
    data.write_bytes(content)

    with pytest.raises(BundleError, match="bytes do not have their checksum"):
        read_tensorflow(tmp_path / INDEX.name, None)
