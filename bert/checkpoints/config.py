"""When checkpoints are written and which stay. Free of torch, so the workflow can check it."""

from typing import Literal, Self

from pydantic import model_validator

from bert.config import Section, knob


class CheckpointConfig(Section):
    """Section `runtime.checkpoint`: running checkpoints, from which a run goes on."""

    every_steps: int | None = knob("Steps between running checkpoints; null = none by steps.", ge=1)
    every_samples: int | None = knob(
        "Instances between running checkpoints (Intel: 500,000); null = none by instances.", ge=1
    )
    from_samples: int = knob(
        "No running checkpoint before this many instances were seen (Intel: 3,000,000).", ge=0
    )
    keep_last: int = knob("Newest running checkpoints that are kept.", ge=1)
    keep_every: int | None = knob(
        "Running checkpoints at multiples of this step are kept, too; null = none.", ge=1
    )
    asynchronous: bool = knob(
        "Whether files are written beside the training, from a copy in host memory (as large as a "
        "checkpoint: 12 bytes a parameter), or in between."
    )


class ResultConfig(Section):
    """Section `pretrain.<phase>.result`: the weights that a phase hands on."""

    weights: Literal["last", "best", "average"] = knob(
        "last: of the last step (published); best: of the evaluation with the lowest held-out "
        "loss; average: mean of the weights at `average_last` steps, with the moments of the last."
    )
    average_last: int | None = knob("Weights averaged; null unless weights: average.", ge=2)
    average_every: int | None = knob(
        "The averaged steps are the last one and the multiples of this number before it; null "
        "unless weights: average.",
        ge=1,
    )

    @model_validator(mode="after")
    def _numbers_belong_to_average(self) -> Self:
        numbers = (self.average_last, self.average_every)
        if (self.weights == "average") != all(numbers) or (any(numbers) != all(numbers)):
            raise ValueError(
                f"weights is {self.weights} with average_last {numbers[0]} and average_every "
                f"{numbers[1]}; give both numbers with average, and null otherwise."
            )
        return self
