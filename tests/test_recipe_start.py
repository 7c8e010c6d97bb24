"""Recipes that start from weights that somebody else trained, and what is trained from them."""

import pytest

from bert.config import ConfigError
from tests.test_recipe import check_with


def starting(before, **overlay):
    item = {"google": [{"location": "a"}]}
    return check_with(fetch=item, convert={"raw": "google", "before": before}, **overlay)


@pytest.mark.parametrize(
    ("before", "phases", "checkpoint"),
    [
        ("phase1", [1, 2], "<results>/pretrain/phase2/checkpoint"),
        ("phase2", [2], "<results>/pretrain/phase2/checkpoint"),
        ("finetune", [], "<results>/convert/checkpoint"),
    ],
)
def test_one_line_leaves_out_the_stages_before_the_weights_come_in(before, phases, checkpoint):
    recipe = starting(before)

    assert recipe.phases == phases
    assert recipe.final_checkpoint() == checkpoint
    assert recipe.model_section() == "<results>/convert/model.json"
    jobs = recipe.jobs()
    assert jobs["pretrain"] == [f"phase{number}" for number in phases]
    assert jobs["convert"] == [""]
    assert bool(jobs["encode"]) == bool(phases)
    assert {name.split("/")[0] for name in jobs["encode"]} == {f"phase{n}" for n in phases}


def test_the_phase_that_follows_takes_the_weights_and_no_moments():
    recipe = starting("phase2")

    assert recipe.previous_checkpoint("2") == ["<results>/convert/checkpoint"]
    assert recipe.section("pretrain.phase2")["start"] == "weights"
    assert starting("phase1").section("pretrain.phase1")["start"] == "weights"
    assert starting("phase1").section("pretrain.phase2")["start"] == "previous"


def test_fine_tuning_alone_reads_no_text_and_exports_nothing_new():
    recipe = starting("finetune")

    assert recipe.sources == []
    assert recipe.model_export() == []
    assert recipe.published() == [
        f"<results>/publish/{task}/manifest.json" for task in ("squad", "mrpc")
    ]


def test_a_task_from_random_weights_alone_has_a_score_but_no_verdict_and_no_model():
    recipe = check_with(finetune={"squad": None, "mrpc": {"starts": ["random"], "seeds": [1]}})

    assert recipe.runs() == ["mrpc/random/seed-1"]
    assert recipe.gates() == recipe.published() == []


@pytest.mark.parametrize("change", [{"publish": None}, {"model": {"norm": "pre"}}])
def test_what_has_no_class_in_transformers_or_is_not_asked_for_is_not_published(change):
    recipe = check_with(**change)

    assert recipe.published() == []
    assert recipe.gates() == [f"<results>/gate/{task}.json" for task in ("squad", "mrpc")]


def test_weights_that_are_no_fetch_item_are_refused():
    with pytest.raises(ConfigError, match=r"convert.raw is 'google', which `fetch` does not have"):
        check_with(convert={"raw": "google", "before": "finetune"})


def test_weights_with_a_vocabulary_made_here_are_refused():
    made = {"kind": "wordpiece", "raw": None, "size": 100, "min_frequency": 1}
    with pytest.raises(ConfigError, match=r"`convert` takes weights that have their own vocab"):
        starting("finetune", vocab=made | {"limit_alphabet": 10})


def test_weights_before_a_phase_that_is_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"convert.before is phase2, but pretrain.phase2 is null"):
        starting("phase2", pretrain={"phase2": None}, encode={"phase2": None})


def test_every_rate_of_a_grid_runs_with_every_seed():
    recipe = check_with(
        finetune={"squad": None, "mrpc": {"learning_rate": [2e-5, 1.5e-5], "seeds": [1, 2]}}
    )

    trials = [
        "rate-2e-05.seed-1",
        "rate-2e-05.seed-2",
        "rate-1.5e-05.seed-1",
        "rate-1.5e-05.seed-2",
    ]
    assert recipe.runs() == [f"mrpc/pretrained/{trial}" for trial in trials]
    path = recipe.finetune_section("mrpc", trials[2])
    assert path == "<results>/config/finetune.mrpc.rate-1.5e-05.json"
    assert recipe.section("finetune.mrpc.rate-1.5e-05")["learning_rate"] == 1.5e-5


def test_what_a_run_is_told_does_not_name_the_other_runs():
    one, more = (
        check_with(finetune={"mrpc": {"seeds": seeds, "starts": ["pretrained"]}})
        for seeds in ([1], [1, 2, 3])
    )

    assert one.section("finetune.mrpc") == more.section("finetune.mrpc")
    assert not {"seeds", "starts", "train", "task"} & one.section("finetune.mrpc").keys()
    assert more.finetune_section("mrpc", "seed-3") == "<results>/config/finetune.mrpc.json"
    assert more.section("finetune.mrpc.task")["task"]["format"] == "mrpc"


@pytest.mark.parametrize("rates", [[], [1e-5, 1e-5], [1e-5, 0.0], [1e-5, 1.00000001e-5]])
def test_rates_that_are_no_grid_are_refused(rates):
    with pytest.raises(ConfigError, match="learning_rate"):
        check_with(finetune={"mrpc": {"learning_rate": rates}})


@pytest.mark.parametrize("length", [{"epochs": None}, {"steps": 10}])
def test_a_run_is_as_long_as_its_epochs_or_its_steps(length):
    with pytest.raises(ConfigError, match="write a number in one of them"):
        check_with(finetune={"mrpc": length})
