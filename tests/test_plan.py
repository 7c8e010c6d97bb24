import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bert.config import check
from bert.data.encode import Part, encode_part
from bert.data.instance_config import InstanceConfig
from bert.data.tokenise import Tokeniser
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.manifest import ROOT
from bert.model.config import ModelConfig
from bert.optim.config import AdamWConfig
from bert.plan.calibrate import TrainingSpeed, given_speed, training_speed
from bert.plan.encoding import encode_speed
from bert.plan.page import free_bytes, human_bytes, page
from bert.plan.sizes import PlanError, expected_vocab_size, phase_size, raw_size, text_size
from bert.plan.stages import Row, Speeds, needed_disk, plan
from bert.recipe import check_recipe
from bert.train.config import RuntimeConfig
from tests.conftest import ADAMW, MODEL, RUNTIME

CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SPEED = TrainingSpeed(1e-6, 0.5, 3e8, 5e9)
SPEEDS = Speeds(4, 20e6, {1: SPEED, 2: SPEED})


def merge(base, changes):
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def recipe_with(tmp_path, monkeypatch, **changes):
    monkeypatch.chdir(tmp_path)
    return check_recipe(merge(CONFIG, changes))


def row(rows, stage):
    return next(row for row in rows if row.stage == stage)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The published recipe on one local text file of 1,000,000 bytes, with task data of 1,000."""
    for name, size in (("wiki.txt", 1_000_000), ("task", 1000), ("vocab.txt", 10)):
        (tmp_path / name).write_bytes(b"x" * size)
    items = {name: [{"location": "task"}] for name in ("squad_train", "squad_dev", "mrpc")}
    items |= {"wikipedia": [{"location": "wiki.txt"}], "vocabulary": [{"location": "vocab.txt"}]}
    source = {"format": "results4", "raw": "wikipedia", "pattern": "*", "licence": "none"}
    return recipe_with(tmp_path, monkeypatch, fetch=items, extract={"wikipedia": drop(source)})


def drop(source):
    """The source in place of the published one, whose own keys go."""
    return dict.fromkeys(CONFIG["extract"]["wikipedia"]) | source


def test_the_published_recipe_needs_what_its_sizes_say(tmp_path, monkeypatch):
    """17.75 GB of bzip2 give 13 GB of text, which stands there as documents and as parts."""
    recipe = recipe_with(tmp_path, monkeypatch)
    rows = plan(recipe, SPEEDS, 30_522, {})

    assert row(rows, "fetch").disk == pytest.approx(17.75e9, rel=0.01)
    assert row(rows, "extract").disk == row(rows, "split").disk == pytest.approx(13e9, rel=0.01)
    assert row(rows, "shard phase1").jobs == 32
    assert row(rows, "encode phase1").jobs == 25 + 1
    steps, batch = (CONFIG["pretrain"]["phase1"][name] for name in ("steps", "batch"))
    tokens = row(rows, "pretrain phase1").wall_seconds - steps * SPEED.seconds_per_update
    assert 100 < tokens / SPEED.seconds_per_token / (steps * batch) < 128


def test_a_tenth_of_the_machine_takes_ten_times_as_long(recipe):
    one = plan(recipe, SPEEDS, 30_522, {})
    slow = {n: speed._replace(seconds_per_token=1e-5) for n, speed in SPEEDS.training.items()}
    other = plan(recipe, Speeds(4, 2e6, slow), 30_522, {})

    for stage in ("extract", "filter", "split", "encode phase1", "shard phase2", "finetune"):
        assert row(other, stage).wall_seconds == pytest.approx(10 * row(one, stage).wall_seconds)


def test_cores_share_the_work_of_the_data_stages(recipe):
    one, eight = (plan(recipe, SPEEDS._replace(cores=cores), 30_522, {}) for cores in (1, 8))

    assert row(eight, "encode phase1").core_seconds == row(one, "encode phase1").core_seconds
    assert row(one, "encode phase1").wall_seconds == pytest.approx(
        8 * row(eight, "encode phase1").wall_seconds
    )


def test_a_cap_bounds_the_instances_and_their_disk(recipe):
    section = recipe.encode.phase1
    free = phase_size(1e9, section.model_copy(update={"max_instances": None}), 30_522)
    capped = phase_size(1e9, section.model_copy(update={"max_instances": 1000}), 30_522)

    assert capped.instances == 1000
    assert capped.bytes / capped.instances == pytest.approx(free.bytes / free.instances)
    wide = phase_size(1e9, section.model_copy(update={"max_instances": 1000}), 70_000)
    assert wide.bytes - capped.bytes == pytest.approx(2 * capped.tokens)


def test_the_cap_of_the_steps_is_what_training_sees(recipe):
    rows = plan(recipe, SPEEDS, 30_522, {})
    changes = {"steps": 10, "batch": 10}
    phase = recipe.pretrain.phase1.model_copy(update=changes)
    short = recipe.model_copy(
        update={"pretrain": recipe.pretrain.model_copy(update={"phase1": phase})}
    )

    assert row(plan(short, SPEEDS, 30_522, {}), "encode phase1").disk < 100 * 300
    assert row(rows, "encode phase1").disk > 100 * 300


def make_text(path, documents):
    """English-like text whose words are all in the vocabulary: about 4.7 bytes a token."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), n)) for n in rng.integers(2, 6, 300)]
    lines = []
    for _ in range(documents):
        for _ in range(int(rng.integers(10, 30))):
            lines.append(" ".join(rng.choice(words, int(rng.integers(8, 30)))))
        lines.append("")
    path.write_text("\n".join(lines[:-1]) + "\n")
    return words


