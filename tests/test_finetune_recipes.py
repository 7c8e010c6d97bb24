"""The fine-tuning settings of the recipes: as published, step by step."""

import pytest
import yaml

from bert.manifest import ROOT
from bert.optim.schedule import learning_rate_factor
from bert.recipe import check_recipe
from tests.test_recipe import CONFIG, merge

# Recipe and task to batch, peak rate, and the rate at some steps of some number of steps. The
# values after a warm-up are worked by hand from the published shape.
PUBLISHED = {
    ("google", "squad"): (24, 3e-5, {(1, 100): 3e-6, (10, 100): 0.91 * 3e-5, (51, 100): 1.5e-5}),
    ("google", "mrpc"): (32, 2e-5, {(10, 100): 0.91 * 2e-5}),
    ("nvidia", "squad"): (256, 4.6e-5, {(1, 100): 2.3e-6, (21, 100): 4.6e-5, (61, 100): 2.3e-5}),
    ("nvidia", "mrpc"): (128, 1.8e-5, {(1, 10): 6e-6, (4, 10): 1.8e-5, (10, 10): 1.8e-5 / 7}),
    ("habana", "squad"): (24, 3e-5, {(10, 100): 3e-5, (56, 100): 1.5e-5}),
    ("habana", "mrpc"): (32, 3e-5, {(1, 100): 3e-5, (51, 100): 1.5e-5}),
    ("intel", "mrpc"): (32, 2e-5, {(51, 100): 1e-5}),
    ("cerebras", "squad"): (32, 5e-5, {(500, 10_000): 2.5e-5, (10_000, 10_000): 5e-5}),
    ("gpauloski", "squad"): (4, 3e-5, {(11, 100): 3e-5}),
}
LENGTHS = {
    ("google", "squad"): (2, None),
    ("nvidia", "mrpc"): (3, None),
    ("intel", "mrpc"): (30, None),
    ("cerebras", "squad"): (None, 10_000),
    ("gpauloski", "squad"): (2, None),
}


def section(name, task):
    values = yaml.safe_load((ROOT / f"config/recipes/{name}.yaml").read_text())
    return check_recipe(merge(CONFIG, values)).finetune[task]


@pytest.mark.parametrize(("name", "task"), list(PUBLISHED))
def test_rates_and_batches_are_those_published(name, task):
    batch, peak, rates = PUBLISHED[name, task]
    found = section(name, task)

    assert (found.batch, found.learning_rate) == (batch, peak)
    for (step, steps), rate in rates.items():
        factor = learning_rate_factor(step, steps, found.schedule)
        assert peak * factor == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(("name", "task"), list(LENGTHS))
def test_lengths_are_those_published(name, task):
    found = section(name, task)

    assert (found.epochs, found.steps) == LENGTHS[name, task]


@pytest.mark.parametrize(("name", "task"), list(PUBLISHED))
def test_adam_is_not_corrected_and_clips_at_1(name, task):
    optimizer = section(name, task).optimizer

    assert (optimizer.name, optimizer.bias_correction) == ("adamw", False)
    assert (optimizer.weight_decay, optimizer.max_grad_norm) == (0.01, 1.0)
    assert optimizer.eps == (1e-8 if name in ("nvidia", "gpauloski") else 1e-6)
