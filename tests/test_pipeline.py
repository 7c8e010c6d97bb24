"""The whole graph on a very small world: raw files to the report, and what reruns when.

One folder holds a copy of the project, so that tests can edit code and configuration in it. The
first run costs most of this file's time; the tests after it build on its results, in order.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bert.manifest import ROOT

TINY = """
run: tiny
generate: {people: 60, towns: 10, works: 16, organisations: 6, books: 4, chapters_per_book: 4,
           scenes_per_chapter: 2, train_questions: 24, dev_questions: 12, train_pairs: 24,
           dev_pairs: 12}
split: {parts: 3, held_out: {fraction: 0.1}}
vocab: {size: 600}
encode: {phase1: {dupe_factor: 1}, phase2: {dupe_factor: 1}}
shard: {shards: 5}
model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}
pretrain:
  phase1: {steps: 12, batch: 8, evaluation: {every: 6, instances: 20}}
  phase2: {steps: 6, batch: 4, evaluation: {every: 3, instances: 20}}
finetune:
  squad: {seeds: [1], epochs: 1}
  mrpc: {seeds: [1], epochs: 1}
gate: {action: warn}
runtime: {checkpoint: {every_steps: 2}}
"""
DATA_STAGES = ("extract", "filter", "split", "vocab", "encode", "shard")


class Project:
    """A copy of the project with the tiny recipe."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("bert", "scripts", "workflow", "config", "profiles"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / "tiny.yaml").write_text(TINY)

    def command(self, *arguments, cores=2):
        recipe = ["--configfile", "config/recipes/demo.yaml", "tiny.yaml"]
        return [sys.executable, "-m", "snakemake", "--cores", str(cores), *recipe, *arguments]

    @property
    def environment(self):
        return os.environ | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def run(self, *arguments, cores=2):
        return subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def start(self, *arguments):
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def planned(self, *arguments):
        """Rules that a run would execute, with their number of jobs."""
        result = self.run("--dry-run", *arguments)
        assert result.returncode == 0, result.stderr
        table = (result.stdout + result.stderr).partition("Job stats:")[2]
        jobs = re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)
        return {rule: int(count) for rule, count in jobs if rule not in {"total", "all"}}

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def results(self, run="tiny"):
        return self.folder / "results" / run

    def final_digests(self, run="tiny"):
        return [
            json.loads((self.results(run) / f"pretrain/phase{n}/manifest.json").read_text())[
                "checkpoint"
            ]
            for n in (1, 2)
        ]


