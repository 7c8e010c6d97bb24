import copy
import json
from pathlib import Path

import pytest
import yaml

from bert.config import ConfigError
from bert.manifest import ROOT
from bert.recipe import SCHEMA, check_recipe, main, schema

CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
RECIPES = sorted((ROOT / "config" / "recipes").glob("*.yaml"))


def merge(base, overlay):
    """Mappings merge key by key, everything else is replaced: Snakemake's rule."""
    if not isinstance(base, dict) or not isinstance(overlay, dict):
        return overlay
    return copy.deepcopy(base) | {
        key: merge(base.get(key), value) for key, value in overlay.items()
    }


def check_with(**overlay):
    return check_recipe(merge(CONFIG, overlay))


def test_the_default_recipe_is_the_published_bert_large():
    """NVIDIA DeepLearningExamples, pretrain_config.sh, and Devlin et al. 2019."""
    recipe = check_recipe(CONFIG)

    one, two = recipe.pretrain.phase1, recipe.pretrain.phase2
    assert (one.steps, one.batch, recipe.encode.phase1.max_seq_length) == (7038, 65_536, 128)
    assert (two.steps, two.batch, recipe.encode.phase2.max_seq_length) == (1563, 32_768, 512)
    assert (one.learning_rate, two.learning_rate) == (6e-3, 4e-3)
    assert (one.schedule.warmup_proportion, two.schedule.warmup_proportion) == (0.2843, 0.128)
    assert (one.optimizer.name, one.optimizer.variant) == ("lamb", "nvidia")
    assert (recipe.split.parts, recipe.shard.shards) == (500, 2048)
    assert recipe.model.num_hidden_layers == 24


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(path):
    recipe = check_recipe(merge(CONFIG, yaml.safe_load(path.read_text())))

    assert recipe.run != CONFIG["run"], "a recipe must not share the default's results folder"


def test_the_committed_schema_is_the_one_of_the_classes():
    assert json.loads(SCHEMA.read_text()) == schema()
    assert main(["--check"]) == 0


def test_every_knob_of_the_schema_has_a_description():
    definitions = schema()["$defs"] | {"Recipe": {"properties": schema()["properties"]}}
    bare = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]

    assert not bare


def test_only_what_may_be_unknown_of_a_raw_file_has_a_default_value():
    with_default = [
        f"{name}.{key}"
        for name, definition in schema()["$defs"].items()
        for key, field in definition.get("properties", {}).items()
        if "default" in field
    ]

    known_of_a_file = ("size", "sha256", "md5", "sha1")
    ways = ("listing", "pattern", "checksums", "mirrors")
    assert with_default == [f"RawFile.{key}" for key in (*known_of_a_file, *ways)]


def test_unknown_arguments_of_the_schema_command_are_refused(capsys):
    assert main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def test_all_problems_are_reported_at_once():
    values = merge(
        CONFIG,
        {
            "split": {"partz": 3},
            "pretrain": {"phase1": {"learning_rate": "6e-3", "steps": -1}},
            "finetune": {"mrpc": {"task": {"layout": "xml"}}},
        },
    )
    del values["shard"]["seed"]

    with pytest.raises(ConfigError) as caught:
        check_recipe(values)

    text = str(caught.value)
    assert text.startswith("5 problems in the configuration (config/config.yaml and overlays)")
    assert "split.partz is not a known key; did you mean `parts`?" in text
    assert 'pretrain.phase1.learning_rate is "6e-3"' in text
    assert "YAML reads 6e-3 as text, 6.0e-3 as a number" in text
    assert "pretrain.phase1.steps is -1; it must be greater than or equal to 1" in text
    assert "finetune.mrpc.task.layout is \"xml\"; it must be 'glue' or 'microsoft'" in text


def test_sections_that_disagree_are_each_reported():
    with pytest.raises(ConfigError) as caught:
        check_with(
            vocab={"raw": "nothing"},
            encode={"phase2": {"max_seq_length": 1024}},
            extract={"books": {"format": "books", "raw": "books", "pattern": "*.txt",
                               "licence": "CC0-1.0", "chapters_are_documents": True}},
        )  # fmt: skip

    text = str(caught.value)
    assert "3 problems" in text
    assert "vocab.raw is 'nothing', which `fetch` does not have" in text
    assert "extract.books.raw is 'books', which `fetch` does not have" in text
    assert "encode.phase2.max_seq_length is 1024, more than model.max_position_embeddings" in text


def test_half_a_second_phase_is_refused():
    with pytest.raises(ConfigError, match="both be there or both be null"):
        check_with(pretrain={"phase2": None})


