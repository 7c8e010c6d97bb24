"""Section `finetune.<task>`. Free of torch, so the workflow can check it before any job."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bert.config import Section, knob
from bert.optim.config import OptimizerConfig, ScheduleConfig
from bert.tasks.config import TaskConfig

Start = Literal["pretrained", "random"]
Seed = Annotated[int, Field(ge=0)]


class EarlyStopping(Section):
    """Section `finetune.<task>.early_stopping`: scores on the dev data while it trains."""

    every: float = knob("Epochs between two scores.", gt=0)
    patience: int = knob(
        "Scores in a row that are no better than the best one after which training ends.", ge=1
    )


class _Training(Section):
    """What one run of a task and all of them share."""

    epochs: float | None = knob("Passes over the training features; null = `steps` says it.", gt=0)
    steps: int | None = knob("Optimizer steps; null = `epochs` says it.", ge=1)
    batch: int = knob("Features of one step, over all ranks and micro-batches.", ge=1)
    layer_decay: float = knob(
        "Factor on the learning rate from each layer to the one below it, down to the embeddings, "
        "and twice from the head to the uppermost layer, as in ELECTRA; 1 = one rate for all "
        "(Clark et al., 2020: 0.8 to 0.9).",
        gt=0,
        le=1,
    )
    schedule: ScheduleConfig = knob("Course of the learning rate.")
    optimizer: OptimizerConfig = knob("Rule of the weight update.")
    early_stopping: EarlyStopping | None = knob(
        "Predictions of the weights that scored best on the dev data; scores are then chosen on "
        "the data they are given for. null = those of the last step."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"epochs is {self.epochs} and steps {self.steps}; write a number in one of them "
                "and null in the other."
            )
        return self


class FinetuneConfig(_Training):
    """What one run is told: the resolved section of its task and learning rate."""

    learning_rate: float = knob(
        "Peak learning rate of the head, and without layer_decay of all.", gt=0
    )


class FinetuneSection(_Training):
    """Section `finetune.<task>`: one task, and its runs."""

    train: str = knob("Name of the `fetch` item with the training data.")
    dev: str = knob("Name of the `fetch` item with the development data.")
    seeds: list[Seed] = knob("One run for each seed.", min_length=1)
    starts: list[Start] = knob(
        "Weights that are fine-tuned: pretrained, and random as the baseline.", min_length=1
    )
    learning_rate: float | list[float] = knob(
        "Peak learning rate of the head, and without layer_decay of all; a list is a grid: every "
        "rate with every seed; the one with the best median on the dev data stands for the task."
    )
    task: TaskConfig = knob("The task's own knobs.")

    @property
    def rates(self) -> list[float]:
        """All learning rates."""
        return self.learning_rate if isinstance(self.learning_rate, list) else [self.learning_rate]

    def trials(self) -> list[str]:
        """Names of the runs from one start: seed-<n>; with a grid, rate-<rate>.seed-<n>."""
        prefixes = [f"rate-{rate:g}." for rate in self.rates] if len(self.rates) > 1 else [""]
        return [f"{prefix}seed-{seed}" for prefix in prefixes for seed in self.seeds]

    def of_trial(self, trial: str) -> dict[str, Any]:
        """The resolved `FinetuneConfig` of a trial, as plain data."""
        prefix, _, _ = trial.rpartition("seed-")
        rate = {f"rate-{rate:g}.": rate for rate in self.rates}.get(prefix, self.rates[0])
        values = self.model_dump(mode="json", include=set(_Training.model_fields))
        return values | {"learning_rate": rate}

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for name, values in (
            ("seeds", self.seeds), ("starts", self.starts),
            ("learning_rate", [f"{rate:g}" for rate in self.rates]),
        ):  # fmt: skip
            if len(set(values)) != len(values) or not values:
                raise ValueError(f"{name} is {values}; expected at least one value, and each once.")
        if min(self.rates) <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; each must be above 0.")
        return self
