"""The tasks: their one interface, their configuration, and which module does which.

No module of this floor imports torch, so the configuration is checked and scores are computed
without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks import mrpc, squad
from bert.tasks.features import FeatureSet, Head, Role
from bert.tasks.mrpc import MrpcConfig
from bert.tasks.squad import SquadConfig

TaskConfig = Annotated[SquadConfig | MrpcConfig, Field(discriminator="format")]


class TaskSection(Section):
    """The part of a fine-tuning section that says what the task is; the rest is not looked at."""

    model_config = ConfigDict(extra="ignore")

    task: TaskConfig = knob("The task: its format and how its text becomes sequences.")


class Task(Protocol):
    """What a task module offers; the examples of each are its own type, with an `id`.

    Attributes:
        HEAD: Output of the model: "span" = a start and an end logit a token, "sentence" =
            NUM_LABELS logits a sequence.
        NUM_LABELS: Width of the output layer.
        PREDICTION: Type of one prediction in predictions.json.
    """

    HEAD: Head
    NUM_LABELS: int
    PREDICTION: Any

    def read_examples(
        self, files: Sequence[Path], config: Any, *, role: Role
    ) -> tuple[list[Any], dict[str, int]]:
        """Reads and checks the examples of one split; also returns what was counted."""
        ...

    def make_features(
        self, examples: Sequence[Any], tokenizer: Tokenizer, config: Any, *, training: bool
    ) -> FeatureSet[Any]:
        """Makes sequences of examples; with targets if they are for training."""
        ...

    def decode(
        self, examples: Sequence[Any], feature_set: FeatureSet[Any], outputs: Any, config: Any
    ) -> dict[str, Any]:
        """Turns the model's outputs into predictions: example id to plain data.

        `outputs` for the head "span": a list of (start logits, end logits), each float32 [L], one
        pair a feature; for "sentence": float32 [N, NUM_LABELS].
        """
        ...

    def metrics(self, gold: Sequence[Any], predictions: Mapping[str, Any]) -> dict[str, float]:
        """Official metrics in percent; an example without a prediction counts as wrong."""
        ...

    def baseline(self, gold: Sequence[Any]) -> dict[str, float]:
        """The same metrics of a prediction that needs no learning."""
        ...


_TASKS: dict[str, Task] = {"squad": squad, "mrpc": mrpc}


def task_module(format: Literal["squad", "mrpc"]) -> Task:
    """The module of a task format, as named by `TaskConfig.format`."""
    return _TASKS[format]