def test_a_first_phase_cannot_go_on_from_a_previous_one():
    with pytest.raises(ConfigError, match=r"pretrain.phase1.start is previous"):
        check_with(pretrain={"phase1": {"start": "previous"}})


@pytest.mark.parametrize("start", ["continued", "weights"])
def test_no_start_in_phase_1_goes_on_from_a_phase(start):
    with pytest.raises(ConfigError, match=f"phase1.start is {start}, but no phase goes before it"):
        check_with(pretrain={"phase1": {"start": start}})


def test_one_schedule_over_both_phases_must_be_the_same_in_both():
    total = {"schedule": {"total_steps": 8601}}
    second = {"start": "continued", "schedule": {"total_steps": 8601, "steps_before": 7038}}
    check_with(pretrain={"phase1": total, "phase2": second})

    with pytest.raises(ConfigError) as caught:
        check_with(pretrain={"phase2": {"start": "continued", "schedule": {"total_steps": 9000}}})

    text = str(caught.value)
    assert "phase2.schedule.steps_before is 0, but its start is continued, after the 7038" in text
    assert "total_steps is None in phase 1 and 9000 in phase 2" in text
    assert "at least the 8601 steps of the two" in text


def test_a_network_that_transformers_does_not_have_is_no_target():
    recipe = check_with(model={"norm": "pre"})

    assert recipe.model_export() == []
    assert recipe.jobs()["export"] == []
    assert check_recipe(CONFIG).model_export() == ["<results>/export/manifest.json"]
    assert check_recipe(CONFIG).jobs()["export"] == [""]


def test_a_recipe_without_text_is_refused():
    with pytest.raises(ConfigError, match="extract has no source"):
        check_with(extract={"wikipedia": None})


def test_a_run_name_that_leaves_its_folder_is_refused():
    with pytest.raises(ConfigError, match=r'run is "\.\./elsewhere"'):
        check_with(run="../elsewhere")


def test_null_drops_a_source_a_task_and_a_phase():
    recipe = check_with(finetune={"mrpc": None}, encode={"phase2": None}, pretrain={"phase2": None})

    assert list(recipe.tasks) == ["squad"]
    assert recipe.phases == [1]
    assert recipe.jobs()["pretrain"] == ["phase1"]


def test_a_mistyped_key_with_null_is_refused():
    with pytest.raises(ConfigError, match=r"keep_evry is not a known key; did you mean"):
        check_with(runtime={"checkpoint": {"keep_evry": None}})


@pytest.mark.parametrize(("parts", "jobs"), [(500, 25), (7, 3), (3, 25)])
def test_encode_jobs_share_the_parts_without_gap_or_overlap(parts, jobs):
    recipe = check_with(split={"parts": parts}, encode={"jobs": jobs})

    named = [name for job in recipe.encode_jobs() for name in recipe.parts_of_job(f"{job:03d}")]

    assert named == [f"parts/part-{n:05d}-of-{parts:05d}" for n in range(parts)]
    assert recipe.parts_of_job("held_out") == ["held_out.txt"]


