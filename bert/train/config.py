"""Sections of the training room. Free of torch, so the workflow can check them before any job."""

from typing import Literal, Self

from pydantic import model_validator

from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.config import Section, knob
from bert.data.masking import MaskingConfig
from bert.devices.config import ComputeConfig
from bert.optim.config import KfacConfig, OptimizerConfig, ScheduleConfig
from bert.ranks.config import LaunchConfig, ReduceConfig


class StopConfig(Section):
    """Section `runtime.stop`: an early end of this job, with a checkpoint and exit status 75."""

    minutes: float | None = knob(
        "Wall-clock minutes of this job after which it saves and asks to be started again; null = "
        "no limit. Leave room for a step and a checkpoint before the batch system's limit.",
        gt=0,
    )
    steps: int | None = knob("Steps that this job takes at most; null = all.", ge=1)


class RuntimeConfig(ComputeConfig):
    """Section `runtime`: how fast, never what. A change of it reruns nothing."""

    micro_batch_tokens: int = knob(
        "Most tokens that go through the model at once on a rank; a longer instance goes alone.",
        ge=1,
    )
    all_reduce: ReduceConfig = knob("Sum of the gradients over the ranks.")
    shard_optimizer: bool = knob(
        "Whether each rank keeps the optimizer's state of its share of the parameters only (ZeRO "
        "stage 1), or all of it."
    )
    threads: int | None = knob("CPU threads of a pretraining process; null = all cores.", ge=1)
    finetune_threads: int | None = knob("CPU threads of a fine-tuning run; null = all.", ge=1)
    finetune_processes: int = knob("Ranks of a fine-tuning run, all on one machine.", ge=1)
    finetune_checkpoint_steps: int = knob(
        "Steps between two running checkpoints of a fine-tuning run.", ge=1
    )
    workers: int | None = knob("Processes of a data stage's pool; null = all cores.", ge=1)
    downloads: int = knob("Connections at a time of a fetch job; many servers allow 2.", ge=1)
    launch: LaunchConfig = knob("How the ranks of pretraining are started.")
    checkpoint: CheckpointConfig = knob("Running checkpoints.")
    stop: StopConfig = knob("An early end of a job.")
    tensorboard: bool = knob("Whether pretraining writes its metrics for TensorBoard, too.")

    @model_validator(mode="after")
    def _small_gradients_want_a_scale(self) -> Self:
        if self.all_reduce.dtype == "fp16" and self.precision != "fp16":
            raise ValueError(
                f"all_reduce.dtype is fp16 with precision {self.precision}, which has no loss "
                "scale, so that small gradients vanish on the way; write bf16 or fp32."
            )
        return self


