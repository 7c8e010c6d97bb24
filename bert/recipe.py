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
from bert.data.dialects.writing import DialectConfig
from bert.data.given import GivenPhase
from bert.data.instance_config import InstanceConfig
from bert.data.shuffle import ShardConfig
from bert.data.vocab_config import VocabConfig
from bert.examine.config import ExamineConfig
from bert.fetch.rawfiles import RawFile
from bert.manifest import ROOT, write_json
from bert.model.config import ModelConfig
from bert.report.config import ReportConfig
from bert.text.extract import ExtractConfig
from bert.text.filter import FilterConfig
from bert.text.split import SplitConfig
from bert.train.config import EvaluateConfig, FinetuneConfig, PhaseConfig, RuntimeConfig
from bert.world.facts import GenerateConfig

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class EncodeSection(Section):
    """Section `encode`: instances for each phase."""

    jobs: int = knob("Workflow jobs that share the parts of a phase; bytes do not change.", ge=1)
    phase1: InstanceConfig = knob("Instances of phase 1.")
    phase2: InstanceConfig | None = knob("Instances of phase 2; null = a single phase.")


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
    filter: FilterConfig | None = knob("Duplicates and text of the tasks; null = no filter.")
    split: SplitConfig = knob("Cut of the documents into text parts and held-out text.")
    vocab: VocabConfig = knob("Vocabulary: given or trained.")
    encode: EncodeSection = knob("From text parts to instances.")
    shard: ShardConfig = knob("Global shuffle into shard files.")
    dialect: dict[str, DialectConfig | None] | None = knob(
        "Exports of the shards to other systems' formats, by name; null = none."
    )
    examine: ExamineConfig = knob("Look at what training will see.")
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
        """Names of the text sources, in the order of the documents; none if shards are given."""
        if self.shard.given is not None:
            return []
        return [name for name, section in self.extract.items() if section is not None]

    @property
    def tasks(self) -> dict[str, FinetuneConfig]:
        """Fine-tuning tasks by name."""
        return {name: section for name, section in self.finetune.items() if section is not None}

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

    def given(self, phase: str) -> GivenPhase | None:
        """The given shards of a phase, if shards are given."""
        if self.shard.given is None:
            return None
        return self.shard.given.phase1 if phase == "1" else self.shard.given.phase2

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
        """Final checkpoint of the phase before, if there is one, for the graph."""
        before = int(phase) - 1
        return [f"<results>/pretrain/phase{before}/checkpoint"] if before else []

    def given_weights(self, phase: str) -> list[str]:
        """Manifest of the fetch item with a phase's first weights, if given, for the graph."""
        section = self.pretrain.phase1 if phase == "1" else self.pretrain.phase2
        if section is None or section.weights_from is None:
            return []
        return [f"<results>/fetch/{section.weights_from}.json"]

    def model_export(self) -> list[str]:
        """Manifest of the export for transformers, for the graph; none if its BERT has no such."""
        return ["<results>/export/manifest.json"] if self.model.norm == "post" else []

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
        if self.shard.given is not None:
            shards = [f"{p}/000" for p in phases] + held_out
            made: dict[str, list[str]] = {
                "extract": [],
                "filter": [],
                "encode": [],
                "shard": shards,
            }
        else:
            made = self._jobs_from_text(phases, held_out)
        return made | {
            "examine": phases,
            "pretrain": phases,
            "evaluate": phases,
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
        for number in self.phases:
            encode, pretrain = (values[name][f"phase{number}"] for name in ("encode", "pretrain"))
            if encode["max_instances"] == "steps":
                encode["max_instances"] = pretrain["steps"] * pretrain["batch"]
        for items in values["fetch"].values():
            for item in items or []:
                item["location"] = self.locate(item["location"])
        for part in path.split("."):
            values = values[part]
        return values

    @model_validator(mode="after")
    def _sections_agree(self) -> "Recipe":
        problems = [*self._name_problems(), *self._weight_problems(), *self._length_problems()]
        if (self.encode.phase2 is None) != (self.pretrain.phase2 is None):
            problems.append(
                "encode.phase2 and pretrain.phase2 must both be there or both be null; one is not."
            )
        problems += self._objective_problems()
        problems += self._start_problems()
        problems += self._given_problems()
        problems += self._execution_problems()
        if not self.sources and self.shard.given is None:
            problems.append("extract has no source; name at least one text source.")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _execution_problems(self) -> list[str]:
        """K-FAC reads the linear maps through hooks, which compiled and traced blocks leave out."""
        execution = self.runtime.execution
        phases = {"phase1": self.pretrain.phase1, "phase2": self.pretrain.phase2}
        return [
            f"pretrain.{name}.kfac needs runtime.execution eager or lazy, but it is {execution}; "
            "change one of the two."
            for name, phase in phases.items()
            if phase is not None and phase.kfac is not None and execution in ("graph", "trace")
        ]

    def _name_problems(self) -> list[str]:
        known = {name for name, items in self.fetch.items() if items}
        sources = [(name, self.extract[name]) for name in self.sources]
        wanted = {f"extract.{n}.raw": s.raw for n, s in sources if s is not None}
        for number in (1, 2):
            if given := self.given(str(number)):
                key = f"shard.given.phase{number}"
                wanted |= {f"{key}.train": given.train, f"{key}.held_out": given.held_out}
        for name, task in self.tasks.items():
            wanted |= {f"finetune.{name}.train": task.train, f"finetune.{name}.dev": task.dev}
        if self.vocab.kind == "given":
            wanted["vocab.raw"] = self.vocab.raw
        phases = {"phase1": self.pretrain.phase1, "phase2": self.pretrain.phase2}
        for key, item in (
            *((f"pretrain.{n}.weights_from", p.weights_from) for n, p in phases.items() if p),
            ("split.held_out.list", self.split.held_out.list),
            ("split.train_list", self.split.train_list),
        ):
            wanted |= {key: item} if item is not None else {}
        if self.filter is not None and self.filter.contamination is not None:
            for name, reference in self.filter.contamination.named().items():
                wanted[f"filter.contamination.references.{name}.raw"] = reference.raw
        return [
            f"{key} is {value!r}, which `fetch` does not have (it has {', '.join(sorted(known))})"
            for key, value in wanted.items()
            if value not in known
        ]

    def _given_problems(self) -> list[str]:
        if self.shard.given is None:
            return []
        problems = []
        if (self.shard.given.phase2 is None) != (self.pretrain.phase2 is None):
            problems.append(
                "shard.given.phase2 and pretrain.phase2 must both be there or both be null; one is "
                "not."
            )
        if self.vocab.kind != "given":
            problems.append(
                f"vocab.kind is {self.vocab.kind}, but the shards are given; give the vocabulary "
                "that they were made with (vocab.kind: given)."
            )
        return problems

    def _start_problems(self) -> list[str]:
        start, second = self.pretrain.phase1.start, self.pretrain.phase2
        problems = []
        if start not in ("random", "given"):
            problems.append(
                f"pretrain.phase1.start is {start}, but no phase goes before it; write random, or "
                "given with weights_from."
            )
        if second is not None and second.start == "continued":
            problems += self._continuation_problems(self.pretrain.phase1, second)
        return problems

    def _continuation_problems(self, first: PhaseConfig, second: PhaseConfig) -> list[str]:
        """A phase that takes over moments and step goes on in the schedule, too."""
        ends = [phase.schedule.total_steps for phase in (first, second)]
        begins = second.schedule.steps_before
        whole = first.steps + second.steps
        problems = []
        if begins != first.steps:
            problems.append(
                f"pretrain.phase2.schedule.steps_before is {begins}, but its start is continued, "
                f"after the {first.steps} steps of phase 1; write {first.steps}."
            )
        if ends[0] != ends[1] or ends[0] is None or ends[0] < whole:
            problems.append(
                f"schedule.total_steps is {ends[0]} in phase 1 and {ends[1]} in phase 2, whose "
                "start is continued; write the same number in both, at least the "
                f"{whole} steps of the two."
            )
        return problems

    def _weight_problems(self) -> list[str]:
        return [
            f"split.weights.{name} weighs no source; `extract` has {', '.join(self.sources)}"
            for name, weight in self.split.weights.items()
            if weight is not None and self.extract.get(name) is None
        ]

    def _objective_problems(self) -> list[str]:
        if self.shard.given is not None:
            return []
        problems = []
        for number in self.phases:
            encode, pretrain = (
                getattr(section, f"phase{number}") for section in (self.encode, self.pretrain)
            )
            if encode is None or pretrain is None:
                continue
            if self.model.next_sentence and not encode.has_pairs:
                problems.append(
                    f"model.next_sentence is true, but encode.phase{number}.objective is "
                    f"{encode.objective}, whose instances have no second task; write false."
                )
            if pretrain.masking is None and encode.masking is None:
                problems.append(
                    f"pretrain.phase{number}.masking is null, which takes the stored masks, but "
                    f"encode.phase{number}.masking is null, too, so none are stored; write the "
                    "masking at one of the two."
                )
        return problems

    def _length_problems(self) -> list[str]:
        longest = self.model.max_position_embeddings
        given = self.shard.given
        stage, made = ("encode", self.encode) if given is None else ("shard.given", given)
        lengths = {
            f"{stage}.phase{n}.max_seq_length": section.max_seq_length
            for n, section in enumerate((made.phase1, made.phase2), 1)
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
