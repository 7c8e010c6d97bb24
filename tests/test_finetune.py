import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bert.config import check
from bert.kernels.compiled import use_kernels
from bert.model.bert import set_attention_backend
from bert.model.config import ModelConfig
from bert.model.heads import SpanLogits, StateError
from bert.tasks.features import Feature
from bert.train.config import FinetuneConfig, RuntimeConfig
from bert.train.feature_batches import longest_first, make_batch, micro_batches
from bert.train.finetune import (
    Tuning,
    batch_indices,
    build_model,
    finetune,
    predict,
    summed_loss,
    total_steps,
)
from bert.train.setup import build
from tests.conftest import ADAMW, MODEL, RUNTIME, VOCAB
from tests.test_step_reads import reads

SECTION = {
    "train": "a",
    "dev": "b",
    "seeds": [1],
    "starts": ["random"],
    "epochs": 3,
    "batch": 8,
    "learning_rate": 3e-3,
    "schedule": {
        "name": "linear",
        "warmup_proportion": 0.1,
        "warmup_steps": None,
        "warmup_start": 0,
        "degree": None,
        "end_factor": 0.0,
        "steps_before": 0,
        "total_steps": None,
    },
    "optimizer": ADAMW,
    "task": {"format": "mrpc", "layout": "glue", "max_seq_length": 32},
}
CONFIG = check(ModelConfig, MODEL, where="a test")


def tuning(seed=1, runtime=None, **changes):
    return Tuning(
        check(FinetuneConfig, SECTION | changes, where="a test"),
        check(RuntimeConfig, RUNTIME | (runtime or {}), where="a test"),
        seed,
        torch.device("cpu"),
    )


def make_features(count, head, seed=0):
    """Sentences of random tokens: the label is whether token 9 occurs, the span where it stands."""
    rng = np.random.default_rng(seed)
    features = []
    for example in range(count):
        ids = rng.integers(10, VOCAB, rng.integers(8, 20))
        ids[0], ids[5], ids[-1] = 2, 3, 3
        place = int(rng.integers(6, len(ids) - 1))
        label = int(rng.integers(2)) if head == "sentence" else 1
        if label:
            ids[place] = 9
        targets = (label,) if head == "sentence" else (place, place)
        features.append(Feature(ids, 6, targets, example))
    return features


def trained(head, setting, count=64):
    model = build_model(head, 2, CONFIG, VOCAB, setting, None)
    lines = finetune(model, make_features(count, head), setting, "test")
    return model, lines


@pytest.mark.parametrize("head", ["sentence", "span"])
def test_a_simple_task_is_learned(head):
    setting = tuning(epochs=12, learning_rate=1e-2)
    model, lines = trained(head, setting, 200)
    features = make_features(100, head, seed=1)

    outputs = predict(model, features, setting)

    if head == "sentence":
        found = outputs.argmax(1)
    else:
        found = np.array([start.argmax() for start, _ in outputs])
    right = np.mean(found == [feature.targets[0] for feature in features])
    assert right > 0.9
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize("head", ["sentence", "span"])
def test_equal_seeds_give_equal_weights_and_others_do_not(head):
    weights = [
        trained(head, tuning(seed))[0].bert.embeddings.word_embeddings.weight for seed in (1, 1, 2)
    ]

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("head", ["sentence", "span"])
def test_micro_batches_do_not_change_training(head):
    losses = []
    for tokens in (30, 10_000):
        setting = tuning(runtime={"micro_batch_tokens": tokens})
        setting = setting._replace(config=setting.config.model_copy(update={"learning_rate": 1e-4}))
        model = build_model(head, 2, _without_dropout(), VOCAB, setting, None)
        lines = finetune(model, make_features(32, head), setting, "test")
        losses.append([line["loss"] for line in lines])

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def _without_dropout():
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return check(ModelConfig, MODEL | dropouts, where="a test")


def test_predictions_do_not_depend_on_the_company(make_setup):
    setting = tuning()
    model, _ = trained("span", setting)
    features = make_features(9, "span", seed=2)

    together = predict(model, features, setting)
    alone = predict(model, features[4:5], setting)

    assert np.allclose(together[4][0], alone[0][0], atol=1e-5)
    assert [len(start) for start, _ in together] == [len(f.input_ids) for f in features]


@pytest.mark.parametrize("head", ["sentence", "span"])
def test_outputs_come_back_in_order_whatever_the_micro_batches(head):
    """One feature at a time has no order; micro-batches of 60 tokens hold three to seven."""
    setting = tuning(runtime={"micro_batch_tokens": 60})
    model, _ = trained(head, setting)
    features = make_features(41, head, seed=3)

    grouped = predict(model, features, setting)
    alone = [predict(model, [feature], setting)[0] for feature in features]

    assert len(grouped) == 41
    for found, expected in zip(grouped, alone, strict=True):
        assert np.allclose(found, expected, atol=1e-5)
    assert predict(model, [], setting) == []


def test_micro_batches_hold_the_longest_first_and_equal_lengths_together():
    features = make_features(50, "sentence")
    ordered = [features[i] for i in longest_first(features)]
    batches = list(micro_batches(ordered, 60, torch.device("cpu")))
    lengths = [length for batch in batches for length in batch.sequences.lengths]

    assert lengths == sorted((len(f.input_ids) for f in features), reverse=True)
    assert all(sum(batch.sequences.lengths) <= 60 for batch in batches)
    equal = [f for f in features if len(f.input_ids) == 12]
    assert [f for f in ordered if len(f.input_ids) == 12] == equal, "in the order given"