class EvaluationConfig(Section):
    """Section `pretrain.<phase>.evaluation`: held-out evaluations while training.

    The last step of a phase always has one; `bert.train.evaluation` says which others do.
    """

    every: int | Literal["mlperf"] = knob(
        "Distance of evaluations in `unit`, or mlperf: that benchmark's rule, 25,000 samples times "
        "floor(0.05 (230.23 batch + 3,000,000) / 25,000).",
    )
    unit: Literal["steps", "samples"] = knob("What `every` counts; samples are instances seen.")
    from_samples: int = knob("No evaluation before this many samples.", ge=0)
    instances: int | None = knob(
        "Held-out instances in each, from the first one on; null = all (MLPerf: 10,000).", ge=1
    )
    target_mlm_accuracy: float | None = knob(
        "The phase ends at the first evaluation with at least this accuracy (0 to 1) on the masked "
        "tokens (MLPerf: 0.720); null = never early.",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _every_is_a_number_or_the_rule(self) -> Self:
        if self.every == "mlperf" and self.unit != "samples":
            raise ValueError(f"every is mlperf with unit {self.unit}; the rule counts samples.")
        if self.every != "mlperf" and self.every < 1:
            raise ValueError(f"every is {self.every}; expected at least 1, or mlperf.")
        return self


class GuardConfig(Section):
    """Section `pretrain.<phase>.guard`: what happens when the loss or a gradient is not finite.

    Such a step never changes the weights. Overflows that fp16's loss scaling expects do not count.
    """

    max_skipped: int = knob("Steps in a row that may be skipped.", ge=0)
    then: Literal["stop", "rollback"] = knob(
        "After that: stop with a diagnostic report, or go back to the last good checkpoint and "
        "train on with a lower learning rate."
    )
    max_rollbacks: int = knob("Rollbacks of a phase before it stops.", ge=0)
    rollback_factor: float = knob(
        "Factor on the learning rate from each rollback on; below 1, because the same steps would "
        "fail again bit for bit.",
        gt=0,
        lt=1,
    )
    spike: float | None = knob(
        "A loss this many times the running mean of some 100 steps is reported as a spike, from "
        "step 21 on; null = never.",
        gt=1,
    )

    @model_validator(mode="after")
    def _rollbacks_belong_to_rollback(self) -> Self:
        if (self.then == "rollback") != (self.max_rollbacks > 0):
            expected = "at least 1" if self.then == "rollback" else "0"
            raise ValueError(
                f"max_rollbacks is {self.max_rollbacks} with then: {self.then}; write {expected}."
            )
        return self


class PhaseConfig(Section):
    """Section `pretrain.<phase>`: one phase of pretraining."""

    seed: int = knob("Seed of weights, sample order, masks and dropout.", ge=0)
    start: Literal["random", "previous", "continued", "weights"] = knob(
        "First weights: random; or those of the previous phase or of the stage `convert`: "
        "previous (with its optimizer's moments, its step counted from 0 again: NVIDIA, Habana, "
        "gpauloski), continued (with moments and step: Google, Cerebras), weights (moments anew)."
    )
    steps: int = knob("Optimizer steps.", ge=1)
    batch: int = knob("Instances of one step, over all ranks and micro-batches.", ge=1)
    budget_hours: float | None = knob(
        "Training time after which the phase ends, over which the schedule then runs; `steps` is "
        "the most it can take. null = `steps` decide.",
        gt=0,
    )
    learning_rate: float = knob("Peak learning rate.", gt=0)
    learning_rate_scaling: Literal["none", "square_root", "linear"] = knob(
        "Factor on the learning rate by the number of ranks: 1, its square root (Intel), or "
        "the number. All but none make the result depend on it."
    )
    schedule: ScheduleConfig = knob("Course of the learning rate.")
    optimizer: OptimizerConfig = knob("Rule of the weight update.")
    kfac: KfacConfig | None = knob("Preconditioner in front of the optimizer; null = none.")
    loss_mean: Literal["batch", "micro_batch"] = knob(
        "What the masked-token loss is the mean of: all predicted tokens of the batch; or the mean "
        "of each micro-batch's own mean, as in older systems (it depends on the micro-batch)."
    )
    masking: MaskingConfig | None = knob(
        "Choice of the predicted tokens, anew in each epoch; null = the masks stored in the shards."
    )
    evaluation: EvaluationConfig = knob("Held-out evaluations.")
    result: ResultConfig = knob("The weights that the phase hands on.")
    guard: GuardConfig = knob("What happens when numbers are not finite.")
    log_every: int = knob("Steps between lines in metrics.jsonl.", ge=1)

    @model_validator(mode="after")
    def _a_budget_needs_shares(self) -> Self:
        schedule = self.schedule
        steps = (
            schedule.warmup_steps, schedule.warmup_start, schedule.steps_before,
            schedule.total_steps,
        )  # fmt: skip
        if self.budget_hours is not None and any(steps):
            raise ValueError(
                f"budget_hours is {self.budget_hours}, over which the schedule runs, but the "
                "schedule counts steps: (warmup_steps, warmup_start, steps_before, total_steps) is "
                f"{steps}. Write (null, 0, 0, null) and a warmup_proportion."
            )
        return self


class EvaluateConfig(Section):
    """Section `evaluate`: the held-out evaluation of each phase's final checkpoint."""

    seed: int = knob("Seed of the masks.", ge=0)
    instances: int | None = knob("Held-out instances; null = all.", ge=1)
    masking: MaskingConfig = knob("Choice of the predicted tokens.")
