import math

import pytest
import torch

from bert.ranks.ranks import Ranks
from bert.train.config import EvaluateConfig
from bert.train.evaluate import evaluate
from bert.train.pretrain import build
from tests.conftest import PHASE


def run(setup, model, **changes):
    settings = {"seed": 1, "limit": None, "ranks": setup.ranks} | changes
    return evaluate(
        model,
        setup.held_out,
        setup.config.masking,
        runtime=setup.runtime,
        device=setup.device,
        **settings,
    )


def test_a_model_that_knows_nothing_scores_chance_by_hand(make_setup):
    """All weights 0: every score is 0, the losses are ln(50) and ln(2), and argmax is class 0."""
    setup = make_setup()
    model, _ = build(setup)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    labels = setup.held_out.take(torch.arange(40).numpy()).next_sentence_labels

    metrics = run(setup, model)

    assert metrics["mlm_loss"] == pytest.approx(math.log(50), rel=1e-6)
    assert metrics["nsp_loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert metrics["mlm_accuracy"] == 0  # class 0 is [PAD], never a target
    assert metrics["nsp_accuracy"] == (labels == 0).mean()


def test_the_result_does_not_depend_on_micro_batches(make_setup):
    small, large = make_setup(), make_setup(runtime={"micro_batch_tokens": 10_000})
    model, _ = build(small)

    assert run(small, model) == pytest.approx(run(large, model), rel=1e-5)


def test_the_ranks_shares_add_up_to_the_whole(make_setup):
    setup = make_setup()
    model, _ = build(setup)
    whole = run(setup, model, limit=40)

    class Alone(Ranks):
        """A rank whose sums stay its own."""

        def sum(self, values, device):
            return list(values)

    halves = [run(setup, model, limit=40, ranks=Alone(rank, 2, 0)) for rank in (0, 1)]

    mean = sum(half["nsp_loss"] for half in halves) / 2  # 20 instances each
    assert mean == pytest.approx(whole["nsp_loss"], rel=1e-6)


def test_a_limit_takes_the_first_instances(make_setup):
    setup = make_setup()
    model, _ = build(setup)

    assert run(setup, model, limit=5) != run(setup, model)
    assert run(setup, model, limit=1000) == run(setup, model)


def test_evaluation_leaves_the_model_in_training_mode_and_unchanged(make_setup):
    setup = make_setup()
    model, _ = build(setup)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    first, second = run(setup, model), run(setup, model)

    assert model.training
    assert first == second, "dropout must be off"
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_a_model_without_the_head_has_no_next_sentence_metrics(make_setup):
    setup = make_setup(model={"next_sentence": False})
    model, _ = build(setup)

    metrics = run(setup, model)

    assert metrics["nsp_loss"] is None
    assert metrics["nsp_accuracy"] is None
    assert EvaluateConfig(seed=1, instances=None, masking=PHASE["masking"]).instances is None
