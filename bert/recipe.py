"""A whole recipe: all sections together, what they must agree on, and the graph they make.

Only the workflow, the schema and the tests read this module; a stage is handed its own section.
It imports no torch, so a recipe is checked before any job starts, in a fraction of a second.

    python -m bert.recipe            write workflow/schemas/config.schema.json
    python -m bert.recipe --check    compare it with the classes instead
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import model_validator

from bert.agreements import disagreements
from bert.config import check
from bert.manifest import ROOT, write_json
from bert.sections import Sections

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"


class Recipe(Sections):
    """A recipe whose sections agree, and the graph that they make."""

    def task_texts(self) -> list[str]:
        """Manifests of the fetch items whose texts the filter looks for, for the graph."""
        if self.filter is None or self.filter.contamination is None:
            return []
        items = {one.raw: None for one in self.filter.contamination.named().values()}
        return [f"<results>/fetch/{item}.json" for item in items]

    def encode_jobs(self) -> range:
        """Numbers of the encode jobs of a phase; never more than parts."""
        return range(min(self.encode.jobs, self.split.parts))

    def parts_of_job(self, job: str) -> list[str]:
        """Names of the files that an encode job reads; `held_out` reads the held-out text."""
        if job == "held_out":
            return ["held_out.txt"]
        jobs, parts = len(self.encode_jobs()), self.split.parts
        numbers = range(int(job) * parts // jobs, (int(job) + 1) * parts // jobs)
        return [f"parts/part-{n:05d}-of-{parts:05d}" for n in numbers]

    def encoded(self, phase: str, ending: str = "") -> list[str]:
        """Outputs of all encode jobs of a phase for the graph, without the held-out one."""
        return [f"<results>/encode/phase{phase}/{job:03d}{ending}" for job in self.encode_jobs()]

    def sharded(self, phase: str, ending: str = "") -> list[str]:
        """Outputs of all shard jobs of a phase for the graph."""
        return [f"<results>/shard/phase{phase}/{job:03d}{ending}" for job in self.shard_jobs()]

    def held_out(self, phase: str, ending: str = "") -> str:
        """Held-out instances of a phase for the graph: made from text, or given."""
        stage = "encode" if self.shard.given is None else "shard"
        return f"<results>/{stage}/phase{phase}/held_out{ending}"

    def given_item(self, phase: str, job: str) -> list[str]:
        """Manifest of the raw shards that a job of `shard` checks, for the graph."""
        given = self.given(phase)
        if given is None:
            return []
        item = given.held_out if job == "held_out" else given.train
        return [f"<results>/fetch/{item}.json"]

    def exports(self) -> list[str]:
        """Manifests of the exports to other formats, for the graph."""
        names = [name for name, section in (self.dialect or {}).items() if section is not None]
        phases = [f"phase{number}" for number in self.phases]
        return [f"<results>/dialect/{name}/{phase}.json" for name in names for phase in phases]

    def previous_checkpoint(self, phase: str) -> list[str]:
        """Checkpoint that a phase goes on from, if there is one, for the graph."""
        if self.convert is not None and phase == str(self.phases[0]):
            return ["<results>/convert/checkpoint"]
        before = int(phase) - 1
        return [f"<results>/pretrain/phase{before}/checkpoint"] if before else []

    def final_checkpoint(self) -> str:
        """The pretrained weights, trained here or converted, for the graph."""
        if not self.phases:
            return "<results>/convert/checkpoint"
        return f"<results>/pretrain/phase{self.phases[-1]}/checkpoint"

    def model_section(self) -> str:
        """File with the network's shape: the section, or what `convert` found, for the graph."""
        stage = "config" if self.convert is None else "convert"
        return f"<results>/{stage}/model.json"

    def finetune_section(self, task: str, trial: str) -> str:
        """File with what a trial is told, for the graph; with one rate the same for all trials."""
        prefix, _, _ = trial.rpartition("seed-")
        return f"<results>/config/finetune.{task}.{prefix}json"

    def model_export(self) -> list[str]:
        """Manifest of the export for transformers, for the graph; none if its BERT has no such."""
        wanted = self.model.norm == "post" and bool(self.phases)
        return ["<results>/export/manifest.json"] if wanted else []

    def published(self) -> list[str]:
        """Manifests of the fine-tuned models that are kept, for the graph."""
        if self.publish is None or self.model.norm != "post":
            return []
        tasks = [name for name, task in self.tasks.items() if "pretrained" in task.starts]
        return [f"<results>/publish/{task}/manifest.json" for task in tasks]

    def gates(self) -> list[str]:
        """Verdicts over the tasks, for the graph."""
        tasks = [name for name, task in self.tasks.items() if "pretrained" in task.starts]
        return [f"<results>/gate/{task}.json" for task in tasks]

    def shard_jobs(self) -> range:
        """Numbers of the shard jobs of a phase; never more than shards, one if they are given."""
        if self.shard.given is not None:
            return range(1)
        return range(min(self.shard.jobs, self.shard.shards))

    def local_inputs(self, name: str) -> list[str]:
        """Local files of a fetch item, for the graph; a folder stands for the files in it."""
        paths: list[str] = []
        for item in self.fetch[name] or []:
            if item.is_url:
                continue
            location = self.locate(item.location)
            folder = Path(location)
            if folder.is_dir() and not location.startswith(self.results + "/"):
                paths += sorted(str(p) for p in folder.rglob("*") if p.is_file())
            else:
                paths.append(location)
        return paths

    def missing_raw(self) -> list[str]:
        """Problems with local raw items that are gone and were never fetched as they are named.

        Raw files may be deleted once they are extracted. But a location that was changed to one
        that does not exist would otherwise go unseen: Snakemake takes what an earlier
        configuration fetched for good when the new input is missing.
        """
        problems = []
        for name, items in self.fetch.items():
            used = Path(self.results) / "config" / f"fetch.{name}.json"
            if used.exists() and json.loads(used.read_text("utf-8")) == self.section(
                f"fetch.{name}"
            ):
                continue
            problems += [
                f"fetch.{name} names {location}, which does not exist; expected a file or folder "
                "there, relative to the working directory. Correct the location."
                for location in (
                    self.locate(item.location) for item in items or [] if not item.is_url
                )
                if not Path(location).exists() and not location.startswith(self.results + "/")
            ]
        return problems

    def locate(self, location: str) -> str:
        """`location` with <results> replaced by this run's folder."""
        return location.replace("<results>", self.results)

    def jobs(self) -> dict[str, list[str]]:
        """Stage to the jobs of this run, as their receipts are named."""
        phases = [f"phase{number}" for number in self.phases]
        held_out = [f"{phase}/held_out" for phase in phases]
        made: dict[str, list[str]]
        if not self.phases:
            made = {stage: [] for stage in ("extract", "filter", "encode", "shard")}
        elif self.shard.given is not None:
            shards = [f"{p}/000" for p in phases] + held_out
            made = {
                "extract": [],
                "filter": [],
                "encode": [],
                "shard": shards,
            }
        else:
            made = self._jobs_from_text(phases, held_out)
        return made | {
            "convert": [] if self.convert is None else [""],
            "examine": phases,
            "pretrain": phases,
            "evaluate": phases,
            "features": list(self.tasks),
            "finetune": self.runs(),
            "score": self.runs(),
            "export": [""] * len(self.model_export()),
        }

    def _jobs_from_text(self, phases: list[str], held_out: list[str]) -> dict[str, list[str]]:
        return {
            "extract": self.sources,
            "filter": [] if self.filter is None else [""],
            "encode": [f"{p}/{job:03d}" for p in phases for job in self.encode_jobs()] + held_out,
            "shard": [f"{p}/{job:03d}" for p in phases for job in self.shard_jobs()],
        }

    def runs(self) -> list[str]:
        """Fine-tuning runs as "task/start/trial"."""
        return [
            f"{task}/{start}/{trial}"
            for task, section in self.tasks.items()
            for start in section.starts
            for trial in section.trials()
        ]

    def trials(self, task: str, start: str) -> list[str]:
        """Runs of a task from one start, as "start/trial", for the graph."""
        return [f"{start}/{trial}" for trial in self.tasks[task].trials()]

    def section(self, path: str) -> Any:
        """Plain data of one section by its key path, such as "encode.phase1"; or "jobs".

        "finetune.<task>" is what a run is told, without its seeds; "finetune.<task>.rate-<rate>"
        the same of one rate of a grid; "finetune.<task>.task" the task's own part.
        """
        if path == "jobs":
            return self.jobs()
        if path.startswith("finetune."):
            return self._finetune_section(path.removeprefix("finetune."))
        values = self.model_dump(mode="json")
        for number in self.phases:
            encode, pretrain = (values[name][f"phase{number}"] for name in ("encode", "pretrain"))
            if encode["max_instances"] == "steps":
                encode["max_instances"] = pretrain["steps"] * pretrain["batch"]
        for items in values["fetch"].values():
            for item in items or []:
                item["location"] = self.locate(item["location"])
        if self.convert is not None and self.phases:
            values["pretrain"][f"phase{self.phases[0]}"]["start"] = "weights"
        for part in path.split("."):
            values = values[part]
        return values

    def _finetune_section(self, path: str) -> Any:
        for name, task in self.tasks.items():
            if path == f"{name}.task":
                return {"task": task.task.model_dump(mode="json")}
            for trial in task.trials():
                prefix, _, _ = trial.rpartition("seed-")
                if path == f"{name}.{prefix}".removesuffix("."):
                    return task.of_trial(trial)
        raise KeyError(path)

    @model_validator(mode="after")
    def _sections_agree(self) -> "Recipe":
        if problems := disagreements(self):
            raise ValueError("\n".join(problems))
        return self


def check_recipe(values: dict[str, Any]) -> Recipe:
    """The merged configuration as a checked recipe.

    Raises:
        ConfigError: Lists every problem.
    """
    return check(Recipe, values, where="config/config.yaml and overlays")


def schema() -> dict[str, Any]:
    """JSON schema of the configuration, for editors; made from the classes, which decide."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | Recipe.model_json_schema()


def main(arguments: list[str]) -> int:
    """Writes the schema, or with --check compares; returns the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m bert.recipe [--check]\n")
        return 2
    if not arguments:
        write_json(SCHEMA, schema())
        return 0
    if SCHEMA.exists() and json.loads(SCHEMA.read_text("utf-8")) == schema():
        return 0
    sys.stderr.write(f"{SCHEMA} is out of step with the config classes; run `make schema`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
