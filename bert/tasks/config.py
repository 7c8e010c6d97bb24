"""The tasks: their one interface, their configuration, and which module does which.

No module of this floor imports torch, so the configuration is checked and scores are computed
without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import ConfigDict, Field
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks import cola, conll, mnli, mrpc, qnli, qqp, rte, squad, sst2, stsb, wnli
from bert.tasks.features import FeatureSet, Head, Role
from bert.tasks.mrpc import MrpcConfig
from bert.tasks.squad_config import SquadConfig

TaskConfig = Annotated[
    SquadConfig
    | MrpcConfig
    | cola.ColaConfig
    | sst2.Sst2Config
    | stsb.StsbConfig
    | qqp.QqpConfig
    | mnli.MnliConfig
    | qnli.QnliConfig
    | rte.RteConfig
    | wnli.WnliConfig
    | conll.ConllConfig,
    Field(discriminator="format"),
]


class TaskSection(Section):
    """The part of a fine-tuning section that says what the task is; the rest is not looked at."""

    model_config = ConfigDict(extra="ignore")

    task: TaskConfig = knob("The task: its format and how its text becomes sequences.")


class Task(Protocol):
    """What a task module offers; the examples of each are its own type, with an `id`.

    Attributes:
        HEAD: What the network gives for it.
        HEADLINE: The metric that the task is known and judged by; higher is better.
        PREDICTION: Type of one prediction in predictions.json.
    """

    HEAD: Head
    HEADLINE: str
    PREDICTION: Any

    def labels(self, config: Any) -> tuple[str, ...]:
        """Names of the network's outputs, in their order; their number is its width."""
        ...

    def read_examples(
        self, files: Sequence[Path], config: Any, *, role: Role
    ) -> tuple[list[Any], dict[str, int]]:
        """Reads and checks the examples of one split; also returns what was counted."""
        ...

    def make_features(
        self, examples: Sequence[Any], tokenizer: Tokenizer, config: Any, *, training: bool
    ) -> FeatureSet[Any]:
        """Makes sequences of examples; with targets if they are for training.

        The features of an example depend on it alone and the counts add up over the examples:
        they are made a chunk at a time, in several processes. Places are named tuples of arrays.
        """
        ...

    def decode(
        self, examples: Sequence[Any], feature_set: FeatureSet[Any], outputs: Any, config: Any
    ) -> dict[str, Any]:
        """Turns the model's outputs into predictions: example id to plain data.

        `outputs` for the heads "sentence" and "value": float32 [N, labels]; for "span" and "token":
        a list of float32 [L, labels], one a feature.
        """
        ...

    def official_files(
        self, examples: Sequence[Any], predictions: Mapping[str, Any], config: Any
    ) -> dict[str, str]:
        """The predictions in the formats of the task's official scorer: file name to content."""
        ...

    def metrics(self, gold: Sequence[Any], predictions: Mapping[str, Any]) -> dict[str, float]:
        """Official metrics in percent; an example without a prediction counts as wrong."""
        ...

    def baseline(self, gold: Sequence[Any]) -> dict[str, float]:
        """The same metrics of a prediction that needs no learning."""
        ...


_TASKS: dict[str, Task] = {
    "squad": squad,
    "mrpc": mrpc,
    "cola": cola.TASK,
    "sst2": sst2.TASK,
    "stsb": stsb.TASK,
    "qqp": qqp.TASK,
    "mnli": mnli.TASK,
    "qnli": qnli.TASK,
    "rte": rte.TASK,
    "wnli": wnli.TASK,
    "conll": conll,
}


def task_module(format: str) -> Task:
    """The task of a format, as named by `TaskConfig.format`."""
    return _TASKS[format]