def digests(folder):
    """sha256 of all data files of a run by stage and name; which job wrote one does not count."""
    files = [
        (stage, path)
        for stage in DATA_STAGES
        for path in sorted((folder / stage).rglob("*"))
        if path.is_file() and path.suffix != ".json" and not path.name.startswith(".")
    ]
    return {
        f"{stage}/{phase}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for stage, path in files
        for phase in [next((p for p in path.parts if p.startswith("phase")), "")]
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny recipe, run to its report with two cores."""
    project = Project(tmp_path_factory.mktemp("project"))
    result = project.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Report   results/tiny/report/report.html" in result.stderr
    return project


def test_raw_files_become_scores_and_a_report(project):
    results = project.results()

    scores = json.loads((results / "report/scores.json").read_text())

    assert set(scores["tasks"]) == {"squad", "mrpc"}
    assert set(scores["tasks"]["squad"]) == {"pretrained", "random"}
    assert (results / "report/report.html").stat().st_size > 10_000
    assert (results / "export/model/model.safetensors").exists()
    for task in ("squad", "mrpc"):
        assert (results / f"publish/{task}/model/model.safetensors").exists()
        assert (results / f"gate/{task}.json").exists()


def test_counts_add_up_from_documents_to_shards(project):
    def counts(pattern):
        return [
            json.loads(path.read_text())["counts"]
            for path in sorted(project.results().glob(pattern))
        ]

    extracted = sum(c["documents"] for c in counts("extract/*/manifest.json"))
    (split,) = counts("split/manifest.json")
    encoded = counts("encode/phase1/00*.json")
    held_out = counts("encode/phase1/held_out.json")
    sharded = counts("shard/phase1/*.json")

    left_out = sum(count for name, count in split.items() if name.startswith("skipped_"))
    assert extracted == split["documents"]
    assert extracted == split["training_documents"] + split["held_out_documents"] + left_out
    assert split["dealt_documents"] == sum(c["documents"] for c in encoded)
    assert split["held_out_documents"] == sum(c["documents"] for c in held_out)
    assert sum(c["instances"] for c in encoded) == sum(c["instances"] for c in sharded)
    assert sum(c["tokens"] for c in encoded) == sum(c["tokens"] for c in sharded)
    assert sum(c["shards"] for c in sharded) == 5


def test_a_second_run_does_nothing(project):
    result = project.run()

    assert "Nothing to be done" in result.stdout + result.stderr


def test_a_docstring_edit_reruns_nothing(project):
    file, old = "bert/data/pairs.py", "The instances of one pass over the documents"
    project.edit(file, old, "The instances of a pass over the documents")

    assert project.planned() == {}
    project.edit(file, "The instances of a pass over the documents", old)


def test_a_code_edit_reruns_the_stages_that_use_it_and_those_below(project):
    file, old, new = "bert/data/pairs.py", "length_a, length_b =", "length_a, length_b, _ ="
    project.edit(file, old, new)
    planned = project.planned()
    project.edit(file, new, old)

    assert "encode" in planned
    assert "shard" in planned
    assert "report" in planned
    assert not {"generate", "fetch", "extract", "split", "vocab"} & set(planned)


def test_runtime_settings_rerun_no_stage(project):
    file = "tiny.yaml"
    project.edit(file, "{every_steps: 2}", "{every_steps: 3}, micro_batch_tokens: 100")
    planned = project.planned()
    project.edit(file, "{every_steps: 3}, micro_batch_tokens: 100", "{every_steps: 2}")

    assert set(planned) <= {"section"}


TASKS = {"finetune", "score", "publish", "report", "gate"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("squad: {seeds: [1]", "squad: {learning_rate: 0.1, seeds: [1]", {"section"} | TASKS),
        ("squad: {seeds: [1]", "squad: {task: {n_best: 3}, seeds: [1]",
         {"section", "features"} | TASKS),
        ("phase2: {steps: 6", "phase2: {learning_rate: 0.01, steps: 6",
         {"section", "examine", "pretrain", "evaluate", "export"} | TASKS),
        # max_instances: steps, so encode makes as many instances as the steps will see.
        ("phase2: {steps: 6", "phase2: {steps: 7",
         {"section", "encode", "shard", "examine", "pretrain", "evaluate", "export"} | TASKS),
        ("vocab: {size: 600}", "vocab: {size: 600}\nreport: {title: Another}",
         {"section", "report"}),
        ("vocab: {size: 600}", "vocab: {size: 600}\nevaluate: {seed: 1}",
         {"section", "evaluate", "report"}),
        ("gate: {action: warn}", "gate: {action: fail}", {"section", "gate", "report"}),
        ("gate: {action: warn}", "gate: {action: warn}\npublish: {pick: median}",
         {"section", "publish"}),
    ],
)  # fmt: skip
def test_a_section_reruns_exactly_its_readers_and_what_follows(project, old, new, expected):
    project.edit("tiny.yaml", old, new)
    planned = project.planned()
    project.edit("tiny.yaml", new, old)

    assert set(planned) == expected
    assert planned["section"] == 1 + ("encode" in expected)
    if "pretrain" in expected:
        assert planned["pretrain"] == 1, "phase 1 does not read the section of phase 2"
    elif "finetune" in expected:
        assert planned["finetune"] == 2, "only SQuAD's two runs read SQuAD's section"


def test_another_seed_trains_nothing_but_that_seed(project):
    project.edit("tiny.yaml", "mrpc: {seeds: [1]", "mrpc: {seeds: [1, 2]")
    planned = project.planned()
    project.edit("tiny.yaml", "mrpc: {seeds: [1, 2]", "mrpc: {seeds: [1]")

    assert set(planned) == {"section"} | TASKS
    assert (planned["section"], planned["finetune"], planned["score"]) == (1, 2, 2)
    assert (planned["publish"], planned["gate"]) == (1, 1)


def test_one_core_and_one_worker_write_the_same_bytes(project):
    (project.folder / "one_job.yaml").write_text("run: single\nencode: {jobs: 1}\nshard: {jobs: 1}")
    single = ["one_job.yaml", "--until", "shard", "evaluate"]
    result = project.run(*single, cores=1)
    assert result.returncode == 0, result.stdout + result.stderr

    one, two = digests(project.results("single")), digests(project.results())

    assert one == two
    assert len([name for name in one if name.startswith("shard/phase2/")]) == 5


def test_killed_anywhere_the_run_ends_in_the_same_checkpoint(project):
    """Kills the workflow, and with it its jobs, at several moments, and starts it again."""
    run = ["--config", "run=killed"]
    for delay_s in (5.0, 9.0, 7.0, 8.0):
        process = project.start(*run)
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1.5)  # the jobs notice that their workflow is gone
    result = project.run(*run)

    assert result.returncode == 0, result.stdout + result.stderr
    assert project.final_digests("killed") == project.final_digests()


def test_two_runs_of_one_folder_at_once_are_refused(project):
    first = project.start("--config", "run=twice")
    try:
        lock = project.results("twice") / ".lock"
        for _ in range(200):
            if lock.exists():
                break
            time.sleep(0.1)
        result = project.run("--config", "run=twice")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()

    assert result.returncode != 0
    assert "Another snakemake is working on results/twice" in result.stdout + result.stderr


def test_a_mistyped_key_stops_before_any_job(project):
    result = project.run("--config", "split={partz: 3}")

    assert result.returncode != 0
    assert "split.partz is not a known key; did you mean `parts`?" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_raw_file_is_named(project):
    result = project.run("--config", "fetch={wikipedia: [{location: no/such.xml}]}")

    assert result.returncode != 0
    text = result.stdout + result.stderr
    assert "fetch.wikipedia names no/such.xml, which does not exist" in text


def test_a_failed_stage_says_why_and_leaves_no_output(project):
    result = project.run("--config", "run=failing", "split={parts: 400}", "--until", "split")

    assert result.returncode != 0
    text = result.stdout + result.stderr
    assert "split.parts" in text
    assert not list((project.results("failing") / "split").glob("*"))


def test_the_dry_run_of_the_full_recipe_has_few_coarse_jobs():
    """500 parts in 25 encode jobs and 2048 shards in 32 shard jobs, in each of two phases."""
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", result.stdout + result.stderr, re.MULTILINE))

    assert {name: jobs[name] for name in ("encode", "shard", "pretrain", "finetune")} == {
        "encode": str(2 * (25 + 1)),
        "shard": str(2 * 32),
        "pretrain": "2",
        "finetune": str(3 + 5),
    }
    assert Path(ROOT / "results").exists()