def test_the_order_inside_a_step_changes_no_gradient():
    """A step whose features come in any order has the same loss and the same gradient norm."""
    setting = tuning(runtime={"micro_batch_tokens": 60}, epochs=1, batch=32)
    features = make_features(32, "span")
    found = []
    for order in (range(32), reversed(range(32))):
        model = build_model("span", 2, _without_dropout(), VOCAB, setting, None)
        found += finetune(model, [features[i] for i in order], setting, "test")

    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-6)
    assert found[0]["gradient_norm"] == pytest.approx(found[1]["gradient_norm"], rel=1e-5)


def test_the_span_loss_is_that_of_each_sequence_alone():
    """Ragged scores, worked out sequence by sequence with a softmax over its own tokens."""
    batch = make_batch(make_features(5, "span"), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, len(batch.input_ids), generator=generator)
    lengths = list(batch.sequences.lengths)
    pairs = zip(start.split(lengths), end.split(lengths), batch.targets.tolist(), strict=True)
    expected = sum(
        -(a.log_softmax(0)[first] + b.log_softmax(0)[last]) / 2 for a, b, (first, last) in pairs
    )

    assert summed_loss(SpanLogits(start, end), batch).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


@pytest.mark.parametrize("head", ["sentence", "span"])
def test_a_step_reads_the_device_once(head):
    setting = tuning(runtime={"micro_batch_tokens": 30}, epochs=1, batch=32)
    model = build_model(head, 2, _without_dropout(), VOCAB, setting, None)
    set_attention_backend(model, "padded")
    features = make_features(64, head)

    assert reads(lambda: finetune(model, features, setting, "test")) == ["tolist"] * 2
    assert reads(lambda: predict(model, features, setting)) == ["cpu", "numpy"]


class Operations(TorchDispatchMode):
    """Names of torch's operations that are called while it is on."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("head", ["sentence", "span"])
def test_training_and_prediction_run_on_the_native_kernels(head):
    """Their attention has no softmax of torch; losses and outputs are those of torch's path."""
    found = []
    for kernels in ("native", "torch"):
        use_kernels(kernels)
        with Operations() as operations:
            model, lines = trained(head, tuning(learning_rate=1e-4))
            outputs = predict(model, make_features(9, head, seed=2), tuning())
        assert ("aten._softmax.default" in operations.names) == (kernels == "torch")
        found.append(([line["loss"] for line in lines], np.concatenate(outputs, axis=None)))

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert np.allclose(found[0][1], found[1][1], atol=1e-4)


def test_every_epoch_meets_every_feature_once_in_another_order():
    batches = list(batch_indices(20, tuning(epochs=2)))
    order = np.concatenate(batches)

    assert sorted(order[:20]) == sorted(order[20:]) == list(range(20))
    assert order[:20].tolist() != order[20:].tolist()
    assert [len(batch) for batch in batches] == [8] * 5
    assert total_steps(20, tuning(epochs=2).config) == 5


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 2), (1, 3), (2.5, 7)])
def test_part_of_an_epoch_is_a_part_of_its_steps(epochs, steps):
    setting = tuning(epochs=epochs)

    assert total_steps(20, setting.config) == steps
    assert len(list(batch_indices(20, setting))) == steps


def test_a_stream_is_laid_out_by_hand():
    features = [
        Feature(np.array([2, 7, 3, 8, 3]), 3, (1,), 0),
        Feature(np.array([2, 9, 3]), 0, (0,), 1),
    ]

    batch = make_batch(features, torch.device("cpu"))

    assert batch.input_ids.tolist() == [2, 7, 3, 8, 3, 2, 9, 3]
    assert batch.segment_ids.tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.sequences.lengths == (5, 3)
    assert batch.targets.tolist() == [[1], [0]]


def test_pretrained_weights_reach_the_encoder(make_setup):
    pretrained = build(make_setup()).network

    model = build_model("sentence", 2, CONFIG, VOCAB, tuning(), pretrained.state_dict())

    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(model.state_dict()[name], pretrained.state_dict()[name])


def test_weights_of_another_shape_are_refused(make_setup):
    pretrained = build(make_setup(model={"intermediate_size": 64})).network

    with pytest.raises(StateError, match="does not fit the model"):
        build_model("sentence", 2, CONFIG, VOCAB, tuning(), pretrained.state_dict())


def test_fp16_scales_the_loss_and_skips_what_overflows():
    """The norm of the scaled gradient would be 65,536 times as large."""
    _, exact = trained("sentence", tuning())
    _, half = trained("sentence", tuning(runtime={"precision": "fp16"}))

    assert half[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.01)
    norms = [line["gradient_norm"] for line in half]
    assert norms[0] is None or norms[0] == pytest.approx(exact[0]["gradient_norm"], rel=0.05)
    assert sum(norm is not None for norm in norms) > len(norms) / 2
    assert half[-1]["loss"] == pytest.approx(exact[-1]["loss"], abs=0.2)


def test_a_loss_that_is_not_finite_is_refused():
    setting = tuning()
    model = build_model("sentence", 2, CONFIG, VOCAB, setting, None)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))

    with pytest.raises(RuntimeError, match="test: step 1 has loss nan"):
        finetune(model, make_features(8, "sentence"), setting, "test")


def test_repeated_seeds_are_refused():
    with pytest.raises(ValueError, match=r"seeds is .*each value may stand once"):
        tuning(seeds=[1, 1])
