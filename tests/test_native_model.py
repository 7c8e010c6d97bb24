"""The model on the native kernels against the same model on torch's operations."""

import copy

import pytest
import torch
from torch.nn import functional as F

from bert.config import check
from bert.kernels.compiled import kernels_on, use_kernels
from bert.model.attention import sequences_of
from bert.model.bert import initialize, set_activation_checkpointing
from bert.model.config import ModelConfig
from bert.model.fused import summed_cross_entropy
from bert.model.heads import BertForPretraining, BertForSentence, BertForSpan
from bert.model.native import attach_kernels, can_run_natively, detach_kernels
from bert.model.weights import ProductWeight
from tests.conftest import MODEL

pytestmark = pytest.mark.usefixtures("native")

VOCAB = 101
LENGTHS = [9, 40, 17, 1, 17, 33]
SHAPE = {
    "hidden_size": 48,
    "num_attention_heads": 3,
    "intermediate_size": 72,
    "vocab_multiple": 8,
    "max_position_embeddings": 40,
}


def config(**changes):
    return check(ModelConfig, MODEL | SHAPE | changes, where="test", path="model")


def make(head=BertForPretraining, *extra, **changes):
    model = head(config(**changes), VOCAB, *extra)
    generator = torch.Generator().manual_seed(1)
    initialize(model, 0.1, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    attach_kernels(model)
    return model.train()


def stream():
    generator = torch.Generator().manual_seed(2)
    tokens = sum(LENGTHS)
    ids = torch.randint(0, VOCAB, (tokens,), generator=generator)
    segments = torch.randint(0, 2, (tokens,), generator=generator)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    return ids, segments, positions, sequences_of(LENGTHS)


MASKED = torch.tensor([3, 8, 40, 66, 100])
LABELS = torch.tensor([5, 100, 0, 7, 7])


def loss_of(model):
    logits = model(*stream(), MASKED)
    instances = F.cross_entropy(logits.nsp_logits.float(), torch.arange(len(LENGTHS)) % 2)
    return summed_cross_entropy(logits.mlm_logits, LABELS) + instances


def run(model, kernels="native", *, amp=False):
    """Loss and gradients by name."""
    use_kernels(kernels)
    model.zero_grad()
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        loss = loss_of(model)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def error(found, expected):
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


def without_key_biases(gradients):
    # A key's bias adds the same to all scores of a row: its gradient is 0 but for rounding.
    return {name: g for name, g in gradients.items() if not name.endswith("key.bias")}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_in_fp32_loss_and_every_gradient_are_those_of_torch_dropout_included(activation, dropout):
    model = make(
        hidden_act=activation, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    )
    loss, gradients = run(model)
    expected, wanted = run(model, "torch")
    assert loss == pytest.approx(expected, rel=1e-6)
    for name, gradient in without_key_biases(gradients).items():
        assert error(gradient, wanted[name]) < 2e-6, name


def test_in_bf16_every_gradient_is_as_near_to_fp32_as_that_of_autocast():
    model = make(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    _, exact = run(model, "torch")
    loss, native = run(model, amp=True)
    expected, autocast = run(model, "torch", amp=True)
    assert loss == pytest.approx(expected, rel=3e-3)
    for name, gradient in without_key_biases(native).items():
        own, usual = error(gradient, exact[name]), error(autocast[name], exact[name])
        assert own < max(2 * usual, 2e-2), name


@pytest.mark.parametrize("amp", [False, True])
def test_evaluation_is_that_of_torch_and_draws_nothing(amp):
    model = make(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5).eval()
    state = torch.random.get_rng_state()
    found = []
    for kernels in ("native", "torch"):
        use_kernels(kernels)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=amp):
            found.append(model(*stream(), MASKED).mlm_logits.float())
    torch.testing.assert_close(*found, atol=0.05 if amp else 1e-5, rtol=0.02 if amp else 1e-5)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("amp", [False, True])
def test_recomputed_activations_give_the_same_bits(amp):
    model = make(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    kept = copy.deepcopy(run(model, amp=amp))
    set_activation_checkpointing(model, True)
    loss, gradients = run(model, amp=amp)
    assert loss == kept[0]
    assert all(torch.equal(gradients[name], kept[1][name]) for name in gradients)


def test_a_second_backward_pass_gives_the_same_gradients():
    model = make(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    torch.manual_seed(3)
    loss = loss_of(model)
    first = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("head", ["span", "sentence"])
def test_fine_tuning_heads_are_those_of_torch(head):
    model = make(BertForSpan) if head == "span" else make(BertForSentence, 3)
    found = []
    for kernels in ("native", "torch"):
        use_kernels(kernels)
        model.zero_grad()
        torch.manual_seed(3)
        out = model(*stream())
        sum((x * torch.linspace(1, 2, x.numel()).view(x.shape)).sum() for x in out).backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in without_key_biases(found[0]).items():
        assert error(gradient, found[1][name]) < 5e-6, name


def test_rows_of_the_table_that_are_no_token_get_no_gradient():
    model = make()
    _, gradients = run(model)
    assert len(gradients["bert.embeddings.word_embeddings.weight"]) == 104
    assert not gradients["bert.embeddings.word_embeddings.weight"][VOCAB:].any()
    assert not gradients["cls.predictions.bias"][VOCAB:].any()


def test_copies_of_the_weights_follow_every_change():
    parameters = [torch.nn.Parameter(torch.randn(3, 4)) for _ in range(2)]
    copied = ProductWeight(*parameters)
    before = copied.get(torch.bfloat16)
    assert copied.get(torch.bfloat16) is before

    def equal():
        return torch.equal(
            copied.get(torch.bfloat16), torch.cat([p.detach() for p in parameters]).bfloat16()
        )

    with torch.no_grad():
        parameters[1].mul_(2)
    assert equal()
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    parameters[0].grad = torch.ones(3, 4)
    optimizer.step()
    assert equal()
    holder = torch.nn.ParameterList(parameters)
    holder.load_state_dict({"0": torch.zeros(3, 4), "1": torch.ones(3, 4)})
    assert equal()
    parameters[0].data = torch.full((3, 4), 7.0)
    assert equal()
    assert torch.equal(copied.get(torch.float32), torch.cat([p.detach() for p in parameters]))


def test_a_single_weight_in_fp32_is_not_copied():
    parameter = torch.nn.Parameter(torch.randn(3, 4))
    assert ProductWeight(parameter).get(torch.float32).data_ptr() == parameter.data_ptr()


def test_hooks_on_layers_fire_once_the_kernels_are_detached():
    model = make()
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, *_: seen.append(module))
    run(model)
    inside = len(seen)
    detach_kernels(model)
    run(model)
    assert len(seen) - inside > inside
    assert kernels_on()


@pytest.mark.parametrize(
    ("changes", "able"),
    [({}, True), ({"norm": "pre"}, False), ({"hidden_size": 45, "num_attention_heads": 3}, False)],
)
def test_what_the_kernels_do_not_know_runs_on_torch(changes, able):
    assert can_run_natively(config(**changes)) is able
    model = make(**changes)
    loss, gradients = run(model)
    expected, wanted = run(model, "torch")
    assert loss == pytest.approx(expected, rel=1e-6)
    assert all(error(gradients[name], wanted[name]) < 1e-5 for name in without_key_biases(wanted))


def test_fp16_runs_on_torch():
    model = make()
    with torch.autocast("cpu", torch.float16):
        assert model(*stream(), MASKED).mlm_logits.dtype == torch.float16
