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

from bert.config import Section, check, knob
from bert.data.pairs import PairsConfig
from bert.data.shuffle import ShardConfig
from bert.data.vocab import VocabConfig
from bert.fetch import RawFile
from bert.manifest import ROOT, write_json
from bert.model.config import ModelConfig
from bert.report.config import ReportConfig
from bert.text.extract import ExtractConfig
from bert.text.split import SplitConfig
from bert.train.config import EvaluateConfig, FinetuneConfig, PhaseConfig, RuntimeConfig
from bert.world.facts import GenerateConfig

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class EncodeSection(Section):
    """Section `encode`: instances for each phase."""

    jobs: int = knob("Workflow jobs that share the parts of a phase; bytes do not change.", ge=1)
    phase1: PairsConfig = knob("Instances of phase 1.")
    phase2: PairsConfig | None = knob("Instances of phase 2; null = a single phase.")


class PretrainSection(Section):
    """Section `pretrain`: the phases."""

    phase1: PhaseConfig = knob("First phase.")
    phase2: PhaseConfig | None = knob("Second phase; null = a single phase.")


class Recipe(Section):
    """Everything that is computed, and how. The keys of config/config.yaml."""

    run: str = knob("Name of the results folder under results/.", pattern=_NAME)
    generate: GenerateConfig | None = knob("Closed world of the demo; null = real data only.")
    fetch: dict[str, list[RawFile] | None] = knob("Raw items by name; null drops one.")
    extract: dict[str, ExtractConfig | None] = knob("Text sources by name; null drops one.")
    split: SplitConfig = knob("Cut of the documents into text parts and held-out text.")
    vocab: VocabConfig = knob("Vocabulary: given or trained.")
    encode: EncodeSection = knob("From text parts to instances.")
    shard: ShardConfig = knob("Global shuffle into shard files.")
    model: ModelConfig = knob("Shape of the network.")
    pretrain: PretrainSection = knob("The phases of pretraining.")
    evaluate: EvaluateConfig = knob("Held-out evaluation of each phase.")
    finetune: dict[str, FinetuneConfig | None] = knob("Tasks by name; null drops one.")
    report: ReportConfig = knob("The page at the end.")
    runtime: RuntimeConfig = knob("How fast, never what; changing it reruns nothing.")

    @property
    def results(self) -> str:
        """Folder of this run."""
        return f"results/{self.run}"

    @property
    def phases(self) -> list[int]:
        """Numbers of the phases."""
        return [1] if self.pretrain.phase2 is None else [1, 2]

    @property
    def sources(self) -> list[str]:
        """Names of the text sources, in the order of the documents."""
        return [name for name, section in self.extract.items() if section is not None]

    @property
    def tasks(self) -> dict[str, FinetuneConfig]:
        """Fine-tuning tasks by name."""
        return {name: section for name, section in self.finetune.items() if section is not None}

    @property
    def launcher(self) -> str:
        """The command in front of the pretraining script on this machine."""
        if self.runtime.processes == 1:
            return "python"
        return f"torchrun --standalone --nproc-per-node {self.runtime.processes}"

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

    def previous_checkpoint(self, phase: str) -> list[str]:
        """Final checkpoint of the phase before, if there is one, for the graph."""
        before = int(phase) - 1
        return [f"<results>/pretrain/phase{before}/checkpoint"] if before else []

    def shard_jobs(self) -> range:
        """Numbers of the shard jobs of a phase; never more than shards."""
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
        return {
            "extract": self.sources,
            "encode": [f"{p}/{job:03d}" for p in phases for job in self.encode_jobs()] + held_out,
            "shard": [f"{p}/{job:03d}" for p in phases for job in self.shard_jobs()],
            "pretrain": phases,
            "evaluate": phases,
            "finetune": self.runs(),
            "score": self.runs(),
        }

    def runs(self) -> list[str]:
        """Fine-tuning runs as "task/start/seed-n"."""
        return [
            f"{task}/{start}/seed-{seed}"
            for task, section in self.tasks.items()
            for start in section.starts
            for seed in section.seeds
        ]

    def section(self, path: str) -> Any:
        """Plain data of one section by its key path, such as "encode.phase1"; or "jobs"."""
        if path == "jobs":
            return self.jobs()
        values = self.model_dump(mode="json")
        for items in values["fetch"].values():
            for item in items or []:
                item["location"] = self.locate(item["location"])
        for part in path.split("."):
            values = values[part]
        return values

    @model_validator(mode="after")
    def _sections_agree(self) -> "Recipe":
        problems = [*self._name_problems(), *self._length_problems()]
        if (self.encode.phase2 is None) != (self.pretrain.phase2 is None):
            problems.append(
                "encode.phase2 and pretrain.phase2 must both be there or both be null; one is not."
            )
        if self.pretrain.phase1.start != "random":
            problems.append("pretrain.phase1.start is previous; phase 1 has none: write random.")
        if not self.sources:
            problems.append("extract has no source; name at least one text source.")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _name_problems(self) -> list[str]:
        known = {name for name, items in self.fetch.items() if items}
        wanted = {f"extract.{n}.raw": s.raw for n, s in self.extract.items() if s is not None}
        for name, task in self.tasks.items():
            wanted |= {f"finetune.{name}.train": task.train, f"finetune.{name}.dev": task.dev}
        if self.vocab.kind == "given":
            wanted["vocab.raw"] = self.vocab.raw
        return [
            f"{key} is {value!r}, which `fetch` does not have (it has {', '.join(sorted(known))})"
            for key, value in wanted.items()
            if value not in known
        ]

    def _length_problems(self) -> list[str]:
        longest = self.model.max_position_embeddings
        lengths = {
            f"encode.phase{n}.max_seq_length": section.max_seq_length
            for n, section in enumerate((self.encode.phase1, self.encode.phase2), 1)
            if section is not None
        }
        lengths |= {
            f"finetune.{name}.task.max_seq_length": task.task.max_seq_length
            for name, task in self.tasks.items()
        }
        return [
            f"{key} is {length}, more than model.max_position_embeddings {longest}"
            for key, length in lengths.items()
            if length > longest
        ]


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
