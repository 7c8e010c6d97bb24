"""Memory and distribution of K-FAC, by hand."""

import pytest

from bert.config import check
from bert.model.config import ModelConfig
from bert.optim.kfac import Kfac
from bert.optim.kfac_shapes import (
    assign_owners,
    delivery_groups,
    encoder_linears,
    holder_groups,
    predict_bytes,
)
from tests.conftest import MODEL
from tests.test_kfac import ALONE, config, random_net, step

LARGE = MODEL | {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
LARGE_FACTORS = 24 * (4 * (1025**2 + 1024**2) + (1025**2 + 4096**2) + (4097**2 + 1024**2))


def test_bert_large_takes_4_gb_of_factors():
    model = check(ModelConfig, LARGE, where="a test")

    found = predict_bytes(model, config(method="inverse"), 1)

    assert found.factors == found.sums == found.inverses == 4 * LARGE_FACTORS
    assert found.factors == pytest.approx(4.23e9, rel=0.01)
    assert found.checkpoint == 2 * found.factors


def test_fewer_holders_take_less_memory():
    model = check(ModelConfig, LARGE, where="a test")
    comm, hybrid, mem = (
        predict_bytes(model, config(distribution=name), 8).inverses
        for name in ("comm_opt", "hybrid_opt", "mem_opt")
    )

    assert hybrid == pytest.approx(comm / 2, rel=0.02)
    assert mem == pytest.approx(comm / 8, rel=0.02)


@pytest.mark.parametrize("method", ["eigen", "inverse"])
def test_the_prediction_is_what_is_saved(method):
    shape = {"hidden_size": 3, "num_attention_heads": 1, "intermediate_size": 5}
    model = check(ModelConfig, MODEL | shape | {"num_hidden_layers": 1}, where="a test")
    settings = config(method=method)
    saved = 0
    for inputs, outputs in encoder_linears(model):
        net = random_net(3, inputs, outputs, 2)
        kfac = Kfac(net, settings, ALONE)
        step(kfac, net, 1)
        state = kfac.tensors()
        saved += sum(4 * t.numel() for name, t in state.items() if name.endswith(":bert.encoder.1"))

    assert predict_bytes(model, settings, 1).checkpoint == saved


def test_layers_go_costliest_first_to_the_least_busy_rank():
    assert assign_owners({0: 1, 1: 5, 2: 4, 3: 3}, 2) == {1: 0, 2: 1, 3: 1, 0: 0}
    assert assign_owners({0: 7}, 3) == {0: 0}


@pytest.mark.parametrize("distribution", ["comm_opt", "hybrid_opt", "mem_opt"])
@pytest.mark.parametrize("world", range(1, 10))
def test_every_rank_finds_every_inverse_in_its_delivery_group(distribution, world):
    holders = holder_groups(distribution, world)
    deliveries = delivery_groups(distribution, world)

    assert sorted(rank for group in holders for rank in group) == list(range(world))
    assert sorted(rank for group in deliveries for rank in group) == list(range(world))
    assert all(set(one) & set(two) for one in holders for two in deliveries)
    if distribution == "hybrid_opt" and world > 1:
        assert [len(group) for group in holders] == [(world + 1) // 2, world // 2]
