"""Sections of the training room. Free of torch, so the workflow can check them before any job."""

from typing import Literal

from pydantic import model_validator

from bert.config import Section, knob
from bert.data.masking import MaskingConfig
from bert.optim.config import OptimizerConfig, ScheduleConfig
from bert.tasks.config import TaskConfig

Start = Literal["pretrained", "random"]


class RuntimeConfig(Section):
    """Section `runtime`: how fast, never what. A change of it reruns nothing."""

    device: Literal["auto", "cpu", "cuda"] = knob("Where tensors live; auto prefers CUDA.")
    precision: Literal["fp32", "bf16"] = knob(
        "Arithmetic of the matrix products: fp32, or bf16 under autocast with fp32 weights."
    )
    micro_batch_tokens: int = knob(
        "Most tokens that go through the model at once on a rank; a longer instance goes alone.",
        ge=1,
    )
    threads: int | None = knob("CPU threads of a pretraining process; null = all cores.", ge=1)
    finetune_threads: int | None = knob("CPU threads of a fine-tuning run; null = all.", ge=1)
    workers: int | None = knob("Processes of a data stage's pool; null = all cores.", ge=1)
    downloads: int = knob("Connections at a time of a fetch job; many servers allow 2.", ge=1)
    processes: int = knob("Ranks that torchrun starts on this machine for pretraining.", ge=1)
    checkpoint_every: int = knob("Steps between running checkpoints.", ge=1)
    keep_last: int = knob("Newest running checkpoints that are kept.", ge=1)
    keep_every: int | None = knob(
        "Running checkpoints at multiples of this step are kept, too; null = none.", ge=1
    )


class PhaseConfig(Section):
    """Section `pretrain.<phase>`: one phase of pretraining."""

    seed: int = knob("Seed of weights, sample order, masks and dropout.", ge=0)
    start: Literal["random", "previous"] = knob(
        "Weights at the first step: random, or those of the previous phase with its optimizer's "
        "moments, its step counted from 0 again (NVIDIA's phase switch)."
    )
    steps: int = knob("Optimizer steps.", ge=1)
    batch: int = knob("Instances of one step, over all ranks and micro-batches.", ge=1)
    learning_rate: float = knob("Peak learning rate.", gt=0)
    schedule: ScheduleConfig = knob("Course of the learning rate.")
    optimizer: OptimizerConfig = knob("Rule of the weight update.")
    masking: MaskingConfig | None = knob(
        "Choice of the predicted tokens, anew in each epoch; null = the masks stored in the shards."
    )
    log_every: int = knob("Steps between lines in metrics.jsonl.", ge=1)
    evaluate_every: int = knob("Steps between held-out evaluations; the last step has one.", ge=1)
    evaluate_instances: int | None = knob("Held-out instances in each; null = all.", ge=1)


class EvaluateConfig(Section):
    """Section `evaluate`: the held-out evaluation of each phase's final checkpoint."""

    seed: int = knob("Seed of the masks.", ge=0)
    instances: int | None = knob("Held-out instances; null = all.", ge=1)
    masking: MaskingConfig = knob("Choice of the predicted tokens.")


class FinetuneConfig(Section):
    """Section `finetune.<task>`: one fine-tuning task."""

    train: str = knob("Name of the `fetch` item with the training data.")
    dev: str = knob("Name of the `fetch` item with the development data.")
    seeds: list[int] = knob("One run for each seed.", min_length=1)
    starts: list[Start] = knob(
        "Weights that are fine-tuned: pretrained, and random as the baseline.", min_length=1
    )
    epochs: float = knob("Passes over the training features.", gt=0)
    batch: int = knob("Features of one step.", ge=1)
    learning_rate: float = knob("Peak learning rate.", gt=0)
    schedule: ScheduleConfig = knob("Course of the learning rate.")
    optimizer: OptimizerConfig = knob("Rule of the weight update.")
    task: TaskConfig = knob("The task's own knobs.")

    @model_validator(mode="after")
    def _no_repeats(self) -> "FinetuneConfig":
        for name in ("seeds", "starts"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} is {values}; each value may stand once. Remove repeats.")
        return self