def test_a_folder_stands_in_the_graph_for_the_files_in_it(tmp_path):
    for name in ("a.txt", "deep/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    item = {"location": str(tmp_path)}
    recipe = check_with(fetch={"books": [item]})

    inputs = [Path(path).relative_to(tmp_path).as_posix() for path in recipe.local_inputs("books")]

    assert inputs == ["a.txt", "deep/b.txt"]
    assert recipe.local_inputs("wikipedia") == []


def test_results_in_a_location_is_the_folder_of_the_run():
    item = {"location": "<results>/generate/books"}
    recipe = check_with(run="mine", fetch={"books": [item]})

    assert recipe.section("fetch.books")[0]["location"] == "results/mine/generate/books"
    assert recipe.local_inputs("books") == ["results/mine/generate/books"]


def test_a_section_is_found_by_its_key_path():
    recipe = check_recipe(CONFIG)

    assert recipe.section("evaluate") == CONFIG["evaluate"]


@pytest.mark.parametrize(("given", "found"), [("steps", 7038 * 65_536), (1000, 1000), (None, None)])
def test_the_cap_of_the_instances_is_worked_out_for_encode(given, found):
    recipe = check_with(encode={"phase1": {"max_instances": given}})

    assert recipe.section("encode.phase1")["max_instances"] == found


def test_a_second_task_without_labels_is_refused():
    full = {"objective": "full_sentences", "random_next_prob": None}
    with pytest.raises(ConfigError, match=r"next_sentence is true, but encode.phase2.objective"):
        check_with(encode={"phase2": full})
    check_with(encode={"phase1": full, "phase2": full}, model={"next_sentence": False})


def test_stored_masks_that_nobody_stores_are_refused():
    with pytest.raises(ConfigError, match=r"encode.phase1.masking is null, too, so none are"):
        check_with(pretrain={"phase1": {"masking": None}})
    masking = CONFIG["pretrain"]["phase1"]["masking"]
    check_with(pretrain={"phase1": {"masking": None}}, encode={"phase1": {"masking": masking}})


def test_settings_of_another_objective_are_refused_with_their_section():
    with pytest.raises(ConfigError, match=r"encode.phase1: overlap is 3, but only full_sentences"):
        check_with(encode={"phase1": {"overlap": 3}})


def test_lists_weights_and_task_texts_must_name_what_there_is():
    with pytest.raises(ConfigError) as caught:
        check_with(
            split={
                "held_out": {"fraction": None, "list": "validation"},
                "train_list": "training",
                "weights": {"wiki": 2.0, "books": None, "wikipedia": 0.5},
            },
            filter={"contamination": {"references": {"squad_dev": {"raw": "gone"}}}},
        )

    text = str(caught.value)
    assert "4 problems" in text
    assert "split.held_out.list is 'validation', which `fetch` does not have" in text
    assert "split.train_list is 'training', which `fetch` does not have" in text
    assert "filter.contamination.references.squad_dev.raw is 'gone'" in text
    assert "split.weights.wiki weighs no source; `extract` has wikipedia" in text


def test_a_recipe_without_filter_reads_no_task_text():
    recipe = check_with(filter=None)

    assert recipe.task_texts() == []
    assert recipe.jobs()["filter"] == []
    assert check_recipe(CONFIG).task_texts()[0] == "<results>/fetch/squad_train.json"


GIVEN = {
    "fetch": {"shards": [{"location": "a"}], "held": [{"location": "b"}]},
    "shard": {
        "given": {
            "phase1": {"train": "shards", "held_out": "held", "max_seq_length": 128,
                       "max_predictions": 20},
            "phase2": None,
        }
    },
    "pretrain": {"phase2": None},
    "encode": {"phase2": None},
}  # fmt: skip


def test_given_shards_need_no_stage_before_them():
    recipe = check_with(**GIVEN)

    assert recipe.sources == []
    assert recipe.sharded("1", ".json") == ["<results>/shard/phase1/000.json"]
    assert recipe.held_out("1", ".json") == "<results>/shard/phase1/held_out.json"
    assert recipe.given_item("1", "000") == ["<results>/fetch/shards.json"]
    assert recipe.given_item("1", "held_out") == ["<results>/fetch/held.json"]
    assert recipe.jobs()["encode"] == recipe.jobs()["extract"] == []
    assert recipe.jobs()["shard"] == ["phase1/000", "phase1/held_out"]


def test_given_shards_that_do_not_fit_the_recipe_are_refused():
    with pytest.raises(ConfigError) as caught:
        check_with(**merge(GIVEN, {
            "shard": {"given": {"phase1": {"train": "none", "max_seq_length": 1024},
                                "phase2": GIVEN["shard"]["given"]["phase1"]}},
        }))  # fmt: skip

    text = str(caught.value)
    assert "shard.given.phase1.train is 'none', which `fetch` does not have" in text
    assert "shard.given.phase1.max_seq_length is 1024, more than model.max_position" in text
    assert "shard.given.phase2 and pretrain.phase2 must both be there" in text


def test_exports_are_targets_for_each_phase():
    export = {"format": "mlperf_fixed", "max_predictions": 76, "files": 8, "seed": 1,
              "masking": None}  # fmt: skip

    recipe = check_with(dialect={"intel": export, "none": None})

    assert recipe.exports() == [f"<results>/dialect/intel/phase{n}.json" for n in (1, 2)]
    assert check_recipe(CONFIG).exports() == []


def test_gradients_travel_in_fp16_only_with_a_loss_scale():
    check_with(runtime={"precision": "fp16", "all_reduce": {"dtype": "fp16"}})
    with pytest.raises(ConfigError, match=r"all_reduce.dtype is fp16 with precision bf16"):
        check_with(runtime={"precision": "bf16", "all_reduce": {"dtype": "fp16"}})


def test_a_time_budget_refuses_a_schedule_that_counts_steps():
    counting = {"warmup_proportion": None, "warmup_steps": 10}
    with pytest.raises(ConfigError, match=r"budget_hours is 1.0, .* the schedule counts steps"):
        check_with(pretrain={"phase1": {"budget_hours": 1.0, "schedule": counting}})
