"""One optimizer step: the loss by hand, micro-batches, and numbers that are not finite."""

import json
import math

import pytest
import torch

from bert.data.batches import read_steps
from bert.train.guard import Guard, Verdict
from bert.train.setup import build
from bert.train.step import stream_checksum, train_step
from tests.conftest import ADAMW, KFAC

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def first_batch(setup, step=1):
    return next(iter(read_steps(setup.train, range(step, step + 1), setup.reading())))


def take_step(setup, learner=None, batch=None, rate=1e-3):
    learner = learner or build(setup)
    return learner, train_step(setup, learner, batch or first_batch(setup), rate)


def weights(learner):
    return {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}


@pytest.mark.parametrize("kfac", [None, KFAC])
def test_micro_batches_do_not_change_the_step(make_setup, kfac):
    """Without dropout, one micro-batch or many give the same losses, gradient and weights."""
    results, after = [], []
    for tokens in (40, 100, 10_000):
        setup = make_setup({"kfac": kfac}, NO_DROPOUT, {"micro_batch_tokens": tokens})
        learner, result = take_step(setup)
        results.append(result)
        after.append(weights(learner))

    for other in (1, 2):
        assert results[other][:3] == pytest.approx(results[0][:3], rel=1e-5)
        assert results[other].checksum == results[0].checksum
        for name, tensor in after[0].items():
            assert torch.allclose(after[other][name], tensor, atol=2e-5), name


def test_the_loss_is_the_mean_over_the_batch_by_hand(make_setup):
    """With all weights 0 every score is 0: ln(50) for a token and ln(2) for a pair."""
    setup = make_setup()
    learner = build(setup)
    with torch.no_grad():
        for parameter in learner.network.parameters():
            parameter.zero_()

    _, result = take_step(setup, learner)

    assert result.mlm_loss == pytest.approx(math.log(50), rel=1e-6)
    assert result.nsp_loss == pytest.approx(math.log(2), rel=1e-6)


def test_a_mean_by_micro_batch_weighs_micro_batches_equally(make_setup):
    """Its gradient is the mean of the gradients of steps on single micro-batches."""
    optimizer = make_setup().config.optimizer.model_dump() | {"max_grad_norm": None}
    phase = {"loss_mean": "micro_batch", "optimizer": optimizer}
    setup = make_setup(phase, NO_DROPOUT, {"micro_batch_tokens": 100})
    batch = first_batch(setup)
    assert len(batch.micro_batches) > 2

    def gradients(micro_batches):
        learner, _ = take_step(setup, batch=batch._replace(micro_batches=micro_batches), rate=0.0)
        return [parameter.grad for parameter in learner.network.parameters()]

    singles = [gradients([micro]) for micro in batch.micro_batches]
    for together, *alone in zip(gradients(batch.micro_batches), *singles, strict=True):
        assert torch.allclose(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [{}, {"optimizer": ADAMW}, {"kfac": KFAC}])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_that_is_not_finite_changes_nothing(make_setup, kind, precision):
    """Weights, moments, K-FAC's factors and the optimizer's counter stay as they were."""
    setup = make_setup(kind, runtime={"precision": precision})
    learner, _ = take_step(setup)
    good = learner.network.cls.predictions.bias.detach().clone()
    with torch.no_grad():
        learner.network.cls.predictions.bias[7] = math.inf
    before = weights(learner)
    moments = {k: v.clone() for k, v in learner.optimizer.tensors(learner.network).items()}
    factors = {k: v.clone() for k, v in learner.kfac.tensors().items()} if learner.kfac else {}

    _, result = take_step(setup, learner, first_batch(setup, 2))

    assert result.skipped
    assert not math.isfinite(result.mlm_loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(learner).items())
    after = learner.optimizer.tensors(learner.network)
    assert all(torch.equal(tensor, after[name]) for name, tensor in moments.items())
    assert [group["step"] for group in learner.optimizer.param_groups] == [1, 1]
    if learner.kfac:
        assert all(torch.equal(t, learner.kfac.tensors()[n]) for n, t in factors.items())
    with torch.no_grad():
        learner.network.cls.predictions.bias.copy_(good)
    assert not take_step(setup, learner, first_batch(setup, 3))[1].skipped


def test_an_inverse_of_kfac_that_overflows_is_a_step_that_is_not_finite(make_setup):
    """The gradient was finite; the guard must hear of what K-FAC made of it."""
    setup = make_setup({"kfac": KFAC | {"inverse_every": 100}})
    learner, _ = take_step(setup)
    before = weights(learner)
    for inverse in learner.kfac._inverses.values():
        for matrix in inverse.values():
            matrix.fill_(math.inf)

    _, result = take_step(setup, learner, first_batch(setup, 2))

    assert result.skipped
    assert not math.isfinite(result.gradient_norm)
    assert math.isfinite(result.mlm_loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(learner).items())
    verdict = Guard(setup.config.guard).judge(2, result.mlm_loss, result.gradient_norm, False)
    assert verdict is Verdict.STOP  # max_skipped is 0


def test_an_overflow_of_fp16_lowers_the_scale_until_steps_are_taken(make_setup):
    setup = make_setup(runtime={"precision": "fp16"})
    learner = build(setup)
    learner.loss_scale.value = 2.0**30

    results = [take_step(setup, learner, first_batch(setup, step))[1] for step in range(1, 30)]

    skipped = [result.skipped for result in results]
    assert skipped[0]
    assert not skipped[-1]
    assert results[-1].loss_scale == 2.0 ** (30 - sum(skipped))


def test_the_scale_of_fp16_is_not_in_the_gradient(make_setup):
    """Norms at the scales 1 and 1024 agree, as far as fp16 can say."""
    norms = []
    for scale in (1.0, 1024.0):
        setup = make_setup(model=NO_DROPOUT, runtime={"precision": "fp16"})
        learner = build(setup)
        learner.loss_scale.value = scale
        norms.append(take_step(setup, learner)[1].gradient_norm)

    assert norms[0] == pytest.approx(norms[1], rel=2e-2)


def test_a_rank_without_a_share_takes_part(make_setup):
    """Fewer instances than ranks: an empty share is a step like any other."""
    setup = make_setup({"batch": 1})
    batch = first_batch(setup)
    _, result = take_step(setup, batch=batch._replace(micro_batches=[]))

    assert result.tokens == 0
    assert result.mlm_loss == 0


def test_the_checksum_sees_tokens_masks_and_places_but_not_the_cut(make_setup):
    setups = [make_setup(runtime={"micro_batch_tokens": tokens}) for tokens in (30, 200)]
    few, many = (sum(map(stream_checksum, first_batch(s).micro_batches)) for s in setups)
    assert few % (2**31 - 1) == many % (2**31 - 1)

    (micro, *_) = first_batch(setups[1]).micro_batches
    ids = micro.input_ids.copy()
    ids[[3, 4]] = ids[[4, 3]] + [0, 1]
    assert stream_checksum(micro._replace(input_ids=ids)) != stream_checksum(micro)


def test_losses_of_the_micro_batches_add_up_to_the_step(make_setup):
    setup = make_setup(runtime={"micro_batch_tokens": 60})

    _, result = take_step(setup)

    sums = [sum(losses) for losses in zip(*result.micro_losses, strict=True)]
    assert sums[0] / result.masked_tokens == pytest.approx(result.mlm_loss, rel=1e-6)
    assert sums[1] / setup.config.batch == pytest.approx(result.nsp_loss, rel=1e-6)
    json.dumps(result.micro_losses)
