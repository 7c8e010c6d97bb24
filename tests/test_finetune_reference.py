"""Ten steps with the values of published recipes, against torch's own parts."""

import math

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from bert.train.feature_batches import make_batch
from bert.train.finetune_step import batch_indices
from bert.train.task_outputs import count_targets, summed_loss
from tests.conftest import ADAMW
from tests.finetuning import WITHOUT_DROPOUT, lines, make_features, make_learner, train, tuning

SCHEDULE = {
    "name": "linear", "warmup_proportion": 0.3, "warmup_steps": None, "warmup_start": 0,
    "degree": None, "end_factor": 0.0, "steps_before": 0, "total_steps": None,
}  # fmt: skip
NVIDIA_MRPC = {
    "learning_rate": 1.8e-5,
    "schedule": SCHEDULE,
    "optimizer": ADAMW | {"bias_correction": False},
}
CEREBRAS_SQUAD = {
    "learning_rate": 5e-5,
    "schedule": SCHEDULE
    | {"name": "constant", "warmup_proportion": None, "warmup_steps": 4, "end_factor": None},
    "optimizer": ADAMW | {"bias_correction": False},
}
TORCH = {"learning_rate": 2e-5, "schedule": SCHEDULE | {"warmup_proportion": 0.1}}
# Worked by hand: up over the warm-up, then down by a seventh (a ninth) a step, or level.
FACTORS = {
    "nvidia": [1 / 3, 2 / 3, 1, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7],
    "cerebras": [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1, 1],
    "torch": [1, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9],
}


def set_adam(group, rate, step, *, bias_correction):
    """torch's AdamW corrects always; other settings of a step take the correction back.

    Its step is p -= lr (decay p + m / c1 / (sqrt(v / c2) + eps)), c = 1 - beta^step.
    """
    c1, c2 = 1 - 0.9**step, 1 - 0.999**step
    factor = 1.0 if bias_correction else c1 / math.sqrt(c2)
    group["lr"] = rate * factor
    group["eps"] = 1e-6 if bias_correction else 1e-6 / math.sqrt(c2)
    group["weight_decay"] = group["decay"] / factor


@pytest.mark.parametrize(
    ("name", "head", "changes"),
    [
        ("nvidia", "sentence", NVIDIA_MRPC),
        ("cerebras", "span", CEREBRAS_SQUAD),
        ("torch", "token", TORCH),
    ],
)
def test_ten_steps_are_those_of_torch(name, head, changes, tmp_path):
    setting = tuning(head, epochs=None, steps=10, **changes)
    _, ours = train(setting, tmp_path, config=WITHOUT_DROPOUT)
    theirs = make_learner(setting, WITHOUT_DROPOUT).network.train()
    corrected = setting.config.optimizer.bias_correction
    groups = [
        {"params": [param], "decay": 0.01 if param.dim() > 1 else 0.0}
        for param in theirs.parameters()
    ]
    optimizer = torch.optim.AdamW(groups)
    features = make_features(64, head)
    for step, index in enumerate(batch_indices(64, setting), start=1):
        chosen = [features[i] for i in index]
        batch = make_batch(chosen, setting.device, head)
        loss = summed_loss(head, theirs(*batch[:4]), batch) / count_targets(head, chosen)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(theirs.parameters(), 1.0)
        rate = changes["learning_rate"] * FACTORS[name][step - 1]
        for group in optimizer.param_groups:
            set_adam(group, rate, step, bias_correction=corrected)
        optimizer.step()

        line = lines(tmp_path)[step - 1]
        assert line["learning_rate"] == pytest.approx(rate, rel=1e-6)
        assert line["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert line["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for (parameter, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        moved = changes["learning_rate"]  # the most that one step can move a weight, about
        torch.testing.assert_close(own, other, rtol=1e-6, atol=moved * 5e-3, msg=parameter)