@pytest.mark.parametrize("objective", ["next_sentence", "sentence_order", "full_sentences"])
def test_estimated_instances_are_near_those_that_encode_makes(tmp_path, objective):
    words = make_text(tmp_path / "part-00000-of-00001", 600)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    write_vocabulary(tmp_path, list(dict.fromkeys([*specials, *words])), lowercase=True)
    random_next = 0.5 if objective == "next_sentence" else None
    changes = {"objective": objective, "random_next_prob": random_next, "max_instances": None}
    config = check(InstanceConfig, CONFIG["encode"]["phase1"] | changes, where="a test")
    text = tmp_path / "part-00000-of-00001"
    vocabulary = load_vocabulary(tmp_path)
    counts = encode_part(
        Part(text, 1, 0, None), tmp_path / "a.h5", Tokeniser(tmp_path), vocabulary, config
    )

    found = phase_size(text.stat().st_size, config, vocabulary.size)

    assert found.instances == pytest.approx(counts.numbers["instances"], rel=0.15)
    assert found.bytes == pytest.approx((tmp_path / "a.h5").stat().st_size, rel=0.15)


def test_sizes_that_are_known_are_not_estimated(recipe):
    manifest = Path(recipe.results, "extract/wikipedia/manifest.json")
    assert text_size(recipe, "wikipedia", {}) == (1_000_000, False)
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"counts": {"bytes": 123}}))

    assert text_size(recipe, "wikipedia", {}) == (123, True)
    assert raw_size(recipe, "wikipedia", {}) == (1_000_000, True)
    assert raw_size(recipe, "wikipedia", {"wikipedia": 5e9}) == (5e9, True)
    fetched = Path(recipe.results, "fetch/wikipedia.json")
    fetched.parent.mkdir()
    fetched.write_text(json.dumps({"files": [{"path": "a/wiki.txt", "bytes": 77}]}))
    assert raw_size(recipe, "wikipedia", {}) == (77, True)
    assert raw_size(recipe, "wikipedia", {}, "*.bz2") == (0, True)


def test_a_size_that_nobody_knows_is_asked_for(tmp_path, monkeypatch):
    items = {"wikipedia": [{"location": "https://example.org/a.xml.bz2"}]}
    recipe = recipe_with(tmp_path, monkeypatch, fetch=items)

    with pytest.raises(PlanError, match=r"--size wikipedia=25e9"):
        plan(recipe, SPEEDS, 30_522, {})
    assert plan(recipe, SPEEDS, 30_522, {"wikipedia": 1e9})


def test_a_missing_local_file_is_asked_for(recipe):
    Path("wiki.txt").unlink()

    with pytest.raises(PlanError, match="does not exist yet"):
        plan(recipe, SPEEDS, 30_522, {})


