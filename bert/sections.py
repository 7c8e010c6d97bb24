"""The sections of a whole recipe: the keys of config/config.yaml, and what they name.

Free of torch, like every section, so that a recipe is checked in a fraction of a second.
"""

from bert.config import Section, knob
from bert.convert.config import ConvertConfig, PublishConfig
from bert.data.dialects.writing import DialectConfig
from bert.data.given import GivenPhase
from bert.data.instance_config import InstanceConfig
from bert.data.shuffle import ShardConfig
from bert.data.vocab_config import VocabConfig
from bert.examine.config import ExamineConfig
from bert.fetch.rawfiles import RawFile
from bert.model.config import ModelConfig
from bert.report.config import ReportConfig
from bert.tasks.gate import GateConfig
from bert.text.extract import ExtractConfig
from bert.text.filter import FilterConfig
from bert.text.split import SplitConfig
from bert.train.config import EvaluateConfig, PhaseConfig, RuntimeConfig
from bert.train.finetune_config import FinetuneSection
from bert.world.facts import GenerateConfig

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


class Sections(Section):
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
    convert: ConvertConfig | None = knob(
        "Weights that somebody else trained, as the start; null = from random ones."
    )
    model: ModelConfig = knob("Shape of the network; with `convert`, where its files say nothing.")
    pretrain: PretrainSection = knob("The phases of pretraining.")
    evaluate: EvaluateConfig = knob("Held-out evaluation of each phase.")
    finetune: dict[str, FinetuneSection | None] = knob("Tasks by name; null drops one.")
    gate: GateConfig = knob("What a task's scores must be above.")
    publish: PublishConfig | None = knob("Fine-tuned models to keep; null = none.")
    report: ReportConfig = knob("The page at the end.")
    runtime: RuntimeConfig = knob("How fast, never what; changing it reruns nothing.")

    @property
    def results(self) -> str:
        """Folder of this run."""
        return f"results/{self.run}"

    @property
    def phases(self) -> list[int]:
        """Numbers of the phases that are trained; none if `convert` comes after them."""
        all_phases = [1] if self.pretrain.phase2 is None else [1, 2]
        if self.convert is None or self.convert.before == "phase1":
            return all_phases
        return all_phases[1:] if self.convert.before == "phase2" else []

    @property
    def needs_text(self) -> bool:
        """Whether text is made into shards: not if they are given, nor without a phase."""
        return self.shard.given is None and bool(self.phases)

    @property
    def sources(self) -> list[str]:
        """Names of the text sources, in the order of the documents; none if no text is needed."""
        if not self.needs_text:
            return []
        return [name for name, section in self.extract.items() if section is not None]

    @property
    def tasks(self) -> dict[str, FinetuneSection]:
        """Fine-tuning tasks by name."""
        return {name: section for name, section in self.finetune.items() if section is not None}

    def given(self, phase: str) -> GivenPhase | None:
        """The given shards of a phase, if shards are given."""
        if self.shard.given is None:
            return None
        return self.shard.given.phase1 if phase == "1" else self.shard.given.phase2
