"""What the recipes in config/recipes/ claim: samples, learning rates, parameters, their graphs."""

import math
import subprocess
import sys

import pytest
import torch
import yaml

from bert.manifest import ROOT
from bert.model.heads import BertForPretraining
from bert.optim.schedule import learning_rate_factor, timed_learning_rate_factor
from bert.recipe import check_recipe
from bert.train.evaluation import evaluation_samples
from tests.test_recipe import CONFIG, RECIPES, merge

NAMES = [path.stem for path in RECIPES]
QUICK = ("academic",)  # a dry run takes seconds; this graph is unlike the others
LOCAL = {"conll": ("conll_train", "conll_dev")}  # fetch items that the user has to bring


def recipe(*names):
    values = CONFIG
    for name in names:
        values = merge(values, yaml.safe_load((ROOT / f"config/recipes/{name}.yaml").read_text()))
    return check_recipe(values)


def phases(found):
    return [phase for phase in (found.pretrain.phase1, found.pretrain.phase2) if phase]


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_snakemake_plans_every_recipe(name, tmp_path):
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all"]
    brought = tmp_path / "brought.yaml"
    items = {item: [{"location": str(brought)}] for item in LOCAL.get(name, ())}
    brought.write_text(yaml.safe_dump({"fetch": items}))
    files = [f"config/recipes/{name}.yaml", str(brought)]
    overlay = ["--configfile", *files, "--config", f"run={tmp_path.name}"]

    result = subprocess.run(
        [*command, *overlay], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_says_what_it_reproduces_and_how_to_start_it(name):
    text = (ROOT / f"config/recipes/{name}.yaml").read_text()
    table = (ROOT / "config/README.md").read_text()

    assert f"config/recipes/{name}.yaml\n" in text.split("\nrun:")[0]
    assert f"| `{name}` |" in table


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("nvidia", [461_242_368, 51_216_384]),
        ("habana", [461_242_368, 51_216_384]),
        ("gpauloski", [461_242_368, 51_216_384]),
        ("gpauloski_kfac", [461_242_368, 51_216_384]),
        ("habana_1.2b", [57_655_296, 12_804_096]),
        ("intel", [3_068_800, 383_600]),
        ("mlperf", [3_001_600]),
        ("google", [230_400_000, 25_600_000]),
        ("cerebras", [230_400_000, 25_600_000]),
        ("cerebras_pubmed", [737_280_000, 81_920_000]),
        ("roberta", [819_200_000]),
        ("academic", [204_800_000]),
    ],
)
def test_samples_seen_are_those_that_the_recipe_states(name, samples):
    found = [phase.steps * phase.batch for phase in phases(recipe(name))]

    assert found == samples
    text = (ROOT / f"config/recipes/{name}.yaml").read_text()
    head = " ".join(line.removeprefix("# ") for line in text.split("\nrun:")[0].splitlines())
    assert all(f"{number:,}" in head for number in samples)


# (recipe, phase, step, learning rate), each worked out by hand from the published recipe.
RATES = [
    ("nvidia", 1, 1, 6e-3 / (0.2843 * 7038)),
    ("nvidia", 1, 2000, 6e-3 * 2000 / 2000.9034),  # the last of the warm-up
    ("nvidia", 1, 2001, 6e-3 * math.sqrt(1 - 2000 / 7038)),  # not rescaled: a drop by 15 %
    ("nvidia", 1, 7038, 6e-3 * math.sqrt(1 / 7038)),
    ("nvidia", 2, 200, 4e-3 * 200 / 200.064),
    ("nvidia", 2, 201, 4e-3 * math.sqrt(1 - 200 / 1563)),
    ("google", 1, 1, 1e-8),
    ("google", 1, 9_999, 0.9999e-4),
    ("google", 1, 10_000, 0.990001e-4),  # the decay began at step 0, under the warm-up
    ("google", 1, 900_000, 0.100001e-4),
    ("google", 2, 1, 0.1e-4),  # the next step of the same schedule
    ("google", 2, 100_000, 1e-10),
    ("cerebras", 1, 10_000, 1e-4),  # the peak, and then down in 1,000,000 steps
    ("cerebras", 1, 900_000, 1e-4 * 110_001 / 1_000_000),
    ("cerebras", 2, 1, 1e-4 * 110_000 / 1_000_000),
    ("cerebras", 2, 100_000, 1e-4 * 10_001 / 1_000_000),
    ("cerebras_pubmed", 1, 80_000, 1e-4),
    ("cerebras_pubmed", 2, 80_000, 1e-4 * 80_001 / 800_000),
    ("mlperf", 1, 1, 4.25e-4),  # no warm-up
    ("mlperf", 1, 3_351, 2.125e-4),
    ("intel", 2, 1, 3.5e-4),
    ("intel", 1, 13_700, 3.5e-4 / 13_700),
    ("roberta", 1, 5_999, 4e-4 * 5_999 / 6_000),
    ("roberta", 1, 6_001, 4e-4),
    ("roberta", 1, 53_001, 2e-4),  # half way down
]