def test_given_shards_are_checked_and_not_made(recipe):
    phase = {"train": "mrpc", "held_out": "mrpc", "max_seq_length": 128, "max_predictions": 20}
    given = {"phase1": phase, "phase2": phase}
    values = recipe.model_dump(mode="json")
    values["shard"]["given"] = given
    stages = [row.stage for row in plan(check_recipe(values), SPEEDS, 30_522, {})]

    assert stages[:5] == ["fetch", "vocab", "shard phase1", "shard phase2", "pretrain phase1"]


def test_finished_stages_need_no_more_disk(recipe):
    before = plan(recipe, SPEEDS, 30_522, {})
    manifest = Path(recipe.results, "split/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    after = plan(recipe, SPEEDS, 30_522, {})

    assert row(after, "split").done
    assert needed_disk(before) - needed_disk(after) == row(before, "split").disk
    lines = page(after, cores=4, free=1e9).splitlines()
    assert ["split", "1", "done"] in [line.split() for line in lines]


def test_a_phase_is_done_when_all_its_jobs_are(recipe):
    folder = Path(recipe.results, "shard/phase1")
    folder.mkdir(parents=True)
    for job in range(31):
        folder.joinpath(f"{job:03d}.json").write_text("{}")
    assert not row(plan(recipe, SPEEDS, 30_522, {}), "shard phase1").done
    folder.joinpath("031.json").write_text("{}")

    assert row(plan(recipe, SPEEDS, 30_522, {}), "shard phase1").done


def test_the_page_adds_up_what_is_left_to_do():
    rows = [
        Row("extract", 1, 2e9, 1e8, 7200, 3600),
        Row("split", 1, 1e9, 2e8, 60, 60, done=True),
        Row("encode phase1", 3, 5e9, 3e8, 3600, 1800),
    ]
    last = page(rows, cores=2, free=1e12).splitlines()[-3]

    assert last.split() == [
        *("still", "to", "do", "4", "7.0", "GB", "300", "MB", "3.0", "1.5", "h")
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (999, "999 B"), (12e3, "12.0 kB"), (539e9, "539 GB")]
)
def test_bytes_are_told_in_decimal_units(size, text):
    assert human_bytes(size) == text


def test_free_disk_is_that_of_the_nearest_folder_that_exists(tmp_path):
    there = shutil.disk_usage(tmp_path).free

    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(there, rel=0.05)


def test_the_trial_scales_with_the_layers_and_counts_the_parameters():
    model = check(ModelConfig, MODEL | {"hidden_size": 32}, where="a test")
    runtime = check(RuntimeConfig, RUNTIME, where="a test")
    optimizer = check(AdamWConfig, ADAMW, where="a test")

    def trial(layers):
        return training_speed(
            model.model_copy(update={"num_hidden_layers": layers}), optimizer, runtime,
            torch.device("cpu"), vocab_size=100, length=16,
        )  # fmt: skip

    two, eight = trial(2), trial(8)
    exact = given_speed(
        model.model_copy(update={"num_hidden_layers": 8}), vocab_size=100, tokens_per_second=1e3
    )
    assert eight.parameters == exact.parameters > two.parameters
    assert eight.seconds_per_token > 0
    assert exact.seconds_per_token == 1e-3


def test_the_vocabulary_is_as_large_as_made_or_as_configured(recipe):
    assert expected_vocab_size(recipe) == 30_522
    manifest = Path(recipe.results, "vocab/manifest.json")
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"counts": {"tokens": 1234}}))

    assert expected_vocab_size(recipe) == 1234


@pytest.mark.slow
def test_the_trial_of_encode_gives_a_speed(recipe):
    assert encode_speed(recipe.encode.phase1) > 1e5


def test_weights_of_the_tasks_stay_where_a_model_is_published(recipe):
    none = recipe.model_copy(update={"publish": None})
    runs, parameters = len(recipe.runs()), SPEEDS.training[2].parameters

    assert row(plan(recipe, SPEEDS, 30_522, {}), "finetune").disk == 4 * runs * parameters
    assert row(plan(none, SPEEDS, 30_522, {}), "finetune").disk == 0
