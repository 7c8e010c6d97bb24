"""Learning-rate schedules as pure functions of the step.

With t the 1-based step about to be taken, T all steps and w the warm-up proportion:

| name | t / T < w | after |
| --- | --- | --- |
| polynomial | t / (w T) | (1 - (t - 1) / T)^degree |
| linear | t / (w T) | (1 - (t - 1) / T) / (1 - w), at most 1 |
| constant | t / (w T) | 1 |

The polynomial is not rescaled at the end of the warm-up: the rate drops there, as in the published
recipe. NVIDIA's code has t where t - 1 stands here, so that its last step has a rate of 0 and is
lost; here the last step still learns. Past the end the factor is 0.

Source: NVIDIA's schedulers.py (PolyWarmUpScheduler, LinearWarmUpScheduler); with degree 1 the
polynomial is the decay of the original BERT.
"""

from bert.optim.config import ScheduleConfig


def learning_rate_factor(step: int, total_steps: int, config: ScheduleConfig) -> float:
    """Factor in [0, 1] on the peak learning rate.

    Args:
        step: 1-based index of the optimizer step about to be taken.
        total_steps: Steps of the whole schedule.
        config: Shape.

    Raises:
        ValueError: `step` or `total_steps` is below 1.
    """
    if step < 1 or total_steps < 1:
        raise ValueError(f"Step is {step} of {total_steps}; expected both to be at least 1.")
    if step > total_steps:
        return 0.0
    if step / total_steps < config.warmup_proportion:
        return step / (config.warmup_proportion * total_steps)
    remaining = 1 - (step - 1) / total_steps
    if config.name == "constant":
        return 1.0
    if config.degree is not None:
        return float(remaining**config.degree)
    return min(1.0, remaining / (1 - config.warmup_proportion))