@pytest.mark.parametrize(("name", "number", "step", "rate"), RATES)
def test_learning_rates_at_landmark_steps(name, number, step, rate):
    phase = phases(recipe(name))[number - 1]

    found = phase.learning_rate * learning_rate_factor(step, phase.steps, phase.schedule)

    assert found == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(("hours", "rate"), [(0.72, 5e-4), (1.44, 1e-3), (12.72, 5e-4)])
def test_the_academic_rate_follows_the_clock(hours, rate):
    """Up over 6 % of 24 hours, 1.44, and down to 0 in the other 22.56."""
    phase = recipe("academic").pretrain.phase1

    factor = timed_learning_rate_factor(hours / phase.budget_hours, phase.schedule)

    assert phase.learning_rate * factor == pytest.approx(rate, rel=1e-9)


def by_hand(width, layers, inner, rows, *, pairs=True, pre=False):
    """Parameters of BERT with its heads, counted matrix by matrix."""
    norm = 2 * width
    embeddings = (rows + 512 + 2) * width + norm
    attention = 4 * (width * width + width) + norm
    feed_forward = (width * inner + inner) + (inner * width + width) + norm
    masked_tokens = width * width + width + norm + rows
    second_task = (width * width + width) + (2 * width + 2)
    body = embeddings + layers * (attention + feed_forward)
    return body + masked_tokens + pairs * second_task + pre * norm


@pytest.mark.parametrize(
    ("name", "vocabulary", "parameters", "total"),
    [
        ("nvidia", 30_522, by_hand(1024, 24, 4096, 30_528), 336_232_258),
        ("google", 30_522, by_hand(1024, 24, 4096, 30_522), 336_226_108),
        ("bert_base", 30_522, by_hand(768, 12, 3072, 30_528), 110_111_042),
        ("habana_1.2b", 30_522, by_hand(1536, 40, 6144, 30_528), 1_185_702_722),
        ("roberta", 50_265, by_hand(1024, 24, 4096, 50_272, pairs=False), 355_418_208),
        ("academic", 30_522, by_hand(1024, 24, 4096, 30_528, pairs=False, pre=True), 335_182_656),
    ],
)
def test_parameters_are_those_of_the_formula(name, vocabulary, parameters, total):
    with torch.device("meta"):
        model = BertForPretraining(recipe(name).model, vocabulary)

    assert sum(p.numel() for p in model.parameters()) == parameters == total


def test_mlperf_starts_from_the_given_weights_and_stops_at_the_target():
    found = recipe("mlperf")
    phase = found.pretrain.phase1

    assert found.phases == [1]
    assert (found.convert.raw, found.convert.before) == ("phase1_weights", "phase1")
    assert found.section("pretrain.phase1")["start"] == "weights"
    assert found.encode.phase1.max_seq_length == 512
    assert phase.masking.max_predictions == 76
    assert phase.evaluation.target_mlm_accuracy == 0.720
    assert phase.evaluation.instances == 10_000
    # floor(0.05 (230.23 x 448 + 3,000,000) / 25,000) = floor(6.2) = 6 times 25,000
    assert evaluation_samples(phase.evaluation, phase.batch) == 150_000


def test_kfac_stands_where_it_was_published():
    one, two = phases(recipe("gpauloski_kfac"))

    assert (one.kfac.inverse_every, one.kfac.factor_every, one.kfac.damping) == (10, 1, 0.003)
    assert two.kfac is None
    assert two.start == "previous", "weights and moments are taken over, the step is not"


@pytest.mark.parametrize(
    "names",
    [("openwebtext", "cerebras"), ("pubmed", "cerebras_pubmed"), ("google", "bert_base")],
)
def test_recipes_that_are_meant_to_be_combined_agree(names):
    found = recipe(*names)

    assert found.run == names[1]
    assert found.pretrain.phase1.optimizer.name == "adamw"
    assert found.sources == ["wikipedia" if names[0] == "google" else names[0]]


@pytest.mark.parametrize("name", ["lamb", "adamw", "kfac"])
def test_the_optimizers_that_are_compared_are_recipes_too(name):
    values = CONFIG
    for file in ("small", name):
        text = (ROOT / f"benchmarks/optimizers/{file}.yaml").read_text()
        values = merge(values, yaml.safe_load(text))
    found = check_recipe(values)

    assert found.run == name
    assert {phase.optimizer.name for phase in phases(found)} == {
        "lamb" if name == "lamb" else "adamw"
    }
    assert [phase.kfac is not None for phase in phases(found)] == [name == "kfac"] * 2
